"""Simulated annealing: brute force, energies that are kept right, and which rows are looked at."""

from functools import partial
from itertools import permutations

import numpy as np
import pytest
import torch
from align.networks import PROBLEMS, perceptron
from torch import nn

from skfusion.align import Annealing, WeightMatching, rebasin
from skfusion.align.permutation._annealing import Walk
from skfusion.objective import ModuleObjective
from skfusion.state import distance, weighted_sum


def judged(loss, score=None):
    """Return an objective that judges states by functions, and refuses to give rows."""

    def refuse():
        raise AssertionError("The rows to train on are no business of this method.")

    return ModuleObjective(torch.nn.Identity(), refuse, loss, score, training=refuse)


def mean(a, b):
    return weighted_sum([a, b], [0.5, 0.5])


def squared_distance(a, b):
    return distance(a, b) ** 2


def rough_mean(a, b):
    return rough(mean(a, b))


def rough(state):
    """A loss with many minima, which has nothing to do with distances."""
    return float(sum((k + 1) * torch.sin(7 * t).sum() for k, t in enumerate(state.values())))


@pytest.mark.parametrize("energy", ["distance", "loss", "score"])
def test_best_of_all_permutations(energy):
    for seed in range(3):
        (a, symmetry), (b, _) = perceptron(2, 4, 1, seed=seed), perceptron(2, 4, 1, seed=100 + seed)
        of = partial(squared_distance, a) if energy == "distance" else partial(rough_mean, a)
        still = distance(*({"2": s["1.bias"]} for s in (a, b))) ** 2 if energy == "distance" else 0.0
        least = min(of(symmetry.permute({"h1": np.array(p)}, b)) for p in permutations(range(4)))
        found = Annealing(energy, 300, hottest=1.0)(b, a, symmetry, judged(rough, lambda s: -rough(s)))
        assert -found.history[-1] + still == pytest.approx(least)
        assert of(found.apply(b)) == pytest.approx(least)


@pytest.mark.parametrize("name", PROBLEMS)
def test_history_has_the_energies_and_the_best_never_falls(name):
    (a, symmetry), (b, _) = PROBLEMS[name](0), PROBLEMS[name](1)
    found = Annealing("loss", 100)(b, a, symmetry, judged(rough))
    start = WeightMatching()(b, a, symmetry).apply(b)
    assert found.history[0] == pytest.approx(-rough(mean(a, b)))  # of plain averaging
    assert found.history[1] == pytest.approx(-rough(mean(a, start)))
    assert found.history[-1] == pytest.approx(-rough(mean(a, found.apply(b))))
    assert (np.diff(found.history[1:]) >= 0).all()
    assert found.history[-1] > found.history[1]


@pytest.mark.parametrize("name", PROBLEMS)
def test_energy_of_a_walk_is_that_of_the_state(name):
    (a, symmetry), (b, _) = PROBLEMS[name](0), PROBLEMS[name](1)
    a, b = ({k: s[k] for k in symmetry.parameters} for s in (a, b))
    walk, rng = Walk(b, a, symmetry), np.random.default_rng(0)
    assert walk.energy == pytest.approx(distance(a, b) ** 2)
    for k in range(60):
        delta = walk.exchange(rng)
        assert all((p == symmetry.identity()[g]).all() for g, p in symmetry.compose(delta, delta).items())
        change = walk.change(delta)
        walk.keep(change) if k % 3 else walk.take_back()
        moved = symmetry.permute(walk.match.perms, b)
        assert walk.energy == pytest.approx(distance(a, moved) ** 2)
    assert walk.lowest <= walk.energy
    assert walk.lowest == pytest.approx(distance(a, symmetry.permute(walk.best, b)) ** 2)


def kept(annealing, a, b, symmetry):
    """Return the share of exchanges that are kept."""
    shares = []

    class Counted(Walk):
        def keep(self, change):
            shares.append(1)
            super().keep(change)

        def take_back(self):
            shares.append(0)
            super().take_back()

    annealing._search(Counted(b, a, symmetry))
    return np.mean(shares[-annealing.n_steps :])


def test_temperatures_of_the_authors_are_a_random_walk_and_ours_are_none():
    (a, symmetry), (b, _) = perceptron(6, 20, 20, 3, seed=0), perceptron(6, 20, 20, 3, seed=1)
    unit = distance(a, b) ** 2  # energies between 0 and 1 are changed by this much at most
    hot = Annealing(n_steps=300, hottest=25_000 * unit, coldest=2.5 * unit)
    assert kept(hot, a, b, symmetry) > 0.95
    assert kept(Annealing(n_steps=300), a, b, symmetry) < 0.6
    assert len({kept(Annealing(n_steps=300, hottest=h), a, b, symmetry) for h in (0.1, 1.0)}) == 2


