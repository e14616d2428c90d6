"""The networks of a subspace that are used: their numbers are those of the very states that are returned."""

import pytest
import torch
from landscape.points import judged, perceptron, rows, states_of
from torch import nn

from skfusion.connect import Complex, SimplicialComplex
from skfusion.landscape import best_point, loss_at


def normalised():
    return perceptron(nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.BatchNorm1d(8))


def test_the_best_point_has_the_loss_and_the_score_of_its_state():
    """Points are compared after one pass of recalibration, and of two layers the state has statistics by two."""
    data = judged(normalised().double(), rows(dtype=torch.float64), many=False)
    corners = [{k: v.double() if v.is_floating_point() else v for k, v in s.items()} for s in states_of(normalised, 3)]
    subspace = SimplicialComplex(corners, Complex([(0, 1, 2)]))
    found = best_point(subspace, data, n_points=2)
    assert found.loss == pytest.approx(data.loss(found.state), abs=1e-9)
    assert found.score == data.score(found.state)
    assert found.loss != pytest.approx(loss_at(subspace, [found.place], data).loss[0], abs=1e-6)
