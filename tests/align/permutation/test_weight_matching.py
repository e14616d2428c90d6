"""Weight matching: planted elements, brute force, and an objective that never falls."""

from itertools import pairwise, permutations, product

import numpy as np
import pytest
import torch
from align.networks import ATTENTION, PROBLEMS, noisy, objective, perceptron

from skfusion.align import MergeMany, WeightMatching
from skfusion.align.permutation._match import Match
from skfusion.align.permutation._weight_matching import _distances
from skfusion.state import distance, weighted_sum
from skfusion.symmetry import Symmetry


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("name", PROBLEMS)
def test_planted_element_is_recovered(name, noise):
    for seed in range(10):
        state, symmetry = PROBLEMS[name](seed)
        planted = symmetry.sample(seed)
        found = WeightMatching()(symmetry.permute(planted, noisy(state, noise)), state, symmetry)
        for group, p in symmetry.invert(planted).items():
            np.testing.assert_array_equal(found[group], p)


@pytest.mark.parametrize("name", PROBLEMS)
def test_objective_never_falls_and_is_that_of_the_permutations(name):
    (a, symmetry), (b, _) = PROBLEMS[name](0), PROBLEMS[name](1)
    found = WeightMatching()(b, a, symmetry)
    assert found.history[0] == pytest.approx(objective(symmetry, a, b))
    assert found.history[-1] == pytest.approx(objective(symmetry, a, found.apply(b)))
    assert all(y >= x for x, y in zip(found.history[1:], found.history[2:], strict=False))
    assert distance(a, found.apply(b)) < distance(a, b)


def test_one_layer_is_the_best_of_all_permutations():
    for seed in range(10):
        (a, symmetry), (b, _) = perceptron(3, 5, 2, seed=seed), perceptron(3, 5, 2, seed=100 + seed)
        best = max(objective(symmetry, a, symmetry.permute({"h1": np.array(p)}, b)) for p in permutations(range(5)))
        assert WeightMatching()(b, a, symmetry).history[-1] == pytest.approx(best)


@pytest.mark.parametrize("name", ["perceptron", "rows", "axes"])
def test_no_group_can_be_moved_for_the_better(name):
    make = PROBLEMS.get(name, lambda seed: perceptron(3, 4, 5, 2, seed=seed))
    for seed in range(5):
        (a, symmetry), (b, _) = make(seed), make(100 + seed)
        best = WeightMatching()(b, a, symmetry)
        moved, reached = best.apply(b), best.history[-1]
        for group in symmetry.groups.values():
            if group.context:
                each = [np.stack(p) for p in product([*permutations(range(group.size))], repeat=ATTENTION["heads"])]
                each = [each[i] for i in np.random.default_rng(0).permutation(len(each))[:200]]
            else:
                each = [np.array(p) for p in permutations(range(group.size))]
            for p in each:
                assert objective(symmetry, a, symmetry.permute({group.name: p}, moved)) <= reached + 1e-9


def test_brute_force_of_two_layers_by_restarts():
    for seed in range(3):
        (a, symmetry), (b, _) = perceptron(2, 3, 4, 1, seed=seed), perceptron(2, 3, 4, 1, seed=50 + seed)
        every = product(permutations(range(3)), permutations(range(4)))
        best = max(
            objective(symmetry, a, symmetry.permute({"h1": np.array(p), "h2": np.array(q)}, b)) for p, q in every
        )
        found = WeightMatching(n_restarts=20)(b, a, symmetry)
        assert found.history[-1] == pytest.approx(best)
        assert found.history[-1] >= WeightMatching()(b, a, symmetry).history[-1] - 1e-12


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_state_is_in_its_own_frame(name):
    state, symmetry = PROBLEMS[name]()
    found = WeightMatching()(state, state, symmetry)
    assert all((p == symmetry.identity()[g]).all() for g, p in found.items())


def test_dead_units_and_twins_stay_where_they_are():
    state, symmetry = perceptron(3, 12, 2)
    for i, j in ((4, 1), (5, 1)):
        state["0.weight"][i], state["0.bias"][i], state["1.weight"][:, i] = (
            state["0.weight"][j],
            state["0.bias"][j],
            state["1.weight"][:, j],
        )
    for i in (7, 8, 9):
        state["0.weight"][i], state["0.bias"][i], state["1.weight"][:, i] = 0, 0, 0
    found = WeightMatching()(state, state, symmetry)
    assert (found["h1"] == np.arange(12)).all()
    planted = symmetry.permute(symmetry.sample(0), state)
    one, two = (WeightMatching()(planted, state, symmetry) for _ in range(2))
    assert (one["h1"] == two["h1"]).all()
    assert distance(one.apply(planted), state) == 0


