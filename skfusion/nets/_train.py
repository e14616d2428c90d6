"""Train a skorch net at the speed of a bare loop: its data as tensors, losses by weights of rows, and skorch's loop."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from sklearn.base import clone
from skorch import NeuralNet
from skorch.callbacks import LRScheduler, PrintLog
from skorch.dataset import Dataset as SkorchDataset
from torch import Tensor, nn
from torch.utils.data import DataLoader

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
from skfusion.nets._tensor_loader import TensorLoader, predict_loader
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
                with looping(ready):
                    ready.net.fit_loop(ready.X, ready.y)
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

    ``made`` keeps the tensors of rows, and the folds of ``train_split``, so that many nets share them.
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
        # Else copies of a row would be on both sides.
        net.train_split = unit_split(net.train_split, rows, made=made)
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


@contextmanager
def looping(ready: Ready) -> Iterator[None]:
    """Begin and end a training as ``partial_fit`` does, but let an interrupt of the user through."""
    net, X, y = ready.net, ready.X, ready.y
    switch = getattr(type(net), "_set_training", None)  # one of the user's class may do more, and is left alone
    if switch is not None and switch is getattr(NeuralNet, "_set_training", None):
        net._set_training = partial(_switch_modes, net)
    net.notify("on_train_begin", X=X, y=y)
    try:
        yield
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
    key = id(rows)  # many members share their tensors; the rows are kept with them, so that no others get this id
    if key not in made:
        made[key] = tensors(rows.X, like, device), tensors(targets(net, rows.y, task), like, device), rows
    X, y, _ = made[key]
    training: dict[str, Any] = {"join_single": batch_norm, "row_weight": rows.weight}
    validating: dict[str, Any] = {}
    if rows.loss_weight is not None or soft is not None:
        current: list[Tensor | None] = [None]
        held: list[Tensor | None] = [None]
        if soft is None:
            given, kind = weigh(net, rows.loss_weight, targets(net, rows.y, task), current, held, remedy), like
        else:
            given = soft.columns(net, task, rows)
            kind = torch.promote_types(like, torch.float32)  # which holds numbers of rows
            soft.install(net, current, task, weighted=rows.weight is not None)
        weight = torch.as_tensor(given, dtype=kind, device=device or "cpu")
        training |= {"weight": weight, "current_weight": current}
        validating = {"weights_of": X, "weight": weight, "current_weight": held} if soft is None else {}
    net.iterator_train = partial(TensorLoader, **training)
    if _is_plain(net, "iterator_valid"):
        net.iterator_valid = partial(predict_loader, **validating)
    return X, y


def _is_plain(net: Any, name: str) -> bool:
    given = net.get_params_for(name)
    return getattr(net, name) is DataLoader and given.keys() <= _HONOURED and not given.get("num_workers")
