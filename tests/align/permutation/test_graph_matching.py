"""Graph matching: the affinity of all pairs of edges restated in full, brute force, and planted permutations."""

from itertools import permutations

import numpy as np
import pytest
import torch
from align.networks import PROBLEMS, noisy, perceptron
from torch.utils._python_dispatch import TorchDispatchMode

from skfusion.align import GraphMatching, WeightMatching
from skfusion.align.permutation._graph_matching import featured, features, points_near, sinkhorn, with_features
from skfusion.align.permutation._soft import places, slope
from skfusion.state import distance


def kernel(x, y, squares, bandwidth):
    return np.exp(-((x - y) ** 2) / (bandwidth * squares))


def affinities(a, b, bandwidth=1.0):
    """Return the affinity of each edge of a network with each one of another, by tensor, of shape (*shape, *shape)."""
    out = {}
    for n in a:
        x, y = a[n].numpy(), b[n].numpy()
        squares = (np.mean(x**2) + np.mean(y**2)) / 2
        out[n] = kernel(x.reshape(*x.shape, *[1] * y.ndim), y, squares, bandwidth)
    return out


def agreement(symmetry, a, b, bandwidth=1.0):
    """Return the sum of the kernel over all edges, as a share of them."""
    names = symmetry.parameters
    total = 0.0
    for n in names:
        x, y = a[n].numpy(), b[n].numpy()
        total += kernel(x, y, (np.mean(x**2) + np.mean(y**2)) / 2, bandwidth).sum()
    return total / sum(a[n].numel() for n in names)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (-4.0, 4.0), (0.0, 0.0), (-0.1, 30.0)])
