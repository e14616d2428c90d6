"""What a module's output stands for: probabilities, log-probabilities, a likelihood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skfusion._rows import Task
from skfusion.nets._prepare import criterion_type
from skfusion.objective import Likelihood


def link_of(net: Any, task: Task) -> Callable[[Tensor], Tensor]:
    """Return the map from the module's output to probabilities, by skorch's ``predict_nonlinearity``."""

    def narrow(p: Tensor) -> Tensor:
        return p.reshape(len(p), -1).to(torch.promote_types(p.dtype, torch.float32))  # numpy knows no bfloat16

    if task == "regression":
        return narrow
    asked = net.predict_nonlinearity
    kind = criterion_type(net)
    logits = issubclass(kind, (nn.CrossEntropyLoss, nn.BCEWithLogitsLoss)) if asked == "auto" else False
    one = issubclass(kind, (nn.BCEWithLogitsLoss, nn.BCELoss)) and task == "classification"

    def link(z: Tensor) -> Tensor:
        wide = z.double()
        if one:
            p = (wide.sigmoid() if logits else wide).reshape(len(z), 1)
            p = torch.cat([1 - p, p], 1)
        elif callable(asked):
            p = asked(wide)
        elif logits:
            p = _softmax(wide) if task == "classification" else wide.sigmoid()
        else:
            p = _probabilities(wide, kind)
        return narrow(p).to(torch.promote_types(z.dtype, torch.float32))

    return link


def logits_of(net: Any, task: Task) -> Callable[[Tensor], Tensor]:
    """Return the map from the module's output to log-probabilities of classes, or to log-odds of labels, in float64.

    They are exact where the module returns logits; probabilities of 0 count as the least positive number of their
    dtype.
    """
    kind, asked = criterion_type(net), net.predict_nonlinearity
    logits = asked == "auto" and issubclass(kind, (nn.CrossEntropyLoss, nn.BCEWithLogitsLoss))
    one = issubclass(kind, (nn.BCEWithLogitsLoss, nn.BCELoss)) and task == "classification"

    def read(z: Tensor) -> Tensor:
        wide, exact = z.double(), z.dtype
        if not logits:
            if not one and callable(asked):
                wide, exact = asked(wide), torch.float64
            else:
                wide = wide if one else _probabilities(wide, kind)
            if one or task == "multilabel":
                wide = torch.logit(wide, torch.finfo(exact).eps)
            else:
                wide = wide.clamp_min(torch.finfo(exact).tiny).log()
        wide = wide.reshape(len(z), -1)
        if one:
            return torch.cat([F.logsigmoid(-wide), F.logsigmoid(wide)], 1)
        return wide.log_softmax(1) if logits and task == "classification" else wide

    return read


def _probabilities(p: Tensor, kind: type) -> Tensor:
    """Return outputs that are probabilities; raise where one is outside [0, 1]."""
    if len(p) and bool((p < -1e-6).any() or (p > 1 + 1e-6).any()):
        raise ValueError(
            f"The module's outputs are no probabilities, and it is not known how {kind.__name__} reads them: give "
            "the net predict_nonlinearity, such as torch.nn.Softmax(dim=-1)."
        )
    return p


def is_monotone(net: Any, task: Task) -> bool:
    """Return whether the largest output of a row has the largest probability, one output a class."""
    softmax = net.predict_nonlinearity == "auto" and issubclass(criterion_type(net), nn.CrossEntropyLoss)
    return task == "classification" and softmax


def _softmax(z: Tensor) -> Tensor:
    """Return the softmax over axis 1, of many rows across them: torch's kernel for a short last axis is slow."""
    return z.t().contiguous().softmax(0).t().contiguous() if z.shape[1] < 32 and len(z) > 500 else z.softmax(1)


def likelihood_of(net: Any, task: Task) -> Likelihood:
    """Return how the module's outputs are read as probabilities, in a form that gradients pass through."""
    if task == "regression":
        return Likelihood("gaussian", lambda out: out.reshape(len(out), -1))
    kind, asked = criterion_type(net), net.predict_nonlinearity
    one = issubclass(kind, (nn.BCEWithLogitsLoss, nn.BCELoss)) and task == "classification"
    logits = asked == "auto" and issubclass(kind, (nn.CrossEntropyLoss, nn.BCEWithLogitsLoss))

    def read(out: Tensor) -> Tensor:
        z = out.reshape(len(out), -1)
        if one:
            return F.pad(z if logits else torch.logit(z, 1e-7), (1, 0))  # the first class has log-odds 0
        if logits:
            return z
        p = asked(out).reshape(len(out), -1) if callable(asked) else z
        return p.clamp_min(torch.finfo(p.dtype).tiny).log() if task == "classification" else torch.logit(p, 1e-7)

    return Likelihood("categorical" if task == "classification" else "bernoulli", read)
