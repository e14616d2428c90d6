"""What a member brings to a stack: a net with its callbacks, its rows, and a random stream."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from skorch.callbacks import GradientNormClipping
from skorch.dataset import Dataset
from torch import Tensor, nn
from torch.utils.data import Subset

from skfusion._rows import Rows
from skfusion._vectorized import Members, NotVectorizableError, attributes, described
from skfusion.nets._loader import TensorLoader, rows_of
from skfusion.nets._train import Ready, prepared
from skfusion.nets._training_callback import EpochHook, Recorder, Schedule, Watch, from_callback
from skfusion.nets._validation import unit_split
from skfusion.nets.losses._weighted import counted
from skfusion.nets.vectorized._callbacks import Withheld, check_callbacks, has_foreign_callback
from skfusion.nets.vectorized._supported import OF_SKORCH, check_net
from skfusion.state import State


@dataclass(frozen=True, eq=False)
class Job:
    """One training of many, as :func:`skfusion.nets.fit` takes it.

    Parameters
    ----------
    rows : Rows
        Training data.
    seed : int
        Seed of the initialisation, the shuffling and dropout.
    params : dict, optional
        Parameters of the net, such as ``lr``, that are this job's own.
    schedule : callable, optional
        ``schedule(step, steps_per_epoch)`` multiplies the learning rate before each optimiser step.
    recorder : Recorder, optional
        Sees the net after each epoch, and its state after each step where it asks for that.
    on_epoch : callable, optional
        ``on_epoch(epoch, net)`` runs after each epoch, counted from 1; a true result ends the training.
    index : ndarray of int, optional
        Which of the rows to train on, with repetitions where there are some; all when omitted.
    state : State, optional
        Where to start; a fresh initialisation when omitted.
    """

    rows: Rows
    seed: int
    params: dict[str, Any] = field(default_factory=dict)
    schedule: Schedule | None = None
    recorder: Recorder | None = None
    on_epoch: EpochHook | None = None
    index: np.ndarray | None = None
    state: State | None = None


class TrainingMember:
    """A member of the stack: its net, its data, and random streams that are drawn from as if it were alone.

    It is made within :func:`seeded`, for it seeds the global generators. Nobody is told of it before :meth:`begin`.
    """

    def __init__(self, net: Any, job: Job, made: dict[Any, Any]):
        torch.manual_seed(job.seed)
        np.random.seed(job.seed % 2**32)  # noqa: NPY002
        self.seed = job.seed
        net = clone(net).set_params(**job.params)
        self.watch = Watch(job.schedule, job.recorder, job.on_epoch)
        self.ready: Ready = prepared(net, job.rows, self.watch, state=job.state, made=made)
        self.net = net = self.ready.net
        check_net(net)
        check_callbacks(net)
        self.X, self.y = self.ready.X, self.ready.y
        if (
            job.index is not None
            and job.rows.weight is not None
            and counted(torch.as_tensor(self.y), net.criterion_) is not None
        ):
            raise NotVectorizableError(
                "its members draw from rows that have weights by themselves and by their classes"
            )
        if job.index is not None and isinstance(self.y, Tensor):  # the rows are in memory once
            index = np.asarray(job.index)
            net.train_split = unit_split(self.ready.user_settings[2], job.rows, index)
            rows = Dataset(self.X, self.y)
            self.X, self.y = Subset(rows, index), self.y[torch.from_numpy(index)]  # type: ignore[arg-type]
        self.foreign = has_foreign_callback(net)
        self.device = torch.device(net.device or "cpu")

    def begin(self) -> None:
        """Tell the callbacks that the training begins."""
        self._notify("on_train_begin")

    def load(self) -> None:
        """Split the rows and make the loaders; from here on the member has streams of its own."""
        net = self.net
        net.check_data(self.X, self.y)
        net.check_training_readiness()
        train, valid = net.get_split_datasets(self.X, self.y)
        self.sets = {"dataset_train": train, "dataset_valid": valid}
        self.loader = self._loader(train, training=True)
        self.valid = None if valid is None else self._loader(valid, training=False)
        self.stream = torch.Generator()
        self.stream.set_state(torch.get_rng_state())
        self.numpy = np.random.get_state()  # noqa: NPY002
        self.masks = self.stream
        if self.device.type != "cpu":
            self.masks = torch.Generator(self.device).manual_seed(self.seed)
        self.optimizer = net.optimizer_
        self.optimizer.step()  # moves nothing, for there are no gradients; schedulers ask for a first step
        if self.foreign:
            self.optimizer.state = Withheld()

    def leave(self) -> None:
        """Tell the callbacks that the training has ended."""
        with self.drawing():
            self._notify("on_train_end")

    def _notify(self, event: str) -> None:
        X = rows_of(self.ready.X, torch.from_numpy(self.X.indices)) if isinstance(self.X, Subset) else self.X
        self.net.notify(event, X=X, y=self.y)

    def finished(self) -> Any:
        """Return the net as its user wrote it, but fitted."""
        if self.foreign:
            self.optimizer.state = defaultdict(dict)
        return self.ready.finished()

    def _loader(self, dataset: Any, training: bool) -> TensorLoader:
        loader = self.net.get_iterator(dataset, training=training)
        if not isinstance(loader, TensorLoader):
            raise NotVectorizableError("it has a dataset or a DataLoader of its own")
        if not loader.cuts:
            raise NotVectorizableError("an epoch has no batch")
        return loader

    def callbacks(self, kind: type) -> list[Any]:
        """Return the callbacks of a class."""
        return [c for _, c in self.net.callbacks_ if isinstance(c, kind)]

    @contextmanager
    def drawing(self, keep: bool = True) -> Iterator[None]:
        """Let the global generators be this member's; unless ``keep``, nothing remains of what is drawn."""
        before = None if keep else (torch.get_rng_state(), np.random.get_state())  # noqa: NPY002
        torch.set_rng_state(self.stream.get_state())
        np.random.set_state(self.numpy)  # noqa: NPY002
        yield
        if before is None:
            self.stream.set_state(torch.get_rng_state())
            self.numpy = np.random.get_state()  # noqa: NPY002
        else:
            torch.set_rng_state(before[0])
            np.random.set_state(before[1])  # noqa: NPY002

    def weigh(self, weight: Any) -> None:
        """Let the net's loss weigh the rows of the present batch."""
        if self.loader.current_weight is not None:
            self.loader.current_weight[0] = weight

    def form(self) -> tuple[Any, ...]:
        """Return what members of one stack have in common."""
        clips = [
            (c.gradient_clip_value, float(c.gradient_clip_norm_type)) for c in self.callbacks(GradientNormClipping)
        ]
        valid = None if self.valid is None else self.valid.cuts
        return self.loader.cuts, valid, self.net.max_epochs, clips, type(self.net.criterion_), type(self.net.optimizer_)

    def beside(self) -> dict[str, Any]:
        """Describe what a loss may use beside the module: the criterion, and what the net has that skorch has not."""
        criterion = self.net.criterion_
        held = {"criterion_": criterion}
        found = {}
        if isinstance(criterion, nn.Module):
            found = {f"criterion_.{name}": value for name, value in attributes(criterion).items()}
            held = {f"criterion_.{name}": value for name, value in criterion.named_buffers()}
        held |= {k: v for k, v in vars(self.net).items() if k.partition("__")[0] not in OF_SKORCH}
        return {**found, **described(held)}

    def notify(self, event: str) -> bool:
        """Tell the callbacks of an epoch; return whether one ends the training."""
        try:
            with self.drawing():
                self.net.notify(event, **self.sets)
        except KeyboardInterrupt as stop:
            if not from_callback(stop):
                raise
            return True
        return False


