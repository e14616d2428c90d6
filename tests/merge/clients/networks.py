"""Networks whose units are planted in other orders, for tests of what matches them."""

from itertools import pairwise

import torch
from torch import nn

from skfusion.objective import Batch, ModuleObjective, call
from skfusion.state import Fused
from skfusion.tracing import symmetry_of


def perceptron(*widths, seed=0, norm=False):
    """Return a perceptron in double precision, with weights from a normal distribution."""
    layers = []
    for n, m in pairwise(widths):
        layers += [nn.Linear(n, m), *([nn.BatchNorm1d(m)] if norm else []), nn.ReLU()]
    layers = layers[: -2 if norm else -1]
    return drawn(nn.Sequential(*layers), seed)


def convolutional(seed=0, channels=(4, 5), last=6):
    """Return two convolutions with BatchNorm and a perceptron on their flattened channels, for 1 x 10 x 10 images."""
    a, b = channels
    return drawn(
        nn.Sequential(
            nn.Conv2d(1, a, 3), nn.BatchNorm2d(a), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(a, b, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * b, last), nn.ReLU(), nn.Linear(last, 3),
        ),
        seed,
    )  # fmt: skip


def drawn(net, seed):
    """Return a network with weights from a normal distribution."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return net.double().eval()


def state_of(net):
    """Return a copy of the state of a network."""
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


def turned(net, x, seed=1):
    """Return the state of a network with its units in another order."""
    symmetry = symmetry_of(net, x)
    return symmetry.permute(symmetry.sample(seed), state_of(net))


def of(net, x):
    """Return an objective with a module and inputs alone."""
    return ModuleObjective(net, lambda: [Batch(x, torch.zeros(len(x)))])


def output(fused, net, x):
    """Return what a fused network, of its own module if it has one, computes."""
    state, module = fused if isinstance(fused, Fused) else (fused, None)
    return call(net if module is None else module.eval(), state, x)


def widths(fused):
    """Return the number of rows of each weight."""
    state = fused.state if isinstance(fused, Fused) else fused
    return [len(t) for name, t in state.items() if name.endswith("weight") and t.dim() > 1]
