"""Losses of two weights: a ring, the potential of Müller and Brown, and a bowl; and states of two weights."""

import math

import torch
from torch import nn

from skfusion.objective import Batch, ModuleObjective


class Point(nn.Module):
    """Gives its two weights for any input."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, x):
        return self.w


def point(x, y):
    return {"w": torch.tensor([x, y], dtype=torch.float64)}


def on_circle(degrees, shift=0.0):
    angle = math.radians(degrees)
    return point(math.cos(angle), math.sin(angle) + shift)


def ring(w):
    return (w.square().sum() - 1) ** 2


def bowl(w):
    return (w - torch.tensor([0.5, 0.2], dtype=torch.float64)).square().sum()


_HEIGHT, _XX, _XY, _YY, _X, _Y = (
    torch.tensor(row, dtype=torch.float64)
    for row in (
        (-200, -100, -170, 15),
        (-1, -1, -6.5, 0.7),
        (0, 0, 11, 0.6),
        (-10, -10, -6.5, 0.7),
        (1, 0, -0.5, -1),
        (0, 0.5, 1.5, 1),
    )
)


def muller_brown(w):
    x, y = w[0] - _X, w[1] - _Y
    return (_HEIGHT * torch.exp(_XX * x * x + _XY * x * y + _YY * y * y)).sum()


MULLER_BROWN_MINIMA = [point(-0.558224, 1.441726), point(0.623499, 0.028038)]


def objective(potential, n_batches=5):
    """An objective whose loss, and criterion on any batch, is the potential at the weights."""
    rows = [Batch(torch.zeros(1), torch.zeros(1))] * n_batches
    return ModuleObjective(
        Point(), lambda: rows, lambda s: float(potential(s["w"])), criterion=lambda out, batch: potential(out)
    )
