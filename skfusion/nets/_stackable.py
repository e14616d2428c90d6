"""What of a skorch net can be trained in a stack, and what must be trained in skorch's own loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from skorch import callbacks as known
from skorch.callbacks import Callback
from torch import nn

from skfusion.nets._watch import Watch
from skfusion.stacked import NotStackableError, difference, stepper

_OF_THE_LOOP = (
    *("fit_loop", "run_single_epoch", "train_step", "train_step_single", "validation_step", "notify"),
    *("get_train_step_accumulator", "on_batch_begin", "on_batch_end", "on_grad_computed"),
)
"""Methods of a net that the stack takes over; ``infer``, ``get_loss`` and those of whole epochs are called."""

_OF_A_BATCH = ("on_batch_begin", "on_batch_end", "on_grad_computed")

_KNOWN = (
    *(Watch, known.EpochTimer, known.PrintLog, known.PassthroughScoring, known.EpochScoring, known.EarlyStopping),
    *(known.LRScheduler, known.GradientNormClipping),
)


_OWN = {"lr", "optimizer", "module", "callbacks", "iterator_train", "iterator_valid", "train_split"}
"""Parameters of a net that are looked at for each member; of the others, the stack uses those of the first one."""


def check_params(jobs: Sequence[Any]) -> None:
    """Raise where jobs differ in a parameter of the net that a stack has only once.

    Parameters
    ----------
    jobs : sequence of Job
        What to train.

    Raises
    ------
    NotStackableError
        It names the parameter.
    """
    shared = [{k: v for k, v in job.params.items() if k.partition("__")[0] not in _OWN} for job in jobs]
    for other in shared[1:]:
        if (name := difference(shared[0], other)) is not None:
            raise NotStackableError(f"its members differ in the parameter {name!r}")


def check_net(net: Any) -> None:
    """Raise where an initialised net does what a stack cannot do.

    Parameters
    ----------
    net : skorch net
        Initialised.

    Raises
    ------
    NotStackableError
        It names what stands in the way.
    """
    name = type(net).__name__
    for method in _OF_THE_LOOP:
        if not getattr(type(net), method).__module__.startswith("skorch"):
            raise NotStackableError(f"{name} overrides {method}")
    for method in ("get_dataset", "get_iterator"):
        if not getattr(type(net), method).__module__.startswith("skorch"):
            raise NotStackableError(f"{name} overrides {method}")
    if getattr(net, "compile", False) or hasattr(net.module_, "_orig_mod"):
        raise NotStackableError("its module is compiled")
    for kind, own in (("modules", net._modules), ("criteria", net._criteria), ("optimizers", net._optimizers)):
        if len(own) != 1:
            raise NotStackableError(f"{name} has {len(own)} {kind}")
    if isinstance(net.criterion_, nn.Module) and any(True for _ in net.criterion_.parameters()):
        raise NotStackableError("its criterion has parameters")
    for module in net.module_.modules():
        if isinstance(module, nn.RNNBase):
            raise NotStackableError(f"torch has no kernel for many {type(module).__name__} layers")
        if isinstance(module, torch.jit.ScriptModule):
            raise NotStackableError("its module is a TorchScript one")
        if (
            isinstance(module, nn.modules.batchnorm._BatchNorm)
            and module.track_running_stats
            and module.momentum is None
        ):
            raise NotStackableError(f"{type(module).__name__}(momentum=None) reads its counter as a number")
    stepper([net.optimizer_])
    stepped = {id(p) for group in net.optimizer_.param_groups for p in group["params"]}
    if any(p.requires_grad and id(p) not in stepped for p in net.module_.parameters()):
        raise NotStackableError("its optimiser steps only some of the trained parameters")


def check_callbacks(net: Any) -> None:
    """Raise where a callback acts on single batches, or on files that members would share.

    Parameters
    ----------
    net : skorch net
        Initialised.

    Raises
    ------
    NotStackableError
        It names the callback.
    """
    for _, callback in net.callbacks_:
        kind = type(callback)
        if kind in _KNOWN:
            caching = getattr(callback, "use_caching", False) if net.use_caching == "auto" else net.use_caching
            if isinstance(callback, known.EpochScoring) and callback.on_train and caching:
                raise NotStackableError("EpochScoring(on_train=True) keeps the outputs of every batch")
            continue
        if kind.__module__.startswith("skorch"):
            raise NotStackableError(f"the callback {kind.__name__} is only known to skorch's own loop")
        for hook in _OF_A_BATCH:
            if getattr(kind, hook) is not getattr(Callback, hook):
                raise NotStackableError(f"the callback {kind.__name__} acts in {hook}")


def has_foreign_callback(net: Any) -> bool:
    """Return whether a callback is not one of skorch's, so that it might do anything between epochs."""
    return any(type(callback) not in _KNOWN for _, callback in net.callbacks_)
