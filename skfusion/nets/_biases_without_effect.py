"""Biases ahead of BatchNorm, which have no effect on the output but differ by rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skfusion._random import seed_scope
from skfusion._rows import Rows
from skfusion.nets._prepare import dtype_of, initialised, run, tensors

_LINEAR = (nn.Linear, nn.modules.conv._ConvNd)


def biases_without_effect(net: Any, rows: Rows) -> list[str]:
    """Return the biases of linear layers and convolutions whose output goes straight into BatchNorm.

    BatchNorm subtracts them again, so that their gradients are rounding errors alone. Optimisers that divide by the
    size of a gradient, such as Adam, take full steps by them, in directions that depend on the order of a sum; and as
    the running mean follows late, predictions depend on the biases. None are returned where the net trains by plain
    SGD.
    """
    if net.optimizer is torch.optim.SGD:
        return []
    outputs: list[tuple[str, Tensor, int]] = []
    biases: list[str] = []

    def keep(name: str, out: Tensor) -> None:
        outputs.append((f"{name}.bias".lstrip("."), out, out._version))

    def compare(x: Tensor) -> None:
        place = x.untyped_storage().data_ptr()
        biases.extend(n for n, out, v in outputs if out.untyped_storage().data_ptr() == place and out._version == v)

    with seed_scope(0, net.device), torch.no_grad():
        module = initialised(net, rows).eval()
        for name, part in module.named_modules():
            if isinstance(part, _LINEAR) and part.bias is not None:
                part.register_forward_hook(lambda _part, _args, out, name=name: keep(name, out))
            elif isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.register_forward_pre_hook(lambda _part, args: compare(args[0]))
        run(module, tensors(rows.take(np.arange(min(2, len(rows)))).X, dtype_of(module), net.device))
    return [*dict.fromkeys(biases)]


def why_not_vectorized(reason: str, net: Any, rows: Rows, how: str = "one after another") -> str:
    """Return the warning that members are not vectorized, by a reason in half a sentence; ``how`` they are trained."""
    names = biases_without_effect(net, rows)
    more = (
        f" They also differ through {', '.join(names)}: BatchNorm takes these biases away, so that their gradients "
        f"are rounding alone, of which {getattr(net.optimizer, '__name__', 'the optimizer')} makes full steps. Give "
        "their layers bias=False."
    )
    return (
        f"The members are trained {how} and not vectorized: {reason}. Results are the same but for "
        f"rounding, which training can amplify; vectorize=False says that this is meant.{more if names else ''}"
    )
