"""What a member brings to a stack: a net with its callbacks, its rows, and a random stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from skorch.callbacks import GradientNormClipping
from torch import Tensor

from skfusion.nets._loader import TensorLoader
from skfusion.nets._stackable import check_callbacks, check_net, has_foreign_callback
from skfusion.nets._train import Ready, from_callback, prepared
from skfusion.nets._watch import Schedule
from skfusion.rows import Rows, Task
from skfusion.stacked import Members, NotStackableError


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
    on_epoch : callable, optional
        ``on_epoch(epoch, net)`` runs after each epoch, counted from 1; a true result ends the training.
    shares_rows : bool, default=True
        Whether other jobs have the same rows, which are then in memory only once.
    """

    rows: Rows
    seed: int
    params: dict[str, Any] = field(default_factory=dict)
    schedule: Schedule | None = None
    on_epoch: Callable[[int, Any], bool | None] | None = None
    shares_rows: bool = True


class Seat:
    """A member of the stack: its net, its data, and random streams that are drawn from as if it were alone.

    It is made within :func:`seeded`, for it seeds the global generators.
    """

    offset = 0
    """Where its rows start among those of all members."""

    def __init__(self, net: Any, task: Task, job: Job, made: dict[Any, Any]):
        torch.manual_seed(job.seed)
        np.random.seed(job.seed % 2**32)  # noqa: NPY002
        net = clone(net).set_params(**job.params)
        self.ready: Ready = prepared(net, job.rows, task, schedule=job.schedule, on_epoch=job.on_epoch, made=made)
        self.net = net = self.ready.net
        check_net(net)
        check_callbacks(net)
        net.notify("on_train_begin", X=self.ready.X, y=self.ready.y)
        net.check_data(self.ready.X, self.ready.y)
        net.check_training_readiness()
        train, valid = net.get_split_datasets(self.ready.X, self.ready.y)
        self.sets = {"dataset_train": train, "dataset_valid": valid}
        self.loader = self._loader(train, training=True)
        self.valid = None if valid is None else self._loader(valid, training=False)
        self.stream = torch.Generator()
        self.stream.set_state(torch.get_rng_state())
        self.numpy = np.random.get_state()  # noqa: NPY002
        net.optimizer_.step()  # moves nothing, for there are no gradients; schedulers ask for a first step
        self.foreign = has_foreign_callback(net)
        self.device = torch.device(net.device or "cpu")
        self.masks = self.stream
        if self.device.type != "cpu":
            self.masks = torch.Generator(self.device).manual_seed(job.seed)

    def _loader(self, dataset: Any, training: bool) -> TensorLoader:
        loader = self.net.get_iterator(dataset, training=training)
        if not isinstance(loader, TensorLoader):
            raise NotStackableError("it has a dataset or a DataLoader of its own")
        if not loader.cuts:
            raise NotStackableError("an epoch has no batch")
        return loader

    def callbacks(self, kind: type) -> list[Any]:
        """Return the callbacks of a class."""
        return [c for _, c in self.net.callbacks_ if isinstance(c, kind)]

    @contextmanager
    def drawing(self, keep: bool = True) -> Iterator[None]:
        """Let the global generators be this member's; draws are undone unless ``keep``."""
        torch.set_rng_state(self.stream.get_state())
        np.random.set_state(self.numpy)  # noqa: NPY002
        yield
        if keep:
            self.stream.set_state(torch.get_rng_state())
            self.numpy = np.random.get_state()  # noqa: NPY002

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
    """The rows of all members on one device, those of members that share them only once."""

    def __init__(self, seats: Sequence[Seat]):
        sources: dict[int, list[Seat]] = {}
        for seat in seats:
            sources.setdefault(id(seat.loader.dataset.X), []).append(seat)  # type: ignore[attr-defined]
        firsts = [group[0].loader for group in sources.values()]
        sets = [loader.dataset for loader in firsts]
        self.x, self.y = _joined([d.X for d in sets]), _joined([d.y for d in sets])  # type: ignore[attr-defined]
        weights = [loader.weight for loader in firsts]
        self.weight = None if weights[0] is None else _joined(weights)
        start = 0
        for group, loader in zip(sources.values(), firsts, strict=True):
            n = len(loader.dataset)  # type: ignore[arg-type]
            for seat in group:
                seat.offset = start
                if len(sets) > 1:  # its rows are in memory once
                    seat.loader.dataset.X = _cut(self.x, start, n)  # type: ignore[attr-defined]
                    seat.loader.dataset.y = _cut(self.y, start, n)  # type: ignore[attr-defined]
            start += n

    def batch(self, index: Tensor) -> tuple[Any, Any, Any]:
        """Return inputs, targets and weights of the rows in ``index``, shape (n_members, n_rows)."""
        flat = index.reshape(-1)

        def take(data: Any) -> Any:
            if isinstance(data, dict):
                return {k: take(v) for k, v in data.items()}
            return Members(data.index_select(0, flat).view(*index.shape, *data.shape[1:]))

        return take(self.x), take(self.y), None if self.weight is None else take(self.weight)


def _joined(parts: Sequence[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], dict):
        return {k: _joined([p[k] for p in parts]) for k in parts[0]}
    return torch.cat(list(parts))


def _cut(data: Any, start: int, n: int) -> Any:
    return {k: v[start : start + n] for k, v in data.items()} if isinstance(data, dict) else data[start : start + n]


def member_of(x: Any, k: int) -> Any:
    """Return what belongs to one member."""
    if isinstance(x, Members):
        return x.value[k]
    if isinstance(x, dict):
        return {name: member_of(v, k) for name, v in x.items()}
    return type(x)(member_of(v, k) for v in x) if isinstance(x, (tuple, list)) else x