class Data:
    """The rows that the loaders of all members cut, on one device; those that several loaders have only once."""

    def __init__(self, loaders: Sequence[TensorLoader], device: torch.device):
        firsts: dict[int, TensorLoader] = {}
        source: list[TensorLoader] = []  # of each loader, the first one with its rows
        for loader in loaders:
            place = id(loader.dataset)
            if firsts and _equal(next(iter(firsts.values())), loader):
                place = next(iter(firsts))  # such as the copies that members have of one set for validation
            source.append(firsts.setdefault(place, loader))
        sets = [loader.dataset for loader in firsts.values()]
        self.x, self.y = (_joined(parts, device) for parts in ([d.X for d in sets], [d.y for d in sets]))
        weights = [loader.weight for loader in firsts.values()]
        self.weight = None if weights[0] is None else _joined(weights, device)
        ends = torch.tensor([0, *(len(d) for d in sets)]).cumsum(0).tolist()
        starts = dict(zip(map(id, firsts.values()), ends, strict=False))
        self._start = {}
        for loader, first in zip(loaders, source, strict=True):
            start = self._start[id(loader.dataset)] = starts[id(first)]
            n = len(loader.dataset)
            if loader is not first or len(sets) > 1:  # its rows are in memory once
                loader.dataset.X, loader.dataset.y = _cut(self.x, start, n), _cut(self.y, start, n)

    def order(self, loader: TensorLoader) -> Tensor:
        """Return the rows of an epoch of a loader, in its order."""
        return loader.draw() + self._start[id(loader.dataset)]

    def batch(self, index: Tensor) -> tuple[Any, Any, Any]:
        """Return inputs, targets and weights of the rows in ``index``, shape (n_members, n_rows)."""
        flat = index.reshape(-1)

        def take(data: Any) -> Any:
            if isinstance(data, dict):
                return {k: take(v) for k, v in data.items()}
            return Members(data.index_select(0, flat).view(*index.shape, *data.shape[1:]))

        return take(self.x), take(self.y), None if self.weight is None else take(self.weight)


def _joined(parts: Sequence[Any], device: torch.device) -> Any:
    if isinstance(parts[0], dict):
        return {k: _joined([p[k] for p in parts], device) for k in parts[0]}
    return (parts[0] if len(parts) == 1 else torch.cat(list(parts))).to(device)


def _equal(a: TensorLoader, b: TensorLoader) -> bool:
    """Return whether two loaders have the same rows, and the same weights for them."""

    def same(x: Any, y: Any) -> bool:
        if isinstance(x, dict) and isinstance(y, dict):
            return x.keys() == y.keys() and all(same(x[k], y[k]) for k in x)
        tensors = isinstance(x, Tensor) and isinstance(y, Tensor)
        return x is y or (tensors and x.shape == y.shape and x.dtype == y.dtype and torch.equal(x, y))

    one, other = a.dataset, b.dataset
    return same(one.X, other.X) and same(one.y, other.y) and same(a.weight, b.weight)


def _cut(data: Any, start: int, n: int) -> Any:
    return {k: v[start : start + n] for k, v in data.items()} if isinstance(data, dict) else data[start : start + n]


def member_of(x: Any, k: int) -> Any:
    """Return what belongs to one member."""
    if isinstance(x, Members):
        return x.value[k]
    if isinstance(x, dict):
        return {name: member_of(v, k) for name, v in x.items()}
    return type(x)(member_of(v, k) for v in x) if isinstance(x, (tuple, list)) else x
