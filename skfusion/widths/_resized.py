"""A copy of a module with another number of units."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from skfusion._numbers import addable, is_summed, place_of
from skfusion.symmetry import Axes, LinearMap, Symmetry, mapped, resized_symmetry, runs_of, same
from skfusion.tracing import Example, arguments_of, copied, run, symmetry_of, twin
from skfusion.widths._layers import Changes, check_kind, refit, refit_by_input, without_tensors
from skfusion.widths._widths import Widths, sizes_for


def resized(
    module: nn.Module, example_inputs: Example, widths: Widths, *, symmetry: Symmetry | None = None
) -> nn.Module:
    r"""Return a copy of a module whose hidden layers have other numbers of units.

    Linear layers, convolutions, normalisations, PReLU, embeddings and recurrent layers are resized, with their
    attributes such as ``in_features``. All that holds the same units, such as the layers along a residual stream,
    changes together; inputs and outputs stay as they are.

    Parameters
    ----------
    module : nn.Module
        The module; it is neither run nor written.
    example_inputs : Tensor, tuple, list or dict
        One batch, as for :func:`skfusion.tracing.symmetry_of`. The copy is run on it.
    widths : int or dict of int
        How many units every group shall have, or some: by the name of the group, of an axis that its units are on
        (``"0.weight:0"``), or of the layer that makes them (``"0"``). A recurrent layer has one width for all of its
        layers and directions.
    symmetry : Symmetry, optional
        The groups of units of the module; found when omitted.

    Returns
    -------
    nn.Module
        The copy, with tensors in the dtypes and on the devices of the module's; tied tensors stay tied. Units that are
        added are copies of the first ones, and what reads them is shared among the copies, so that a wider network
        computes the same (Net2WiderNet), but where a normalisation over units counts some of them more often than
        others. Units that are taken away are the last ones.

    Raises
    ------
    ValueError
        If a width is asked for that cannot be, such as of the output or of two tensors on one residual stream, or a
        layer that holds the units is of no known kind, or the code of the module counts on their number. The message
        names the layer or the tensors.

    References
    ----------
    Chen, Goodfellow and Shlens, "Net2Net: accelerating learning via knowledge transfer", ICLR 2016, arXiv:1511.05641.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.widths import resized
    >>> net, x = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), torch.ones(4, 3)
    >>> wide = resized(net, x, {"0": 12})
    >>> wide[0].out_features, wide[2].in_features
    (12, 12)
    >>> torch.allclose(wide(x), net(x))
    True
    """
    if symmetry is None:
        symmetry = symmetry_of(module, example_inputs)
    return resized_to(module, example_inputs, sizes_for(symmetry, widths), symmetry)


def resized_to(
    module: nn.Module,
    example_inputs: Example,
    sizes: Mapping[str, int],
    symmetry: Symmetry,
    outputs: Collection[str] = (),
) -> nn.Module:
    """Return a copy of a module with other numbers of units by group, some of which are its outputs."""
    expected = resized_symmetry(symmetry, sizes)
    layers = {name: keys for name, keys in keys_by_layer(module).items() if _changes(symmetry, keys, sizes)}
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    for name, keys in layers.items():
        if changed := [key for key in keys if key in parameters and _changes(symmetry, [key], sizes)]:
            check_kind(name, module.get_submodule(name), changed)
    copy = _copied(module, symmetry, sizes)
    for name, keys in layers.items():
        weight = next((key for key in keys if key.endswith("weight")), keys[0])
        refit(name, copy.get_submodule(name), symmetry.shapes[weight][0], _changes(symmetry, [weight], sizes, 1))
    refit_by_run(copy, example_inputs)
    _check(copy, example_inputs, expected, {g: n for g, n in sizes.items() if g not in outputs})
    return copy


def _copied(module: nn.Module, symmetry: Symmetry, sizes: Mapping[str, int]) -> nn.Module:
    """Return a copy of a module in which the tensors that hold some groups have other shapes."""
    maps = {g: _repeating(symmetry, sizes, g) for g in sizes}

    def repeated(name: str, tensor: Tensor) -> Tensor | None:
        if not _changes(symmetry, [name], sizes):
            return None
        wide = tensor if is_summed(tensor) else addable(tensor).double()  # integers are copied, which is exact
        try:
            new = mapped(wide, symmetry.axes[name], symmetry.roles[name], symmetry.groups, maps)
        except ValueError as error:
            raise ValueError(f"Tensor {name!r} cannot have these widths: {error}.") from error
        return new.to(tensor.dtype)

    return copied_with(module, repeated)


def copied_with(module: nn.Module, other: Callable[[str, Tensor], Tensor | None]) -> nn.Module:
    """Return a copy of a module with other tensors, where there are; tied ones stay tied."""
    memo: dict[int, Any] = {}
    known: dict[tuple[object, ...], Tensor] = {}
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for name, tensor in (parameters | dict(module.named_buffers(remove_duplicate=False))).items():
        place = place_of(tensor)
        if id(tensor) in memo or (new := known.get(place, other(name, tensor))) is None:
            continue
        known[place] = new
        memo[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if name in parameters else new
    return twin(module, memo)


def _repeating(symmetry: Symmetry, sizes: Mapping[str, int], group: str) -> LinearMap:
    """Return the map to the first units, or to all of them and copies of the first, which share what reads them."""
    old, context = symmetry.groups[group].size, symmetry.groups[group].context
    source = np.arange(sizes[group]) % old
    out = np.eye(old)[source]
    into = (out / np.bincount(source, minlength=old).clip(1)).T
    lead = [sizes.get(c, symmetry.groups[c].size) for c in context]
    return LinearMap(*(np.broadcast_to(matrix, (*lead, *matrix.shape)) for matrix in (out, into)))


def keys_by_layer(module: nn.Module) -> dict[str, list[str]]:
    """Return the names of the tensors that each layer holds itself."""
    keys: dict[str, list[str]] = {}
    for name, layer in module.named_modules():
        own = (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))
        keys[name] = [f"{name}.{key}" if name else key for key, _ in own]
    return keys


def _changes(symmetry: Symmetry, keys: Sequence[str], sizes: Mapping[str, int], n_axes: int | None = None) -> Changes:
    """Return the runs of units whose number changes, on the first axes of some tensors, or on all."""
    return [
        (part, sizes[g])
        for key in keys
        for axis, blocks in enumerate(symmetry.axes.get(key, ())[:n_axes])
        for g in dict.fromkeys(g for b in blocks for g in b.groups if g in sizes)
        for part in runs_of(blocks, g, f"Axis {axis} of tensor {key!r}")
    ]


def refit_by_run(copy: nn.Module, example_inputs: Example) -> None:
    """Set the widths of normalisations without tensors to those of what they are given in a run."""
    layers = without_tensors(copy)
    if not layers:
        return
    runner = twin(copy)
    parts = dict(runner.named_modules())

    def see(name: str, part: nn.Module, args: tuple[Tensor, ...]) -> None:
        for layer in (part, layers[name]):
            refit_by_input(name, layer, tuple(args[0].shape))

    for name in layers:
        parts[name].register_forward_pre_hook(partial(see, name))
    try:
        run(runner, copied(arguments_of(example_inputs)))
    except ValueError:
        raise
    except Exception as error:
        raise counts_on_widths(copy, error) from error


def _check(copy: nn.Module, example_inputs: Example, expected: Symmetry, sizes: Mapping[str, int]) -> None:
    """Raise where a copy does not run, or runs with its units in other places than they should be in."""
    try:
        traced = symmetry_of(copy, example_inputs, verify=False)
    except ValueError as error:
        raise counts_on_widths(copy, error.__cause__ or error) from error
    for name, parts in expected.axes.items():
        if not same(_of_groups(parts, sizes), _of_groups(traced.axes[name], sizes)):
            raise counts_on_widths(copy, f"the units of tensor {name!r} are no longer read as before")


def _of_groups(parts: Axes, sizes: Mapping[str, int]) -> Axes:
    """Return the blocks with units of some groups, of more than one unit, which alone could change places."""
    return tuple(tuple(b for b in blocks if any(sizes.get(g, 1) > 1 for g in b.groups)) for blocks in parts)


def counts_on_widths(copy: nn.Module, why: object) -> ValueError:
    return ValueError(
        f"{type(copy).__name__} cannot be resized to these widths: its code, or a layer, counts on the numbers of "
        f"units that it was made with ({str(why).splitlines()[0]}). Make a module of the new widths yourself."
    )