def test_scaled_counts_tensors_by_their_directions():
    (a, symmetry), (b, _) = perceptron(3, 6, 2, seed=0), perceptron(3, 6, 2, seed=1)
    loud = {**a, "0.weight": 1e3 * a["0.weight"]}
    plain, scaled = WeightMatching()(b, loud, symmetry), WeightMatching(scaled=True)(b, loud, symmetry)
    expected = WeightMatching(scaled=True)(b, a, symmetry)
    assert (scaled["h1"] == expected["h1"]).all()
    assert (plain["h1"] != scaled["h1"]).any()
    assert scaled.history[-1] <= 3  # a cosine a tensor that moves


def test_single_precision_and_float32_against_float64():
    state, symmetry = perceptron(3, 30, 20, 2, dtype=torch.float32)
    planted = symmetry.sample(0)
    moved = {k: v.double() for k, v in symmetry.permute(planted, state).items()}
    found = WeightMatching()(moved, state, symmetry)
    assert all((found[g] == p).all() for g, p in symmetry.invert(planted).items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    state, symmetry = perceptron(3, 30, 20, 2)
    state = {k: v.to(dtype) for k, v in state.items()}
    planted = symmetry.sample(0)
    moved = symmetry.permute(planted, state)
    found = WeightMatching()(moved, state, symmetry)
    assert all((found[g] == p).all() for g, p in symmetry.invert(planted).items())
    assert found.apply(moved)["0.weight"].dtype == dtype


def test_pieces_give_the_same(monkeypatch):
    for name in PROBLEMS:
        (a, symmetry), (b, _) = PROBLEMS[name](0), PROBLEMS[name](1)
        whole = WeightMatching()(b, a, symmetry)
        monkeypatch.setattr("skfusion.align.permutation._rows._PIECE", 7)
        cut = WeightMatching()(b, a, symmetry)
        monkeypatch.undo()
        assert all((whole[g] == cut[g]).all() for g in whole)
        assert whole.history[-1] == pytest.approx(cut.history[-1])


def test_a_match_is_never_worse_than_the_start():
    for seed in range(60):
        a, symmetry = perceptron(6, 16, 16, 16, 3, seed=seed)
        b = noisy(a, 0.5 + 0.02 * seed, seed)
        found = WeightMatching()(b, a, symmetry)
        assert found.history[-1] >= found.history[0] - 1e-9
        assert distance(found.apply(b), a) <= distance(a, b) * (1 + 1e-9)
        other = noisy(a, 1.0, 7)
        states = [a, b, other]
        moved = [a.apply(s) for a, s in zip(MergeMany().align_all(states, symmetry), states, strict=True)]
        assert spread(moved) <= spread(states) * (1 + 1e-9)


def test_networks_of_several_dtypes():
    state, symmetry = perceptron(3, 30, 20, 2, dtype=torch.float32)
    state["1.weight"] = state["1.weight"].bfloat16()
    state["0.weight"] = torch.complex(state["0.weight"], state["0.weight"] + 1)
    planted = symmetry.sample(0)
    moved = symmetry.permute(planted, state)
    found = WeightMatching()(moved, state, symmetry)
    assert all((found[g] == p).all() for g, p in symmetry.invert(planted).items())
    many = MergeMany().align_all([state, moved, moved], symmetry)
    assert all((many[1][g] == p).all() for g, p in symmetry.invert(planted).items())


def unanchored(*shape, seed=0):
    """Return states of tensors whose axes are all units, so that no place is known at first, and their symmetry."""
    generator = torch.Generator().manual_seed(seed)
    state = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name in ("first", "second")}
    return state, Symmetry.of_axes({"first": ("rows", "columns"), "second": ("rows", "columns")}, state)


def test_without_a_known_place_units_are_known_by_their_sorted_weights():
    for seed in range(5):
        state, symmetry = unanchored(9, 7, seed=seed)
        planted = symmetry.sample(seed)
        found = WeightMatching()(symmetry.permute(planted, noisy(state, 1e-3)), state, symmetry)
        for group, p in symmetry.invert(planted).items():
            np.testing.assert_array_equal(found[group], p)


@pytest.mark.parametrize("scaled", [False, True])
def test_distances_of_sorted_weights(scaled):
    (a, symmetry), (b, _) = unanchored(6, 4, seed=0), unanchored(6, 4, seed=1)
    b["second"] = 10 * b["second"]
    expected = np.zeros((6, 6))
    for name in a:
        one, other = (np.sort(x[name].numpy(), 1) for x in (a, b))
        share = 1 / (np.linalg.norm(one) * np.linalg.norm(other)) if scaled else 1
        expected += share * ((one[:, None] - other[None]) ** 2).sum(2)
    np.testing.assert_allclose(_distances(Match(b, a, symmetry, scaled), "rows"), expected)


