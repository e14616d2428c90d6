"""Assignments by a sample of the weights are those by all of them, or none."""

import numpy as np
import pytest
import torch
from align.networks import PROBLEMS, noisy, objective

from skfusion._coupling import assigned
from skfusion.align import WeightMatching
from skfusion.align.permutation import _match, _nearest
from skfusion.align.permutation._match import Match
from skfusion.align.permutation._nearest import nearest_assignment
from skfusion.symmetry import Block, Group, Symmetry


def found_for(a, b, calls=None):
    """Return what is found for two sets of rows, sampled at regular steps and read in two parts."""

    def every():
        if calls is not None:
            calls.append(None)
        return iter([(a[:, :100], b[:, :100]), (a[:, 100:], b[:, 100:])])

    return nearest_assignment(lambda share: (a[:, :: int(1 / share)], b[:, :: int(1 / share)]), every, a.shape[1])


def copies(n, d, noise, seed, dtype=torch.float32):
    """Return rows, and a noisy copy of them in another order."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(n, d, generator=generator, dtype=dtype)
    order = torch.randperm(n, generator=generator)
    return a, (a + noise * torch.randn(n, d, generator=generator, dtype=dtype))[order]


@pytest.mark.parametrize("noise", [0.0, 1e-3, 0.05, 0.2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noisy_copies_are_assigned_as_by_all_similarities(noise, dtype):
    for seed in range(5):
        a, b = copies(200, 1000, noise, seed, dtype)
        calls = []
        best = found_for(a, b, calls)
        assert len(calls) == 1
        np.testing.assert_array_equal(best, assigned((a @ b.T).numpy()))


def test_what_is_found_is_never_worse():
    decided = 0
    for seed in range(60):
        a, b = copies(130, 400, 0.02 * seed, seed, torch.float64)
        best = found_for(a, b)
        if best is not None:
            decided += 1
            np.testing.assert_array_equal(best, assigned((a @ b.T).numpy()))
    assert 5 <= decided < 60


def test_units_of_other_networks_are_left_to_all_similarities():
    a, _ = copies(200, 1000, 0, 0)
    b, _ = copies(200, 1000, 0, 1)
    calls = []
    assert found_for(a, b, calls) is None
    assert not calls  # the sample shows it
    assert found_for(torch.zeros(200, 1000), torch.zeros(200, 1000)) is None


def test_a_few_units_that_are_alike_or_far_away_are_solved_apart():
    a, b = copies(200, 1000, 0.01, 0, torch.float64)
    sources = (a @ b.T).argmax(1)
    a[[3, 17, 40]], b[sources[[3, 17, 40]]] = 0.0, 0.0  # dead units
    a[90] = a[91]
    b[sources[90]] = b[sources[91]]
    b[sources[120]] += 0.8 * torch.randn(1000, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    best = found_for(a, b)
    assert best is not None
    assert (np.sort(best) == np.arange(200)).all()
    rows = np.arange(200)
    worth = (a @ b.T).numpy()
    assert worth[rows, best].sum() == pytest.approx(worth[rows, assigned(worth)].sum(), rel=1e-12)


def test_numbers_too_large_to_be_multiplied_are_left_to_all_similarities():
    for value in (1e30, float("nan"), float("inf")):
        for changed in (0, 1):
            pair = copies(200, 1000, 0.01, 0)
            assert found_for(*pair) is not None
            pair[changed][7, 5] = value  # which the sample does not see
            assert found_for(*pair) is None


def test_a_unit_that_is_wanted_twice_is_no_solution():
    a, b = copies(200, 1000, 0.0, 0)
    a[5] = a[6] + 1e-3 * a[7]
    a[8:60] = a[6] + 1e-3 * a[8:60]
    assert found_for(a, b) is None


def test_nothing_moves_for_what_rounding_may_be():
    a, _ = copies(200, 1000, 0.0, 0, torch.float64)
    a[1] = a[0]
    a[1, 500] += 1e-9  # beside the sample
    b = a.clone()
    b[[0, 1]] = a[[1, 0]]
    np.testing.assert_array_equal(found_for(a, b), np.arange(200))


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_networks_are_matched_as_by_all_similarities(monkeypatch, name, noise):
    for seed in range(3):
        state, symmetry = PROBLEMS[name](seed)
        other = symmetry.permute(symmetry.sample(seed), noisy(state, noise))
        monkeypatch.setattr(_match, "_FEW", 1000)
        by_all = WeightMatching()(other, state, symmetry)
        monkeypatch.setattr(_match, "_FEW", 1)
        by_sample = WeightMatching()(other, state, symmetry)
        assert all((by_all[g] == by_sample[g]).all() for g in by_all)
        assert by_sample.history[-1] == pytest.approx(objective(symmetry, state, by_sample.apply(other)))


@pytest.mark.parametrize("name", PROBLEMS)
def test_other_networks_are_matched_as_by_all_similarities(monkeypatch, name):
    (a, symmetry), (b, _) = PROBLEMS[name](0), PROBLEMS[name](1)
    by_all = WeightMatching()(b, a, symmetry)
    monkeypatch.setattr(_match, "_FEW", 1)
    by_sample = WeightMatching()(b, a, symmetry)
    assert by_sample.history[-1] == pytest.approx(by_all.history[-1])


def test_copies_need_no_similarities_of_all_pairs(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("similarities of all pairs")

    generator = torch.Generator().manual_seed(0)
    heads, inner, n = 4, 40, 160
    shapes = {"in": (n, 30), "qk": (n, n), "v": (n, n), "o": (n, n), "up": (300, n), "down": (n, 300), "out": (20, n)}
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    axes = {"in": ("stream", None), "out": (None, "stream"), "up": ("hidden", "stream"), "down": ("stream", "hidden")}
    symmetry = with_heads(axes, state, heads, inner)
    other = symmetry.permute(symmetry.sample(0), state)
    monkeypatch.setattr(Match, "worth", refuse)
    alignment = WeightMatching()(other, state, symmetry)
    assert all(torch.equal(t, state[name]) for name, t in alignment.apply(other).items())


def with_heads(axes, state, heads, inner):
    """Return a symmetry with attention heads beside groups on whole axes."""
    stream = (Block(("stream",), np.arange(heads * inner)[None]),)

    def within(group):
        return (Block(("heads", group), np.arange(heads * inner).reshape(1, heads, inner)),)

    plain = Symmetry.of_axes(axes, {name: state[name] for name in axes})
    groups = [
        *plain.groups.values(),
        Group("heads", heads),
        Group("qk", inner, ("heads",)),
        Group("v", inner, ("heads",)),
    ]
    own = {"qk": (within("qk"), stream), "v": (within("v"), stream), "o": (stream, within("v"))}
    return Symmetry(groups, {**plain.axes, **own}, {name: tuple(t.shape) for name, t in state.items()})


def test_bounds_hold_for_all_distances():
    a, b = copies(150, 64, 0.5, 3)
    best, least, bound = _nearest._nearest(a, b)
    exact = torch.cdist(a.double(), b.double()).square()
    assert (best == exact.argmin(1)).all()
    torch.testing.assert_close(least.double(), exact.amin(1), rtol=1e-3, atol=1e-3)
    others = exact.scatter(1, best[:, None], torch.inf).amin(1)
    assert (bound <= others).all()
    torch.testing.assert_close(bound.double(), others, rtol=1e-3, atol=1e-2)
