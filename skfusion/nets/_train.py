"""Train a skorch net: sized to the data, seed_scope, at the speed of a bare loop."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from sklearn.base import clone
from skorch import NeuralNet
from skorch.callbacks import LRScheduler, PrintLog
from skorch.dataset import Dataset
from torch import Tensor, nn
from torch.utils.data import DataLoader

from skfusion import state as states
from skfusion._rows import Rows
from skfusion.nets._embeddings import index_error
from skfusion.nets._loader import HONOURED, TensorLoader, predict_loader
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
from skfusion.nets._training_callback import EpochHook, Recorder, Schedule, Watch, from_callback
from skfusion.nets._validation import unit_split
from skfusion.nets.losses._consistency import Consistency
from skfusion.nets.losses._soft import Soft
from skfusion.nets.losses._weighted import weigh
from skfusion.state import State


def fit(
    net: Any,
    rows: Rows,
    seed: int,
    *,
    state: State | None = None,
    schedule: Schedule | None = None,
    recorder: Recorder | None = None,
    on_epoch: EpochHook | None = None,
    verbose: bool = False,
    soft: Soft | Consistency | None = None,
) -> Any:
    """Train a clone of ``net`` and return it.

    Parameters
    ----------
    net : skorch net
        Sized to the data; not changed.
    rows : Rows
        Training data.
    seed : int
        Seed of the initialisation, the shuffling and dropout; the global generators are left as they were.
    state : State, optional
        Where to start; a fresh initialisation when omitted.
    schedule : callable, optional
        ``schedule(step, steps_per_epoch)`` multiplies the learning rate before each optimiser step.
    recorder : Recorder, optional
        Sees the net after each epoch, and its state after each step where it asks for that.
    on_epoch : callable, optional
        ``on_epoch(epoch, net)`` runs after each epoch, counted from 1; a true result ends the training.
    verbose : bool, default=False
        Let the net print its table of epochs, where its own ``verbose`` asks for it.
    soft : Soft or Consistency, optional
        What a teacher predicts for the rows, to learn from as well; or a consistency to keep.

    Returns
    -------
    skorch net
        Fitted, its module in evaluation mode.

    Raises
    ------
    DivergedError
        If the training loss becomes NaN or infinite; it names the epoch.
    """
    with seed_scope(seed, net.device):
        watch = Watch(schedule, recorder, on_epoch)
        ready = prepared(net, rows, watch, state=state, verbose=verbose, soft=soft)
        with few_threads(ready.net.module_):
            try:
                _loop(ready)
            except IndexError as error:
                raise index_error(ready.net.module_, rows.X, error) from error
    return ready.finished()


@dataclass(frozen=True, eq=False)
class Ready:
    """A net that is initialised and has its data, to be trained by skorch's loop or in a stack."""

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
        net.train_split = unit_split(net.train_split, rows)
    X, y = _feed(net, rows, batch_norm, {} if made is None else made, soft)
    if watch.schedule is not None and any(isinstance(c, LRScheduler) for _, c in net.callbacks_):
        warnings.warn(
            "The net has an LRScheduler, but its collector sets the learning rate at every step and wins.",
            stacklevel=2,
        )
    net.callbacks_ = [(name, c) for name, c in net.callbacks_ if net.verbose or not _only_prints(c)]
    net.callbacks_.append(("skfusion", watch))
    return Ready(net, X, y, batch_norm, user_settings)


def state_of(net: Any) -> State:
    """Return a copy of a net's state on the CPU, without the name prefix that ``torch.compile`` adds.

    Parameters
    ----------
    net : skorch net
        Initialised.

    Returns
    -------
    State
        Parameters and buffers; tied tensors stay tied.
    """
    state = {k.replace("_orig_mod.", ""): v for k, v in net.module_.state_dict().items()}
    return states.map_tensors(lambda t: t.detach().cpu().clone(), state)


def history_of(net: Any) -> list[dict[str, float]]:
    """Return the numbers that a net recorded for each epoch.

    Parameters
    ----------
    net : skorch net
        Fitted.

    Returns
    -------
    list of dict
        Losses and other numbers by name, one dict an epoch.
    """
    skipped = ("batches", "_best")
    return [
        {k: float(v) for k, v in row.items() if isinstance(v, (int, float)) and not k.endswith(skipped)}
        for row in net.history
    ]


def _only_prints(callback: Any) -> bool:
    """Return whether the callback is skorch's table of epochs, which is laid out even where it is not shown."""
    return type(callback) is PrintLog and callback.sink is print


def _loop(ready: Ready) -> None:
    """Run skorch's loop as ``partial_fit`` does, but let an interrupt of the user through."""
    net, X, y = ready.net, ready.X, ready.y
    switch = getattr(type(net), "_set_training", None)
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
    overrides = (
        type(net).get_iterator is not NeuralNet.get_iterator or type(net).get_dataset is not NeuralNet.get_dataset
    )
    plain = not overrides and net.dataset is Dataset and not net.get_params_for("dataset")
    if not (plain and _is_plain(net, "iterator_train")):
        if soft is not None:
            raise ValueError(
                "Learning from more than targets needs skorch's default dataset and iterator_train. Remove your own."
            )
        if rows.weight is not None:
            raise ValueError(
                "sample_weight with fractions needs skorch's default dataset and iterator_train. Remove your own, or "
                "give whole-number weights, which are taken as repetitions."
            )
        return rows.X, targets(net, rows.y, task)
    device, like = net.device, dtype_of(net.module_)
    extra: dict[str, Any] = {"join_single": batch_norm}
    if rows.weight is not None or soft is not None:
        box: list[Tensor | None] = [None]
        if soft is None:
            given, kind = weigh(net, rows.weight, targets(net, rows.y, task), box), like
        else:
            given = soft.columns(net, task, rows)
            kind = torch.promote_types(like, torch.float32)  # which holds numbers of rows
            soft.install(net, box, task, weighted=rows.weight is not None)
        extra |= {"weight": torch.as_tensor(given, dtype=kind, device=device or "cpu"), "current_weight": box}
    net.iterator_train = partial(TensorLoader, **extra)
    if _is_plain(net, "iterator_valid"):
        net.iterator_valid = predict_loader
    key = id(rows)
    if key not in made:
        y = targets(net, rows.y, task)
        made[key] = tensors(rows.X, like, device), tensors(y, like, device), rows
    X, y, _ = made[key]
    return X, y


def _is_plain(net: Any, name: str) -> bool:
    given = net.get_params_for(name)
    return getattr(net, name) is DataLoader and given.keys() <= HONOURED and not given.get("num_workers")