def tied(a, b, scale):
    """Return a match of two matrices whose rows and columns are the same units."""
    a, b = ({"w": scale * torch.as_tensor(x, dtype=torch.float64)} for x in (a, b))
    return Match(b, a, Symmetry.of_axes({"w": ("units", "units")}, a))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("sign", [1, -1])
def test_units_that_stand_twice_move_only_where_that_raises_the_objective(scale, sign):
    order, plain = np.array([1, 0, 2]), np.ones((3, 3))
    one = plain + np.diag([0.01, 0, 0])
    two = one[order][:, order]
    near, far = (one, two) if sign > 0 else (two, one)
    nothing = [(plain, plain), (0 * plain, plain), (one, near), (plain + 1e-8 * (one - plain), two)]
    for a, b in nothing:
        match = tied(sign * a, b, scale)
        before = match.b["w"].clone()
        assert not match._moved({"units": order}, check=True)
        assert torch.equal(match.b["w"], before)
        assert (match.perms["units"] == np.arange(3)).all()
    match = tied(sign * one, far, scale)
    assert match._moved({"units": order}, check=True)
    assert torch.equal(match.b["w"], scale * torch.as_tensor(near))
    assert (match.perms["units"] == order).all()


@pytest.mark.parametrize("params", [{"n_restarts": -1}, {"max_sweeps": 0}])
def test_bad_parameters(params):
    state, symmetry = perceptron(3, 4, 2)
    with pytest.raises(ValueError, match="n_restarts is at least 0 and max_sweeps at least 1"):
        WeightMatching(**params)(state, state, symmetry)


def test_bad_input():
    state, symmetry = perceptron(3, 4, 2)
    with pytest.raises(ValueError, match=r"Tensor '0.bias' of member 0 is missing in member 1"):
        WeightMatching()({k: v for k, v in state.items() if k != "0.bias"}, state, symmetry)
    with pytest.raises(ValueError, match="'0.weight' of member 1 holds NaN"):
        WeightMatching()({**state, "0.weight": state["0.weight"] * torch.nan}, state, symmetry)


# ---- many ----------------------------------------------------------------------------------------------------------


def spread(states):
    mean = weighted_sum(states, [1 / len(states)] * len(states))
    return sum(distance(s, mean) ** 2 for s in states)


@pytest.mark.parametrize("name", PROBLEMS)
def test_many_copies_become_one(name):
    state, symmetry = PROBLEMS[name]()
    copies = [symmetry.permute(symmetry.sample(seed), state) for seed in range(5)]
    alignments = MergeMany().align_all(copies, symmetry)
    moved = [a.apply(s) for a, s in zip(alignments, copies, strict=True)]
    assert all(torch.equal(m[k], moved[0][k]) for m in moved for k in m)


@pytest.mark.parametrize("name", PROBLEMS)
def test_many_are_nearer_to_their_mean_than_in_the_frame_of_the_first(name):
    symmetry = PROBLEMS[name]()[1]
    states = [PROBLEMS[name](seed)[0] for seed in range(4)]

    def spread_of(align):
        alignments = align.align_all(states, symmetry)
        return spread([a.apply(s) for a, s in zip(alignments, states, strict=True)])

    first, many = spread_of(WeightMatching()), spread_of(MergeMany())
    assert many <= first * (1 + 1e-12)
    history = MergeMany().align_all(states, symmetry)[0].history
    assert all(y >= x - 1e-9 for x, y in pairwise(history))
    moving = [{k: s[k] for k in symmetry.parameters} for s in states]
    still = spread(states) - spread(moving)
    squares = sum(objective(symmetry, s, s) for s in states)
    assert many == pytest.approx(squares - history[-1] + still)


def test_two_are_matched_like_a_pair():
    (a, symmetry), (b, _) = perceptron(3, 9, 7, 2, seed=0), perceptron(3, 9, 7, 2, seed=1)
    first, second = MergeMany().align_all([a, b], symmetry)
    pair = WeightMatching()(b, a, symmetry)
    assert all((first[g] == p).all() for g, p in symmetry.identity().items())
    assert all((second[g] == pair[g]).all() for g in pair)
    assert all((MergeMany()(b, a, symmetry)[g] == pair[g]).all() for g in pair)


def test_many_with_a_member_of_another_architecture():
    (a, symmetry), (b, _) = perceptron(3, 4, 2), perceptron(3, 5, 2)
    with pytest.raises(ValueError, match="'0.weight' has shape"):
        MergeMany().align_all([a, a, b], symmetry)
