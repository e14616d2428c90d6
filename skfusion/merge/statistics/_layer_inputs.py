"""What layers that are linear in their weights take as inputs, row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from skfusion._batches import row_weights
from skfusion.merge._base import key_of

_FORWARDS = [kind.forward for kind in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)]
_BUDGET = 2**22  # numbers that a piece may have


def own_layers(module: nn.Module, owner: dict[str, str]) -> dict[str, nn.Module]:
    """Return the linear layers and convolutions, by name, that share none of their tensors with other layers."""
    is_own = own_keys(module, owner)
    linear = {name: part for name, part in module.named_modules() if type(part).forward in _FORWARDS}
    return {name: part for name, part in linear.items() if all(map(is_own, keys_of(name, part)))}


def own_keys(module: nn.Module, owner: dict[str, str]) -> Callable[[str], bool]:
    """Return a function of a name: whether its tensor is in the state, and belongs to one layer only."""
    holders: Counter[str] = Counter()
    for name, part in module.named_modules():
        keys = [key_of(name, t) for t, _ in part.named_parameters(recurse=False)]
        holders.update({owner[key] for key in keys if key in owner})
    return lambda key: key in owner and holders[owner[key]] == 1


def keys_of(name: str, layer: nn.Module) -> list[str]:
    """Return the names of a layer's weight and bias in a state."""
    return [key_of(name, "weight")] + ([] if layer.bias is None else [key_of(name, "bias")])


def pieces(layer: Any, name: str, x: Tensor, weight: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut the input of a layer into pieces of rows by which its weights are multiplied, with the weights of these rows.

    Rows are in float64, of shape (n_groups, n_rows, n_features), with a last feature 1 where the layer has a bias.
    ``weight`` has the weights of the samples.
    """
    bias = getattr(layer, "in_proj_bias" if isinstance(layer, nn.MultiheadAttention) else "bias")
    if isinstance(layer, (nn.Linear, nn.MultiheadAttention)):
        windows = x.reshape(-1, 1, 1, x.shape[-1]) if x.ndim < 3 else x.flatten(1, -2).unsqueeze(1)
        n_axes = 1
    else:
        n_axes = layer.weight.ndim - 2
        windows = _windows(layer, x.reshape(-1, *x.shape[-n_axes - 1 :]))
    many = row_weights(weight, windows, name)
    groups, lines = windows.shape[1:3]
    width = windows.shape[3 : 2 + n_axes].numel()
    n_features = windows.shape[2 + n_axes :].numel()
    most = max(1, _BUDGET // max(1, groups * width * n_features))
    step = max(1, most // max(1, lines))
    for i in range(0, len(windows), step):
        for j in range(0, lines, most):
            part = windows[i : i + step, :, j : j + most].transpose(0, 1)
            rows = part.reshape(groups, -1, n_features).double()
            if bias is not None:
                rows = F.pad(rows, (0, 1), value=1.0)
            yield rows, many[i : i + step].repeat_interleave(part.shape[2] * width)


def input_of(args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> Tensor:
    """Return the input of a layer from the arguments that it is called with."""
    return args[0] if args else kwargs["input"]


def _windows(layer: Any, x: Tensor) -> Tensor:
    """Return what a convolution sees, as a view of shape (n_samples, n_groups, *places, n_channels, *kernel)."""
    n = x.ndim - 2
    pads: list[int] = []
    for axis in reversed(range(n)):
        if layer.padding == "same":
            total = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
            pads += [total // 2, total - total // 2]
        else:
            pads += [0, 0] if layer.padding == "valid" else [layer.padding[axis]] * 2
    if any(pads):
        x = F.pad(x, pads, mode="constant" if layer.padding_mode == "zeros" else layer.padding_mode)
    x = x.reshape(len(x), layer.groups, -1, *x.shape[2:])
    for axis in range(n):
        reach = layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1
        x = x.unfold(3 + axis, reach, layer.stride[axis])[..., :: layer.dilation[axis]]
    return x.movedim(2, 2 + n)
