"""Train a skorch net at the speed of a bare loop: its data as tensors, the loader that cuts them, and skorch's loop."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from skorch import NeuralNet
from skorch.callbacks import LRScheduler, PrintLog
from skorch.dataset import Dataset as SkorchDataset
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from skfusion._batches import rows_at
from skfusion._rows import Rows
from skfusion.nets._embeddings import index_error
from skfusion.nets._interrupts import from_callback
from skfusion.nets._optimizer_modes import let_optimizers_evaluate
from skfusion.nets._prepare import (
    dtype_of,
    few_threads,
    initialised,
    match_shapes,
    seed_scope,
    targets,
    task_of,
    tensors,
    two_classes,
)
from skfusion.nets._training_callback import Watch
from skfusion.nets._validation import unit_split
from skfusion.nets.losses._consistency import Consistency
from skfusion.nets.losses._soft import Soft
from skfusion.nets.losses._weighted import weigh
from skfusion.state import State

_HONOURED = {"batch_size", "shuffle", "drop_last", "generator", "num_workers", "pin_memory"}
"""Parameters of ``DataLoader`` that mean the same here; any other one keeps the user's loader."""

_WHOLE = "whole-number weights, which are taken as repetitions"
"""What rows may have in place of other weights."""


def fit(
    net: Any,
    rows: Rows,
    seed: int,
    watch: Watch | None = None,
    *,
    state: State | None = None,
    verbose: bool = False,
    soft: Soft | Consistency | None = None,
) -> Any:
    """Train a clone of a net that is sized to the rows; return it fitted, its module in evaluation mode.

    The global generators are left as they were. ``watch`` sets learning rates and lets a recorder see the run;
    ``state`` is where to start, in place of a fresh initialisation; ``soft`` is what a teacher predicts for the rows,
    or a consistency to keep. ``verbose`` lets the net print its table of epochs. A loss that becomes NaN or infinite
    raises DivergedError.
    """
    with seed_scope(seed, net.device):
        ready = prepared(net, rows, watch, state=state, verbose=verbose, soft=soft)
        with few_threads(ready.net.module_):
            try:
                _loop(ready)
            except IndexError as error:
                inputs = tensors(rows.X, dtype_of(ready.net.module_), net.device)
                raise index_error(ready.net.module_, [inputs], error) from error
    return ready.finished()


@dataclass(frozen=True, eq=False)
class Ready:
    """A net that is initialised and has its data, to be trained by skorch's loop or vectorized with others."""

    net: Any
    X: Any
    y: Any
    batch_norm: bool
    user_settings: tuple[Any, Any, Any]  # of its user, while others are in their place

    def finished(self) -> Any:
        """Return the net as its user wrote it, but fitted."""
        self.net.iterator_train, self.net.iterator_valid, self.net.train_split = self.user_settings
        self.net.module_.eval()
        return self.net


def prepared(
    net: Any,
    rows: Rows,
    watch: Watch | None = None,
    *,
    state: State | None = None,
    verbose: bool = False,
    made: dict[Any, Any] | None = None,
    soft: Soft | Consistency | None = None,
) -> Ready:
    """Return a clone of a net, initialised from the global generators, with what :func:`fit` takes.

    ``made`` keeps the tensors of rows, so that many nets share them.
    """
    watch = watch or Watch()
    net = clone(net)
    if not verbose:
        net.set_params(verbose=0)
    module = initialised(net, rows, keep_net=True)
    if state is not None:
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"The start does not fit the network that the net's parameters make: {error}") from error
    batch_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in module.modules())
    if batch_norm and len(rows) == 1:
        raise ValueError("BatchNorm cannot train on n_samples=1 row; give at least 2 rows.")
    user_settings = net.iterator_train, net.iterator_valid, net.train_split
    if net.train_split is not None:
        net.train_split = unit_split(net.train_split, rows)  # else copies of a row would be on both sides
    X, y = _feed(net, rows, batch_norm, {} if made is None else made, soft)
    if watch.schedule is not None and any(isinstance(c, LRScheduler) for _, c in net.callbacks_):
        warnings.warn(
            "The net has an LRScheduler, but its collector sets the learning rate at every step and wins.",
            stacklevel=2,
        )
    if not net.verbose:  # skorch lays out its table of epochs even where it is not shown
        net.callbacks_ = [(name, c) for name, c in net.callbacks_ if type(c) is not PrintLog or c.sink is not print]
    let_optimizers_evaluate(net)
    net.callbacks_.append(("skfusion", watch))
    return Ready(net, X, y, batch_norm, user_settings)


