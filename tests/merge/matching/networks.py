"""Small networks of several widths for mergers that match units."""

import copy
from itertools import pairwise

import torch
from torch import nn

from skfusion.objective import Batch, ModuleObjective
from skfusion.state import Fused

ROWS = torch.randn(60, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def perceptron(*hidden, n_out=2, seed=0, activation=nn.Tanh):
    """Return a perceptron in double precision, and in evaluation mode, with random weights of some seed."""
    parts = [[nn.Linear(i, o), activation()] for i, o in pairwise([3, *hidden, n_out])]
    net = nn.Sequential(*[m for part in parts for m in part][:-1]).double()
    return drawn(net, seed)


def drawn(net, seed):
    generator = torch.Generator().manual_seed(seed)
    for t in net.state_dict().values():
        if t.is_floating_point():
            t.copy_(torch.randn(t.shape, generator=generator, dtype=torch.float64) * 0.7)
    for name, t in net.state_dict().items():
        if name.endswith("running_var"):
            t.abs_().add_(0.5)
    return net.eval()


def data_for(net, rows=ROWS, **more):
    """Return an objective with rows and a dict of what is reported."""
    reported = {}
    halves = [Batch(part, torch.zeros(len(part))) for part in rows.split(len(rows) // 2 + 1)]
    return ModuleObjective(net, lambda: halves, report=reported.__setitem__, **more), reported


def network(result, net):
    """Return what a merger has returned as a module with its weights; ``net`` is that of the members."""
    state, module = result if isinstance(result, Fused) else (result, None)
    merged = copy.deepcopy(net if module is None else module)
    merged.load_state_dict(state)
    return merged.eval()


def outputs(net, x=ROWS):
    with torch.no_grad():
        return net(x)


def reordered(net, seed):
    """Return a copy of a network with its hidden units in another order, and that order of the first layer."""
    from skfusion.tracing import symmetry_of

    symmetry = symmetry_of(net, ROWS)
    perms = symmetry.sample(seed)
    moved = copy.deepcopy(net)
    moved.load_state_dict(symmetry.permute(perms, net.state_dict()))
    return moved
