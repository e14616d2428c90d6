"""What every symmetry must fulfil, checked apart from the library's own proof."""

import copy

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map


def in_general_position(module, seed=0):
    """A copy in float64 and eval mode whose constants, scales and statistics are moved away from where they start."""
    module = copy.deepcopy(module).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            if p.dim() < 2 or bool((p == p.flatten()[0]).all()):
                p.add_(0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._NormBase) and part.running_var is not None:
                part.running_mean.normal_(generator=generator)
                part.running_var.uniform_(0.5, 1.5, generator=generator)
    return module


def arguments(example):
    example = example if isinstance(example, tuple) else (example,)
    return tree_map(lambda t: t.double() if t.is_floating_point() else t, example)


@torch.no_grad()
def outputs(module, example, state):
    """The outputs of a fresh copy with some tensors replaced."""
    twin = copy.deepcopy(module)
    twin.load_state_dict(state)
    torch.manual_seed(0)
    return [t for t in tree_leaves(twin(*arguments(example))) if isinstance(t, torch.Tensor)]


def difference(before, after):
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(before, after, strict=True))


def error(symmetry, module, example, seed=0):
    """How far the outputs move under a random element."""
    state = {k: v.clone() for k, v in module.state_dict().items()}
    permuted = symmetry.permute(symmetry.sample(seed), state)
    return difference(outputs(module, example, state), outputs(module, example, permuted))


def blunders(symmetry, module, example):
    """For each tensor that moves, how far the outputs move if it alone is left as it was."""
    state = {k: v.clone() for k, v in module.state_dict().items()}
    before = outputs(module, example, state)
    permuted = symmetry.permute({g: np.roll(p, 1, -1) for g, p in symmetry.identity().items()}, state)
    found = {}
    for name in symmetry.parameters:
        ids = {id(symmetry.axes[name])}
        tied = [n for n, axes in symmetry.axes.items() if id(axes) in ids]
        if not torch.equal(permuted[name], state[name]):
            found[name] = difference(before, outputs(module, example, permuted | {n: state[n] for n in tied}))
    return found


def sizes(symmetry):
    """Sizes of groups, those that are indexed by others apart."""
    free = sorted(g.size for g in symmetry.groups.values() if not g.context)
    return free, sorted(g.size for g in symmetry.groups.values() if g.context)
