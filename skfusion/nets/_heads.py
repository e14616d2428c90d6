"""A state of a net as a module by itself, and its outputs read as probabilities or values in operations that export."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.base import clone
from torch import Tensor, nn
from torch.nn import functional as F

from skfusion._rows import Task
from skfusion.nets._prepare import _logits_of
from skfusion.nets._restored import with_columns_of
from skfusion.nets._runner import Runner, _read_as
from skfusion.objective import first_output
from skfusion.state import State


class Head(nn.Module):
    """What :func:`~skfusion.nets._runner.link_of` computes, or ``logits_of`` with ``logs``, without looking at values.

    Exporters follow no Python that depends on values or on the number of rows.
    """

    def __init__(self, net: Any, task: Task, dtype: torch.dtype, logs: bool = False):
        super().__init__()
        self.values, self.labels, self.logs = task == "regression", task == "multilabel", logs
        _, asked, self.logits, self.one = (None, None, False, False) if self.values else _read_as(net, task)
        given = callable(asked) and not self.one
        self.asked, self.dtype = asked if given else nn.Identity(), dtype
        exact = torch.finfo(torch.float64 if given else dtype)
        self.smallest, self.rounding = exact.tiny, exact.eps

    def forward(self, z: Tensor) -> Tensor:
        """Return probabilities or values, or logarithms in float64, shape (n_samples, n_outputs)."""
        if self.values:
            return z.flatten(1).to(self.dtype)
        z = z.double()
        if self.logs:
            return self._logarithms(z)
        if self.one:
            p = (z.sigmoid() if self.logits else z).reshape(-1, 1)
            return torch.cat([1 - p, p], 1).to(self.dtype)
        z = self.asked(z).flatten(1)
        if self.logits:
            z = z.sigmoid() if self.labels else z.softmax(1)
        return z.to(self.dtype)

    def _logarithms(self, z: Tensor) -> Tensor:
        if not self.logits:
            z = self.asked(z)
            z = torch.logit(z, self.rounding) if self.one or self.labels else z.clamp_min(self.smallest).log()
        if self.one:
            z = z.reshape(-1, 1)
            return torch.cat([F.logsigmoid(-z), F.logsigmoid(z)], 1)
        z = z.flatten(1)
        return z.log_softmax(1) if self.logits and not self.labels else z


class FirstOutput(nn.Module):
    """A module that returns several things, of which the first, or the logits, are returned."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the first output."""
        return first_output(self.module(*args, **kwargs))


def module_of(net: Any, state: State, task: Task) -> nn.Module:
    """Return the module of a net with copies of the tensors of a state: in evaluation mode, on the CPU, not trained."""
    net = clone(with_columns_of(net, state)).set_params(device="cpu")
    runner = Runner(net, task)
    module = runner.module
    module.load_state_dict(runner.place({key: tensor.detach().cpu() for key, tensor in state.items()}))
    for number in [n for n, hook in module._forward_hooks.items() if hook is _logits_of]:
        del module._forward_hooks[number]
    return module.requires_grad_(False).eval()