def test_products_of_features_are_the_kernel(low, high):
    x = torch.rand(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * (high - low) + low
    lifted = features(points_near(x))(x)
    expected = torch.exp(-(x[:, None] - x).square())
    torch.testing.assert_close(lifted @ lifted.T, expected, rtol=0, atol=2e-4)
    assert lifted.shape[1] <= 3 + 2 * (high - low)


def test_numbers_that_lie_far_from_all_others_cost_few_points_and_are_as_different_as_they_are():
    x = torch.randn(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.cat([x, x.new_tensor([-5e4, 2e3, 2e3 + 0.5])])
    lifted = features(points_near(x))(x)
    torch.testing.assert_close(lifted @ lifted.T, torch.exp(-(x[:, None] - x).square()), rtol=0, atol=2e-4)
    assert lifted.shape[1] <= 50  # a grid up to them would have 170 000 points


def test_slope_is_the_contraction_of_the_affinity_of_all_pairs():
    (a, symmetry), (b, _) = perceptron(3, 4, 5, 2, seed=0), perceptron(3, 4, 5, 2, seed=1)
    rng = np.random.default_rng(0)
    soft = {g: rng.random((group.size, group.size)) for g, group in symmetry.groups.items()}
    of = affinities(a, b)
    first = np.einsum("iaja->ij", of["0.weight"]) + of["0.bias"]
    first += np.einsum("aibj,ab->ij", of["1.weight"], soft["h2"])
    second = np.einsum("iajb,ab->ij", of["1.weight"], soft["h1"]) + of["1.bias"]
    second += np.einsum("aiaj->ij", of["2.weight"])
    lifted = featured(a, b, symmetry, 1.0)
    edges = with_features(symmetry, lifted[0])
    maps = {g: torch.from_numpy(p) for g, p in soft.items()}
    for g, expected in (("h1", first), ("h2", second)):
        found = slope(edges, places(edges, lifted[0])[g], g, maps, lifted[1], lifted[0])
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("bandwidth", [0.1, 1.0])
def test_one_layer_is_the_best_of_all_permutations(bandwidth):
    for seed in range(5):
        (a, symmetry), (b, _) = perceptron(3, 5, 2, seed=seed), perceptron(3, 5, 2, seed=100 + seed)
        every = [symmetry.permute({"h1": np.array(p)}, b) for p in permutations(range(5))]
        best = max(agreement(symmetry, a, moved, bandwidth) for moved in every)
        found = GraphMatching(bandwidth)(b, a, symmetry)
        assert found.history[-1] == pytest.approx(best, abs=1e-4)
        assert agreement(symmetry, a, found.apply(b), bandwidth) == pytest.approx(best, abs=1e-4)


def test_history_is_the_agreement_of_the_edges():
    (a, symmetry), (b, _) = perceptron(3, 9, 8, 7, 2, seed=0), perceptron(3, 9, 8, 7, 2, seed=1)
    found = GraphMatching()(b, a, symmetry)
    assert found.history[0] == pytest.approx(agreement(symmetry, a, b), abs=1e-4)
    assert found.history[-1] == pytest.approx(agreement(symmetry, a, found.apply(b)), abs=1e-4)
    assert found.history[-1] >= max(found.history[:-1])


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("name", PROBLEMS)
def test_planted_element_is_recovered(name, noise):
    for seed in range(2):
        state, symmetry = PROBLEMS[name](seed)
        planted = symmetry.sample(seed)
        found = GraphMatching()(symmetry.permute(planted, noisy(state, noise)), state, symmetry)
        for group, p in symmetry.invert(planted).items():
            np.testing.assert_array_equal(found[group], p)
        assert found.history[-1] <= 1 + 1e-4
        assert noise or found.history[-1] == pytest.approx(1, abs=1e-4)


def test_graduated_assignment_finds_a_planted_permutation_without_a_start():
    for seed in range(5):
        state, symmetry = perceptron(4, 12, 10, 12, 3, seed=seed)
        planted = symmetry.sample(seed)
        a, b = featured(state, symmetry.permute(planted, noisy(state, 0.05)), symmetry, 1.0)
        found = GraphMatching()._graduated(a, b, with_features(symmetry, a), symmetry.identity())
        for group, p in symmetry.invert(planted).items():
            np.testing.assert_array_equal(found[group], p)


def test_weights_that_differ_much_do_not_matter():
    generator = torch.Generator().manual_seed(0)
    state, symmetry = perceptron(8, 30, 2)
    planted = symmetry.sample(0)
    wild = {k: v.clone() for k, v in symmetry.permute(planted, state).items()}
    wild["0.weight"][:, 0] = 10 * torch.randn(30, generator=generator, dtype=torch.float64)
    found, expected = GraphMatching(0.05)(wild, state, symmetry)["h1"], symmetry.invert(planted)["h1"]
    by_distance = WeightMatching()(wild, state, symmetry)["h1"]
    assert (found == expected).mean() > (by_distance == expected).mean()


def test_wide_kernels_match_by_distance():
    (a, symmetry), (b, _) = perceptron(6, 12, 3, seed=0), perceptron(6, 12, 3, seed=1)
    scale = {k: float((a[k].square().mean() + b[k].square().mean()) / 2) ** 0.5 for k in a}
    even = [{k: v / scale[k] for k, v in s.items()} for s in (b, a)]
    expected = WeightMatching()(*even, symmetry)["h1"]
    assert (GraphMatching(100.0)(b, a, symmetry)["h1"] == expected).all()


@pytest.mark.parametrize("heat", [1.0, 0.02])
def test_sums_of_rows_and_columns_are_one(heat):
    logits = torch.randn(20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / heat
    soft = sinkhorn(logits, 2000 if heat < 1 else 100)
    torch.testing.assert_close(soft.sum(1), torch.ones(20, dtype=torch.float64))
    torch.testing.assert_close(soft.sum(0), torch.ones(20, dtype=torch.float64), rtol=0, atol=1e-3)
    assert torch.isfinite(sinkhorn(1e6 * logits, 20)).all()


class Largest(TorchDispatchMode):
    """Keeps the number of elements of the largest tensor that is made."""

    def __init__(self):
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(t, torch.Tensor):
                self.n = max(self.n, t.numel())
        return out


def test_affinity_of_all_pairs_is_never_made():
    (a, symmetry), (b, _) = perceptron(3, 40, 40, 2, seed=0), perceptron(3, 40, 40, 2, seed=1)
    with Largest() as largest:
        GraphMatching()(b, a, symmetry)
    assert largest.n <= 40**2 * 40  # of 40 ** 4


def test_networks_without_units_or_with_weights_that_are_all_zero():
    linear, nothing = perceptron(3, 2)
    assert len(GraphMatching()(linear, linear, nothing)) == 0
    state, symmetry = perceptron(3, 4, 2)
    empty = {k: torch.zeros_like(v) for k, v in state.items()}
    assert (GraphMatching()(empty, empty, symmetry)["h1"] == np.arange(4)).all()
    assert distance(GraphMatching()(empty, state, symmetry).apply(empty), empty) == 0


@pytest.mark.parametrize("params", [{"bandwidth": 0.0}, {"bandwidth": np.inf}, {"temperature": -1.0}])
def test_bad_parameters(params):
    state, symmetry = perceptron(3, 4, 2)
    with pytest.raises(ValueError, match="bandwidth and temperature must be finite and above 0"):
        GraphMatching(**params)(state, state, symmetry)


def test_a_kernel_too_narrow_to_have_features_is_refused_by_the_name_of_the_tensor():
    (a, symmetry), (b, _) = perceptron(3, 20, 2), perceptron(3, 20, 2, seed=1)
    with pytest.raises(ValueError, match=r"bandwidth=1e-08 is too small for the weights of '0.weight'"):
        GraphMatching(1e-8)(b, a, symmetry)


def test_bad_input():
    state, symmetry = perceptron(3, 4, 2)
    with pytest.raises(ValueError, match="needs to know which units may change places"):
        GraphMatching()(state, state)
    with pytest.raises(ValueError, match="Tensor '0.bias' of member 0 is missing in member 1"):
        GraphMatching()({k: v for k, v in state.items() if k != "0.bias"}, state, symmetry)