def _loop(ready: Ready) -> None:
    """Run skorch's loop as ``partial_fit`` does, but let an interrupt of the user through."""
    net, X, y = ready.net, ready.X, ready.y
    switch = getattr(type(net), "_set_training", None)  # one of the user's class may do more, and is left alone
    if switch is not None and switch is getattr(NeuralNet, "_set_training", None):
        net._set_training = partial(_switch_modes, net)
    net.notify("on_train_begin", X=X, y=y)
    try:
        net.fit_loop(X, y)
    except KeyboardInterrupt as stop:
        if not from_callback(stop):
            raise
    except ValueError as error:
        if ready.batch_norm and "more than 1 value per channel" in str(error):
            raise ValueError(
                "BatchNorm met a batch of one row: use another batch size or iterator_train__drop_last=True."
            ) from error
        raise
    finally:
        vars(net).pop("_set_training", None)
    net.notify("on_train_end", X=X, y=y)


def _switch_modes(net: Any, training: bool = True) -> None:
    """Switch between training and evaluation where a module is in the other mode.

    skorch does it for every module and batch, which is a tenth of the training of a small network.
    """
    parts = [getattr(net, f"{name}_") for name in (*net._modules, *net._criteria)]
    if any(m.training != training for part in parts if isinstance(part, nn.Module) for m in part.modules()):
        type(net)._set_training(net, training)


def _feed(
    net: Any, rows: Rows, batch_norm: bool, made: dict[Any, Any], soft: Soft | Consistency | None = None
) -> tuple[Any, Any]:
    """Return the data for skorch, and give the net the fast loader where the user left the loader alone."""
    task = task_of(net, rows)
    if task == "classification" and two_classes(net):
        match_shapes(net)
    remedy = "no class_weight" if rows.class_weight is not None else _WHOLE
    overrides = (
        type(net).get_iterator is not NeuralNet.get_iterator or type(net).get_dataset is not NeuralNet.get_dataset
    )
    plain = not overrides and net.dataset is SkorchDataset and not net.get_params_for("dataset")
    if not (plain and _is_plain(net, "iterator_train")):
        if soft is not None:
            raise ValueError(
                "Learning from more than targets needs skorch's default dataset and iterator_train. Remove your own."
            )
        if rows.loss_weight is not None:
            what = "sample_weight with fractions" if rows.class_weight is None else "class_weight"
            raise ValueError(
                f"{what} needs skorch's default dataset and iterator_train. Remove your own, or give {remedy}."
            )
        return rows.X, targets(net, rows.y, task)
    device, like = net.device, dtype_of(net.module_)
    extra: dict[str, Any] = {"join_single": batch_norm, "row_weight": rows.weight}
    if rows.loss_weight is not None or soft is not None:
        box: list[Tensor | None] = [None]
        if soft is None:
            given, kind = weigh(net, rows.loss_weight, targets(net, rows.y, task), box, remedy), like
        else:
            given = soft.columns(net, task, rows)
            kind = torch.promote_types(like, torch.float32)  # which holds numbers of rows
            soft.install(net, box, task, weighted=rows.weight is not None)
        extra |= {"weight": torch.as_tensor(given, dtype=kind, device=device or "cpu"), "current_weight": box}
    net.iterator_train = partial(TensorLoader, **extra)
    if _is_plain(net, "iterator_valid"):
        net.iterator_valid = _predict_loader
    key = id(rows)  # many members share their tensors; the rows are kept with them, so that no others get this id
    if key not in made:
        y = targets(net, rows.y, task)
        made[key] = tensors(rows.X, like, device), tensors(y, like, device), rows
    X, y, _ = made[key]
    return X, y


