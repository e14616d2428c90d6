"""A member in vectorized training: a net with its callbacks, its rows, and random generators of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from skorch.callbacks import GradientNormClipping
from skorch.dataset import Dataset
from torch import Tensor, nn
from torch.utils.data import Subset

from skfusion._batches import rows_at
from skfusion._random import seed_generators
from skfusion._rows import Rows
from skfusion._vectorized import Members, NotVectorizableError, attributes, described
from skfusion.nets._interrupts import from_callback
from skfusion.nets._tensor_loader import TensorLoader
from skfusion.nets._train import Ready, prepared
from skfusion.nets._training_callback import Run, Watch
from skfusion.nets._validation import unit_split
from skfusion.nets.losses._weighted import counted
from skfusion.nets.vectorized._epoch_scores import may_draw_from_numpy, score_as_before, score_quickly
from skfusion.nets.vectorized._equivalence import WithheldState, check_callbacks, check_net, has_user_callback

_IN_CACHE = 2**20
"""Bytes of rows that are gathered at a time, where they are more than one batch."""


class TrainingMember:
    """A member: its net, its data, and random generators that are drawn from as if it were trained alone.

    It is made within a :func:`~skfusion._random.seed_scope`, as it seeds the global generators. No callback is called
    before :meth:`notify_of_training`.
    """

    def __init__(self, net: Any, rows: Rows, run: Run, watch: Watch, made: dict[Any, Any]):
        # As :func:`skfusion.nets.fit` seeds a member that is trained alone, so that both get the same weights.
        net = clone(net).set_params(**run.params) if run.params else net
        self.device = torch.device(net.device or "cpu")
        seed_generators(run.seed, self.device.type)
        self.seed, self.watch = run.seed, watch
        self.ready: Ready = prepared(net, rows, watch, state=run.state, made=made)
        self.net = net = self.ready.net
        check_net(net)
        check_callbacks(net)
        if watch.recorder is not None and watch.recorder.changes_weights:
            raise NotVectorizableError("its recorder changes the weights of the run after each step")
        self.X, self.y = self.ready.X, self.ready.y
        if run.index is not None:
            if rows.loss_weight is not None and counted(torch.as_tensor(self.y), net.criterion_) is not None:
                raise NotVectorizableError("its members draw rows that have weights by themselves and by their classes")
            if isinstance(self.y, Tensor):  # the rows are in memory once
                index = np.asarray(run.index)
                net.train_split = unit_split(self.ready.user_settings[2], rows, index)
                whole = Dataset(self.X, self.y)
                self.X, self.y = Subset(whole, index), self.y[torch.from_numpy(index)]  # type: ignore[arg-type]
        self.has_user_callback = has_user_callback(net)
        self.may_draw_from_numpy = may_draw_from_numpy(net, watch, self.has_user_callback)
        if not self.has_user_callback:
            score_quickly(net)

    def load(self) -> None:
        """Split the rows and make the loaders; from here on the member has random generators of its own."""
        net = self.net
        net.check_data(self.X, self.y)
        net.check_training_readiness()
        train, valid = net.get_split_datasets(self.X, self.y)
        self.sets = {"dataset_train": train, "dataset_valid": valid}
        self.loader = self._loader(train, training=True)
        self.valid = None if valid is None else self._loader(valid, training=False)
        self.generator = torch.Generator()
        self.generator.set_state(torch.get_rng_state())
        self.numpy_state = np.random.get_state()  # noqa: NPY002
        # On a GPU masks are drawn there, and not from the generator that shuffles, as torch does for a net alone.
        self.mask_generator = self.generator
        if self.device.type != "cpu":
            self.mask_generator = torch.Generator(self.device).manual_seed(self.seed)
        self.optimizer = net.optimizer_
        self.optimizer.step()  # moves nothing, as there are no gradients; schedulers ask for a first step
        if self.has_user_callback:
            self.optimizer.state = WithheldState()

    def notify_of_training(self, event: str) -> None:
        """Call the callbacks of the whole training."""
        X = rows_at(self.ready.X, torch.from_numpy(self.X.indices)) if isinstance(self.X, Subset) else self.X
        self.net.notify(event, X=X, y=self.y)

    def finished(self) -> Any:
        """Return the net as its user wrote it, but fitted."""
        if self.has_user_callback:
            self.optimizer.state = defaultdict(dict)
        score_as_before(self.net)
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
    def drawing(self, keep: bool = True, numpy: bool = True) -> Iterator[None]:
        """Let the global generators be this member's; unless ``keep``, the draws within leave no trace.

        Without ``numpy``, what is done within draws from torch only: numpy takes a tenth of a millisecond to hand its
        state out and to take it back.
        """
        before = None if keep else (torch.get_rng_state(), np.random.get_state())  # noqa: NPY002
        torch.set_rng_state(self.generator.get_state())
        if numpy:
            np.random.set_state(self.numpy_state)  # noqa: NPY002
        yield
        if before is not None:
            torch.set_rng_state(before[0])
            np.random.set_state(before[1])  # noqa: NPY002
            return
        self.generator.set_state(torch.get_rng_state())
        if numpy:
            self.numpy_state = np.random.get_state()  # noqa: NPY002

    def weigh(self, weight: Any, training: bool = True) -> None:
        """Give the net's loss the weights of the rows of the present batch."""
        loader = self.loader if training else self.valid
        if loader is not None and loader.current_weight is not None:
            loader.current_weight[0] = weight

    def setup(self) -> tuple[Any, ...]:
        """Return what all members must share: batches, epochs, clipping, and the classes of loss and optimiser."""
        clips = [
            (c.gradient_clip_value, float(c.gradient_clip_norm_type)) for c in self.callbacks(GradientNormClipping)
        ]
        valid = None if self.valid is None else self.valid.cuts
        return self.loader.cuts, valid, self.net.max_epochs, clips, type(self.net.criterion_), type(self.net.optimizer_)

    def criterion_attributes(self) -> dict[str, Any]:
        """Describe the criterion, of which all members use the first one's."""
        criterion = self.net.criterion_
        if not isinstance(criterion, nn.Module):
            return described({"criterion_": criterion})
        values = {**attributes(criterion), **described(dict(criterion.named_buffers()))}
        return {f"criterion_.{name}": value for name, value in values.items()}

    def notify(self, event: str) -> bool:
        """Call the callbacks of an epoch; return whether one ends the training."""
        try:
            with self.drawing(numpy=self.may_draw_from_numpy):
                self.net.notify(event, **self.sets)
        except KeyboardInterrupt as stop:
            if not from_callback(stop):
                raise
            return True
        return False


