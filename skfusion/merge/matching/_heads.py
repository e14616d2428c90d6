"""Networks with label sets of their own, merged into one network whose outputs are those of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skfusion._numbers import is_summed
from skfusion.merge.matching._networks import Networks, example_of, networks_of
from skfusion.merge.matching._zipit import ZipIt, zip_networks
from skfusion.objective import Input, Objective, call, evaluating, first_output
from skfusion.state import Fused, State, check_compatible, is_statistic
from skfusion.symmetry import Symmetry, made_on
from skfusion.tracing import arguments_of, run, symmetry_of, twin

_READER = "_reads_the_outputs"


def zip_heads(merge: ZipIt, states: Sequence[State], objective: Objective) -> Fused:
    """Merge networks of different label sets: one body, and a head for each of them (partial zip).

    The result is a module of the same kind, whose outputs are those of the first member, then those of the second, and
    so on. It tells the classes of all members apart, and needs no training; what the members do not share are their
    output layers, and all layers from ``merge.until`` on.

    Parameters
    ----------
    merge : ZipIt
        How units are merged.
    states : sequence of State
        K states of one architecture. Hidden layers may have different widths, and output layers different numbers of
        classes.
    objective : Objective
        The module, and inputs of all label sets; labels are not used.

    Returns
    -------
    Fused
        The weights, and the module. Where it has BatchNorm, estimate its statistics again:
        ``Recalibrate()(state, [], objective)`` with an objective of this module.

    Raises
    ------
    ValueError
        If outputs cannot stand side by side, as behind a softmax over them, or are no matrix of rows and classes.

    Notes
    -----
    Logits of different networks are compared with one another, as in the paper; members that were trained in the same
    way have comparable ones. ``skfusion.nets.restored(skfusion.nets.with_module(net, module), state, classes)`` is a
    fitted skorch net, where ``classes`` are those of the members one after another.

    References
    ----------
    Stoica et al., "ZipIt! Merging models from different tasks without training", ICLR 2024, arXiv:2305.03053,
    section 4.3.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.merge import ZipIt, zip_heads
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> _ = torch.manual_seed(0)
    >>> cats, dogs = (nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, n)).eval() for n in (2, 4))
    >>> x = torch.randn(50, 3)
    >>> data = ModuleObjective(cats, lambda: [Batch(x, torch.zeros(50))])
    >>> state, both = zip_heads(ZipIt(), [cats.state_dict(), dogs.state_dict()], data)
    >>> both.load_state_dict(state), both(x).shape, both[0].out_features
    (<All keys matched successfully>, torch.Size([50, 6]), 8)
    """
    merge.check()
    check_compatible(states, any_width=True)
    example = example_of(merge, objective)
    symmetry, outputs = _symmetry_with_outputs(objective.module, example)
    networks = networks_of(objective.module, example, symmetry, states, [outputs])
    fused = zip_networks(merge, networks, objective, [outputs])
    if not isinstance(fused, Fused):  # of one member
        return Fused(fused, objective.module)
    _check_apart(fused, networks, outputs)
    return fused


def _symmetry_with_outputs(module: nn.Module, example: Input) -> tuple[Symmetry, str]:
    """Return the symmetry of a module whose outputs are units as well, and the name of their group."""
    copy = twin(module)
    out = first_output(run(twin(module), arguments_of(example)))
    if out.dim() != 2:
        raise ValueError(
            f"The outputs of {type(module).__name__} have the shape {tuple(out.shape)}; heads stand side by side where "
            "it is (n_rows, n_classes)."
        )
    for part in copy.modules():  # constants of each output, such as scales, get units of their own as parameters
        for name, buffer in [*part.named_buffers(recurse=False)]:
            if is_summed(buffer) and buffer.dim() and not is_statistic(name):
                delattr(part, name)
                part.register_parameter(name, nn.Parameter(buffer))
    generator = torch.Generator().manual_seed(0)
    reader = torch.randn(out.shape[1] + 1, out.shape[1], generator=generator).to(out)
    copy.register_parameter(_READER, nn.Parameter(reader))
    copy.register_forward_hook(_read)
    s = symmetry_of(copy, example)
    blocks = s.axes[_READER][1]
    if len(blocks) != 1 or len(blocks[0].groups) != 1 or blocks[0].positions.shape[0] != 1:
        raise ValueError(
            f"The outputs of {type(module).__name__} are not made one by one, so heads cannot stand side by side: "
            f"{s.pinned.get((_READER, 1), 'they belong together')}."
        )
    last = max(site.index for site in s.sites)  # the contraction of the reader
    axes = {name: parts for name, parts in s.axes.items() if name != _READER}
    sites = [site for site in s.sites if site.index < last]
    roles = {name: s.roles[name] for name in axes}
    whole = Symmetry(s.groups.values(), axes, s.shapes, s.buffers, s.pinned, sites, s.notes, roles)
    return whole, blocks[0].groups[0]


def _read(module: nn.Module, _args: Any, out: Any) -> Tensor:
    return F.linear(first_output(out), getattr(module, _READER))


def _check_apart(fused: Fused, networks: Networks, outputs: str) -> None:
    """Raise ``ValueError`` where the outputs of the first member depend on the output layer of another one."""
    state, net = fused
    assert net is not None
    n = networks.sizes[0][outputs]
    other = dict(state)
    for name in networks.symmetry.axes:
        for axis, group in made_on(networks.symmetry, name):
            if group == outputs and name in state:
                changed = state[name].clone().movedim(axis, 0)
                changed[n:] = 1.5 * changed[n:] + 1
                other[name] = changed.movedim(0, axis)
    with torch.no_grad(), evaluating(net):
        before, after = (call(net, s, networks.example)[:, :n].double().cpu().numpy() for s in (state, other))
    if not np.allclose(before, after, rtol=1e-4, atol=1e-6 * np.abs(before).max()):
        raise ValueError(
            f"The outputs of {type(net).__name__} are normalised over each other, such as by a softmax, so heads "
            "cannot stand side by side: let the module return logits."
        )