@pytest.mark.parametrize("name", PROBLEMS)
def test_copies_are_brought_back_whatever_the_energy(name):
    state, symmetry = PROBLEMS[name]()
    copy = symmetry.permute(symmetry.sample(0), state)
    assert distance(Annealing("loss", 50)(copy, state, symmetry, judged(rough)).apply(copy), state) == 0


def test_networks_whose_loss_is_no_number_are_passed_by():
    (a, symmetry), (b, _) = perceptron(2, 6, 1, seed=0), perceptron(2, 6, 1, seed=1)
    draws = np.random.default_rng(0)

    def loss(state):
        return rough(state) if draws.random() < 0.5 else [np.nan, np.inf][draws.integers(2)]

    found = Annealing("loss", 200)(b, a, symmetry, judged(loss))
    assert np.isfinite(found.history[-1])
    nothing = Annealing("loss", 20)(b, a, symmetry, judged(lambda s: np.nan))
    assert nothing == WeightMatching()(b, a, symmetry)


def test_what_it_needs():
    assert not Annealing().needs_objective
    assert not Annealing().needs_labels
    for energy in ("loss", "score"):
        assert Annealing(energy).needs_objective
        assert Annealing(energy).needs_labels


def test_no_steps_and_networks_without_units():
    (a, symmetry), (b, _) = perceptron(3, 6, 2, seed=0), perceptron(3, 6, 2, seed=1)
    assert Annealing(n_steps=0)(b, a, symmetry) == WeightMatching()(b, a, symmetry)
    linear, nothing = perceptron(3, 2)
    assert len(Annealing()(linear, linear, nothing)) == 0
    (a, single), (b, _) = perceptron(3, 1, 2, seed=0), perceptron(3, 1, 2, seed=1)
    assert Annealing(n_steps=5)(b, a, single)["h1"].tolist() == [0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"energy": "accuracy"}, "energy must be one of"),
        ({"n_steps": -1}, "n_steps is at least 0"),
        ({"hottest": 1e-5}, "coldest above 0 and at most hottest"),
        ({"coldest": 0.0}, "coldest above 0 and at most hottest"),
        ({"hottest": np.inf}, "coldest above 0 and at most hottest"),
        ({"energy": "loss"}, "give an objective, or take energy='distance'"),
    ],
)
def test_bad_parameters(params, message):
    state, symmetry = perceptron(3, 4, 2)
    with pytest.raises(ValueError, match=message):
        Annealing(**params)(state, state, symmetry)


def test_worse_exchanges_are_kept_at_first_and_not_at_last(monkeypatch):
    """The temperature falls: at a high one most exchanges are kept, at a low one those alone that are better."""
    (a, symmetry), (b, _) = perceptron(3, 12, 2, seed=0), perceptron(3, 12, 2, seed=1)
    tried, kept = [], []
    change, keep = Walk.change, Walk.keep
    monkeypatch.setattr(Walk, "change", lambda walk, delta: tried.append(change(walk, delta)) or tried[-1])
    monkeypatch.setattr(Walk, "keep", lambda walk, by: kept.append((len(tried), by)) or keep(walk, by))
    Annealing(n_steps=300, hottest=100.0, coldest=1e-6)(b, a, symmetry)
    assert len(tried) == 350  # the first 50 measure the unit of the temperature
    worse = [k for k, by in kept if by > 1e-9]
    assert sum(k <= 110 for k in worse) > 20
    assert sum(k > 290 for k in worse) == 0


def test_rebasin_has_no_labels_to_judge_by_and_says_so():
    net, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(5, 3)
    a, b = ({k: v + shift for k, v in net.state_dict().items()} for shift in (0, 1))
    with pytest.raises(ValueError, match="nothing to judge them by"):
        rebasin(a, b, net, x, Annealing("loss", n_steps=5))


def test_bad_input():
    state, symmetry = perceptron(3, 4, 2)
    with pytest.raises(ValueError, match="needs to know which units may change places"):
        Annealing()(state, state)
    other = {k: v + 1 for k, v in state.items()}
    with pytest.raises(ValueError, match="give it loss="):
        Annealing("loss")(other, state, symmetry, judged(None))