class SharedRows:
    """The rows that the loaders of all members cut into batches, once in memory."""

    def __init__(self, loaders: Sequence[TensorLoader], device: torch.device):
        first, *others = loaders
        data = first.dataset
        self.x, self.y, self.weight = (_on(device, part) for part in (data.X, data.y, first.weight))
        for loader in others:
            if not _equal(first, loader):
                raise NotVectorizableError("its members have different rows")
            loader.dataset.X, loader.dataset.y = data.X, data.y  # such as the copies of one validation set

    def batch(self, index: Tensor) -> tuple[Any, Any, Any]:
        """Return inputs, targets and weights of the rows in ``index``, shape (n_members, n_rows)."""
        x, y, weight = (_taken(part, index) for part in (self.x, self.y, self.weight))
        return _batch(x), _batch(y), _batch(weight)

    def batches(self, order: Tensor, cuts: Sequence[tuple[int, int]]) -> Iterator[tuple[Any, Any, Any]]:
        """Iterate over the batches that ``cuts`` makes of the members' orders, shape (n_members, n_rows).

        Rows are gathered for several batches at a time, as many as the processor's cache has room for.
        """
        parts = self.x, self.y, self.weight
        bytes_of_row = sum(_bytes_of_row(part) for part in parts) * len(order)
        for start, size, n_batches in _equal_cuts(cuts, bytes_of_row):
            index = order[:, start : start + size * n_batches].reshape(len(order), n_batches, size).transpose(0, 1)
            gathered = [_taken(part, index) for part in parts]
            for i in range(n_batches):
                x, y, weight = gathered
                yield _batch(x, i), _batch(y, i), _batch(weight, i)


def _equal_cuts(cuts: Sequence[tuple[int, int]], bytes_of_row: int) -> Iterator[tuple[int, int, int]]:
    """Iterate over runs of batches of one size that fit into the cache: where they start, that size, how many."""
    i = 0
    while i < len(cuts):
        start, stop = cuts[i]
        size = stop - start
        most = max(1, _IN_CACHE // max(1, size * bytes_of_row))
        n = 1
        while n < most and i + n < len(cuts) and cuts[i + n][1] - cuts[i + n][0] == size:
            n += 1
        yield start, size, n
        i += n


def _taken(data: Any, index: Tensor) -> Any:
    """Return rows by number, in the shape of ``index``."""
    if data is None:
        return None
    if isinstance(data, dict):
        return {name: _taken(part, index) for name, part in data.items()}
    return data.index_select(0, index.reshape(-1)).view(*index.shape, *data.shape[1:])


def _batch(data: Any, i: int | None = None) -> Any:
    """Return rows of all members, or those of the batch at a place where several were taken together."""
    if data is None:
        return None
    if isinstance(data, dict):
        return {name: _batch(part, i) for name, part in data.items()}
    return Members(data if i is None else data[i])


def _bytes_of_row(data: Any) -> int:
    if isinstance(data, dict):
        return sum(_bytes_of_row(part) for part in data.values())
    return 0 if data is None else data[:1].numel() * data.element_size()


def _on(device: torch.device, data: Any) -> Any:
    if data is None:
        return None
    return {k: v.to(device) for k, v in data.items()} if isinstance(data, dict) else data.to(device)


def _equal(a: TensorLoader, b: TensorLoader) -> bool:
    """Return whether two loaders have the same rows, and the same weights for them."""

    def same(x: Any, y: Any) -> bool:
        if isinstance(x, dict) and isinstance(y, dict):
            return x.keys() == y.keys() and all(same(x[k], y[k]) for k in x)
        tensors = isinstance(x, Tensor) and isinstance(y, Tensor)
        return x is y or (tensors and x.shape == y.shape and x.dtype == y.dtype and torch.equal(x, y))

    one, other = a.dataset, b.dataset
    return same(one.X, other.X) and same(one.y, other.y) and same(a.weight, b.weight)