def _is_plain(net: Any, name: str) -> bool:
    given = net.get_params_for(name)
    return getattr(net, name) is DataLoader and given.keys() <= _HONOURED and not given.get("num_workers")


class TensorLoader:
    """Iterate over a dataset that holds tensors; draws from the random stream exactly as ``DataLoader`` does.

    The dataset has tensors (or dicts of tensors) as ``X`` and ``y``, or is a ``Subset`` of such a one. The row weights
    of the present batch stand in ``current_weight[0]``; ``row_weight`` are those without the loss's own. With
    ``join_single`` a last batch of one row joins its neighbour, as BatchNorm cannot train on one row. The other
    parameters are those of ``DataLoader``; ``num_workers`` and ``pin_memory`` have nothing to do here.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        generator: torch.Generator | None = None,
        num_workers: int = 0,
        pin_memory: bool = False,
        weight: Tensor | None = None,
        current_weight: list[Tensor | None] | None = None,
        join_single: bool = False,
        row_weight: np.ndarray | None = None,
    ):
        index: Tensor | None = None
        while isinstance(dataset, Subset):
            outer = torch.as_tensor(dataset.indices)
            index = outer if index is None else outer[index]
            dataset = dataset.dataset
        if not isinstance(batch_size, Integral) or batch_size < 1:
            raise ValueError(f"batch_size must be a whole number of at least 1; got {batch_size!r}.")
        self.dataset, self.index, self.generator = dataset, index, generator
        self.n = len(dataset) if index is None else len(index)  # type: ignore[arg-type]
        self.batch_size, self.shuffle = batch_size, shuffle
        self.weight, self.current_weight, self.row_weight = weight, current_weight, row_weight
        left = self.n % batch_size
        join_single = join_single and not drop_last and self.n > batch_size and left == 1
        n_batches = self.n // batch_size + (left > 0 and not drop_last) - join_single
        ends = [min((i + 1) * batch_size, self.n) for i in range(n_batches)]
        if join_single:
            ends[-1] = self.n
        self.cuts = list(zip([0, *ends], ends, strict=False))  # of the order, batch by batch

    def __len__(self) -> int:
        return len(self.cuts)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        order = self.draw()
        for start, stop in self.cuts:
            rows = order[start:stop]
            if self.weight is not None and self.current_weight is not None:
                self.current_weight[0] = self.weight[rows.to(self.weight.device)]
            yield rows_at(self.dataset.X, rows), rows_at(self.dataset.y, rows)  # type: ignore[attr-defined]

    def draw(self) -> Tensor:
        """Return the rows of the dataset in the order of an epoch, shape (n_samples,)."""
        torch.empty((), dtype=torch.int64).random_(generator=self.generator)  # DataLoader draws its base seed here
        return self._order() if self.index is None else self.index[self._order()]

    def _order(self) -> Tensor:
        """Return all positions in the order in which RandomSampler or SequentialSampler gives them."""
        if not self.shuffle:
            return torch.arange(self.n)
        if self.generator is None:
            seed = int(torch.empty((), dtype=torch.int64).random_())
            return torch.randperm(self.n, generator=torch.Generator().manual_seed(seed))
        order = torch.randperm(self.n, generator=self.generator)
        torch.randperm(self.n, generator=self.generator)  # RandomSampler draws another one and does not use it
        return order


def _predict_loader(dataset: Any, **params: Any) -> Any:
    """Return a :class:`TensorLoader` for a dataset of tensors, and a ``DataLoader`` for any other dataset."""
    inner = dataset
    while isinstance(inner, Subset):
        inner = inner.dataset
    X, y = getattr(inner, "X", None), getattr(inner, "y", None)
    parts = [*X.values(), y] if isinstance(X, dict) else [X, y]
    plain = type(inner) is SkorchDataset and all(isinstance(t, Tensor) for t in parts)
    return (TensorLoader if plain else DataLoader)(dataset, **params)
