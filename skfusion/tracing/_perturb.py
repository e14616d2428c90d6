"""States for the proof, in which no weight is trivial: zeros and ones of a fresh network get noise.

A head that is initialised to zero hides whatever is wrong before it, and equal biases look the same in any order.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn

from skfusion.state import State

NOISE = 0.2


def tensors_of(module: nn.Module, dtype: torch.dtype | None) -> State:
    """Return copies of all parameters and buffers, floating-point ones in another dtype; tied ones stay tied."""
    done: dict[int, Tensor] = {}
    out: State = {}
    for name, tensor in (
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),  # those that are not stored in a state_dict, too
    ):
        if id(tensor) not in done:
            done[id(tensor)] = tensor.detach().to(dtype if tensor.is_floating_point() else None, copy=True)
        out[name] = done[id(tensor)]
    return out


def perturbed(module: nn.Module, state: State, seed: int) -> State:
    """Return a state with noise on what is constant in a fresh network; tied tensors stay tied.

    These are constant parameters and those with one axis, such as biases, scales and zero-initialised heads, and the
    running statistics of batch norms, of which the variances stay positive.
    """
    generator = torch.Generator().manual_seed(seed)
    statistics = {
        f"{prefix}.{name}".lstrip("."): name
        for prefix, part in module.named_modules(remove_duplicate=False)
        if isinstance(part, nn.modules.batchnorm._NormBase)
        for name in ("running_mean", "running_var")
    }
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    done: dict[int, Tensor] = {}
    out: State = {}
    for name, tensor in state.items():
        if id(tensor) not in done:
            kind = "parameter" if name in parameters else statistics.get(name, "constant")
            done[id(tensor)] = _moved(tensor, kind, generator)
        out[name] = done[id(tensor)]
    return out


def _moved(tensor: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    if kind == "constant" or not tensor.numel() or not (tensor.is_floating_point() or tensor.is_complex()):
        return tensor
    if kind == "running_var":
        factor = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.5
        return (tensor * factor.to(tensor)).clamp_min(1e-3)
    plain = tensor.dim() < 2
    if not plain and bool((tensor != tensor.reshape(-1)[0]).any()):
        return tensor
    size = NOISE if plain else 1 / sqrt(max(tensor[0].numel(), 1))
    return tensor + size * torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor)
