"""Uniform and weighted soups."""

import pytest
import torch
from reference.weighted_mean import weighted_sum as reference_sum
from torch import nn

from skfusion.merge import Uniform


def modules(n=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return [nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2)) for _ in range(n)]


def states(n=3):
    return [m.state_dict() for m in modules(n)]


@pytest.mark.parametrize("weights", [None, [1, 1, 2], [0.0, 3.0, 1.0]])
def test_it_is_the_weighted_mean_by_loops(weights):
    shares = [1 / 3] * 3 if weights is None else [w / sum(weights) for w in weights]
    expected = reference_sum(states(), shares)
    found = Uniform(weights)(states())
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=1e-7)


def test_coefficients_are_normalised():
    assert Uniform().coefficients(states()) == [1 / 3] * 3
    assert Uniform([2, 1, 1]).coefficients(states()) == [0.5, 0.25, 0.25]
    assert Uniform([1e300, 1e300]).coefficients(states(2)) == [0.5, 0.5]


def test_one_hot_weights_give_the_member():
    for k, state in enumerate(states()):
        found = Uniform([float(i == k) for i in range(3)])(states())
        assert all(torch.equal(found[key], state[key]) for key in state)


def test_a_soup_of_linear_models_predicts_the_mean_of_their_predictions():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        linear = [nn.Linear(5, 3).double() for _ in range(4)]
        x = torch.randn(20, 5, dtype=torch.float64)
    weights = [1.0, 2.0, 3.0, 4.0]
    soup = nn.Linear(5, 3).double()
    soup.load_state_dict(Uniform(weights)([m.state_dict() for m in linear]))
    expected = sum(w / 10 * m(x) for w, m in zip(weights, linear, strict=True))
    torch.testing.assert_close(soup(x), expected, rtol=0, atol=1e-13)


def test_a_convex_loss_of_the_mean_is_at_most_the_mean_loss():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        x, y = torch.randn(30, 5), torch.randn(30)
        weights = [torch.randn(5) for _ in range(6)]
    losses = [((x @ w - y) ** 2).mean() for w in weights]
    mean = Uniform()([{"w": w} for w in weights])["w"]
    assert ((x @ mean - y) ** 2).mean() < sum(losses) / 6


def test_tied_layers_stay_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(3, 3, bias=False)
            self.two = nn.Linear(3, 3, bias=False)
            self.two.weight = self.one.weight

    found = Uniform()([Tied().state_dict() for _ in range(2)])
    assert found["one.weight"] is found["two.weight"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], "2 weights for 3 members"),
        ([1, -1, 1], "non-negative"),
        ([0, 0, 0], "not all zero"),
        ([1, float("nan"), 1], "finite"),
        ([1, float("inf"), 1], "finite"),
    ],
)
def test_wrong_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        Uniform(weights)(states())


def test_no_members_are_refused():
    with pytest.raises(ValueError, match="at least one member"):
        Uniform()([])
