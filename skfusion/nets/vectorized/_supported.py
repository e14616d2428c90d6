"""What of a skorch net can be trained in a stack, and what must be trained in skorch's own loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from skorch import NeuralNet
from torch import nn

from skfusion._vectorized import NotVectorizableError, described, difference, stepper

_OF_THE_LOOP = (
    *("fit_loop", "run_single_epoch", "train_step", "train_step_single", "validation_step", "notify"),
    *("get_train_step_accumulator", "on_batch_begin", "on_batch_end", "on_grad_computed"),
)
"""Methods of a net that the stack takes over; ``infer``, ``get_loss`` and those of whole epochs are called."""

OF_SKORCH = {
    *signature(NeuralNet).parameters,
    *("history_", "initialized_", "virtual_params_", "classes", "classes_inferred_", "init_context_", "callbacks_"),
    *("prefixes_", "cuda_dependent_attributes_", "module_", "criterion_", "optimizer_", "get_loss", "module"),
    *("_params_to_validate", "_modules", "_criteria", "_optimizers", "_kwargs"),
}
"""Attributes of a net that are its parameters, or that skorch gives it."""

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
    NotVectorizableError
        It names the parameter.
    """
    shared = [{k: v for k, v in job.params.items() if k.partition("__")[0] not in _OWN} for job in jobs]
    first = described(shared[0])
    for other in shared[1:]:
        if (name := difference(first, described(other))) is not None:
            raise NotVectorizableError(f"its members differ in the parameter {name!r}")


def check_net(net: Any) -> None:
    """Raise where an initialised net does what a stack cannot do.

    Parameters
    ----------
    net : skorch net
        Initialised.

    Raises
    ------
    NotVectorizableError
        It names what stands in the way.
    """
    name = type(net).__name__
    for method in _OF_THE_LOOP:
        if not getattr(type(net), method).__module__.startswith("skorch"):
            raise NotVectorizableError(f"{name} overrides {method}")
    for method in ("get_dataset", "get_iterator"):
        if not getattr(type(net), method).__module__.startswith("skorch"):
            raise NotVectorizableError(f"{name} overrides {method}")
    if getattr(net, "compile", False) or hasattr(net.module_, "_orig_mod"):
        raise NotVectorizableError("its module is compiled")
    for kind, own in (("modules", net._modules), ("criteria", net._criteria), ("optimizers", net._optimizers)):
        if len(own) != 1:
            raise NotVectorizableError(f"{name} has {len(own)} {kind}")
    if isinstance(net.criterion_, nn.Module) and any(True for _ in net.criterion_.parameters()):
        raise NotVectorizableError("its criterion has parameters")
    for module in net.module_.modules():
        if isinstance(module, nn.RNNBase):
            raise NotVectorizableError(f"torch has no kernel for many {type(module).__name__} layers")
        if isinstance(module, torch.jit.ScriptModule):
            raise NotVectorizableError("its module is a TorchScript one")
        if (
            isinstance(module, nn.modules.batchnorm._BatchNorm)
            and module.track_running_stats
            and module.momentum is None
        ):
            raise NotVectorizableError(f"{type(module).__name__}(momentum=None) reads its counter as a number")
    check_optimizer(net)


def check_optimizer(net: Any) -> None:
    """Raise where the optimiser has no stacked form, or leaves parameters out.

    Parameters
    ----------
    net : skorch net
        Initialised.

    Raises
    ------
    NotVectorizableError
        It names what stands in the way.
    """
    stepper([net.optimizer_])
    stepped = {id(p) for group in net.optimizer_.param_groups for p in group["params"]}
    if any(p.requires_grad and id(p) not in stepped for p in net.module_.parameters()):
        raise NotVectorizableError("its optimiser steps only some of the trained parameters")


def common(net: Any, own: set[str]) -> type:
    """Return the class of a net that speaks for all members: it refuses to tell what each has of its own.

    Parameters
    ----------
    net : skorch net
        With an ``infer`` or ``get_loss`` that is not skorch's.
    own : set of str
        Parameters that are some member's own.

    Returns
    -------
    type
        A subclass of the net's.
    """
    kind = type(net)
    withheld = own | {"lr", "history", "history_", "optimizer_", "callbacks_"}

    class Common(kind):  # type: ignore[misc, valid-type]
        def __getattribute__(self, name: str) -> Any:
            if name in withheld:
                raise NotVectorizableError(
                    f"the loss of {kind.__name__} reads {name!r}, of which each member has its own"
                )
            return super().__getattribute__(name)

    return Common


@contextmanager
def speaking_for_all(net: Any, kind: type | None) -> Iterator[None]:
    """Let a net be of the class that :func:`common` gave, if there is one, while it computes a loss of all members."""
    own = type(net)
    try:
        if kind is not None:
            object.__setattr__(net, "__class__", kind)
        yield
    finally:
        if kind is not None:
            object.__setattr__(net, "__class__", own)


def has_own_loss(net: Any) -> bool:
    """Return whether the loss is computed by code of the user's."""
    return any(not getattr(type(net), name).__module__.startswith("skorch") for name in ("infer", "get_loss"))
