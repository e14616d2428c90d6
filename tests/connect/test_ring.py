"""Curves in a potential whose valley is the unit circle: L(w) = (|w|^2 - 1)^2, between (1, 0) and (-1, 0.001)."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from skfusion.connect import Bezier, Fourier, Line, PolyChain
from skfusion.objective import Batch, ModuleObjective

ENDS = [{"w": torch.tensor(v, dtype=torch.float64)} for v in ((1.0, 0.0), (-1.0, 1e-3))]


class Point(nn.Module):
    """Gives its two weights for any input."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, x):
        return self.w


def potential(w):
    return (w.square().sum() - 1) ** 2


RING = ModuleObjective(
    Point(),
    lambda: [Batch(torch.zeros(1), torch.zeros(1))] * 20,
    criterion=lambda out, batch: potential(out),
)


def joined(kind, n_bends, n_epochs=100):
    return kind(n_bends=n_bends, n_epochs=n_epochs, lr=0.02)(ENDS, RING)


def worst(path):
    return max(float(potential(path.at(t)["w"])) for t in np.linspace(0, 1, 101))


def test_the_line_goes_over_the_hill():
    assert worst(Line()(ENDS)) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "square"),
    # With the bend at (0, h), the loss is (u^2 (1 + h^2) - 2 u)^2 on either piece of the chain, u from 0 to 1, and
    # 16 s^2 (s h^2 - 1)^2 on the others, with s = t (1 - t), or sin^2(pi t) / 4. Its mean is least at these h^2.
    [(PolyChain, 1.5), (Bezier, 630 / 140), (Fourier, 4 * (5 / 16) / (35 / 128))],
    ids=["chain", "bezier", "fourier"],
)
def test_one_bend_goes_where_the_expected_loss_is_least(kind, square):
    x, y = joined(kind, 1).controls[1]["w"].tolist()
    assert abs(y) == pytest.approx(math.sqrt(square), rel=0.02)
    assert abs(x) < 0.05


@pytest.mark.parametrize(
    ("kind", "n_bends", "bound"),
    [
        (PolyChain, 1, 0.3),
        (PolyChain, 5, 0.05),
        (Bezier, 1, 0.1),
        (Bezier, 3, 0.02),
        (Fourier, 1, 0.1),
        (Fourier, 2, 0.02),
    ],
)
def test_curves_stay_in_the_valley(kind, n_bends, bound):
    path = joined(kind, n_bends)
    assert worst(path) < bound
    assert path.history[-1] < 0.3 * path.history[0]


@pytest.mark.parametrize(("kind", "n_bends"), [(PolyChain, 5), (Bezier, 3), (Fourier, 2)])
def test_many_bends_have_the_length_of_half_the_circle(kind, n_bends):
    assert joined(kind, n_bends).length(401) == pytest.approx(math.pi, rel=0.03)


@pytest.mark.parametrize("kind", [PolyChain, Bezier])
def test_bends_of_hulls_lie_outside_the_circle(kind):
    for n_bends in (1, 2):
        assert all(float(c["w"].norm()) > 1.05 for c in joined(kind, n_bends).controls[1:-1])
