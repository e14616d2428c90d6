"""TIES: trim, elect signs, merge what agrees."""

import math

import pytest
import torch
from reference.ties import ties as reference_ties

from skfusion.merge import TIES, Entry, Merger
from skfusion.merge.task_vectors import _ties
from skfusion.merge.task_vectors._ties import disjoint_mean, elected, thresholds, trimmed
from skfusion.testing import laws

SHAPES = {"a": (5, 4), "b": (), "c": (0, 3), "d": (7,)}


def random_states(n, seed, dtype=torch.float64, whole=False):
    generator = torch.Generator().manual_seed(seed)

    def some(shape):
        t = torch.randn(shape, generator=generator, dtype=torch.float64)
        return ((2 * t).round() if whole else t).to(dtype)

    return [{key: some(shape) for key, shape in SHAPES.items()} for _ in range(n)]


def flat(state):
    return torch.cat([t.reshape(-1) for t in state.values()]).tolist()


@pytest.mark.parametrize("density", [0.01, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("whole", [False, True])  # whole numbers have many ties, of sizes and of votes
def test_it_matches_loops(n, density, whole):
    base, *states = random_states(n + 1, n, whole=whole)
    expected = reference_ties(flat(base), [flat(s) for s in states], [density] * n, 0.75)
    assert flat(TIES(density, 0.75)(states, base)) == pytest.approx(expected, rel=0, abs=1e-14)


WEIGHTS = [1.0, 0.5, -2.0, 0.0, 3.0]
DENSITIES = [0.2, 1.0, 0.5, 0.3, 0.7]


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("densities", [[0.5] * 5, DENSITIES])
@pytest.mark.parametrize("whole", [False, True])
def test_each_member_has_a_weight_and_a_density(weights, densities, whole):
    base, *states = random_states(6, 3, whole=whole)
    expected = reference_ties(flat(base), [flat(s) for s in states], densities, 0.75, weights)
    assert flat(TIES(densities, 0.75, weights)(states, base)) == pytest.approx(expected, rel=0, abs=1e-13)


def test_a_member_of_weight_0_is_as_good_as_absent_and_a_negative_weight_turns_round():
    base, *states = random_states(4, 4)
    states[1]["frozen"] = torch.ones(9).double()  # which only the member of weight 0 has changed
    for s in (base, states[0], states[2]):
        s["frozen"] = torch.zeros(9).double()
    without = TIES(0.4, weights=[1.0, 2.0])([states[0], states[2]], base)
    assert flat(TIES(0.4, weights=[1.0, 0.0, 2.0])(states, base)) == pytest.approx(flat(without), rel=0, abs=1e-14)
    turned = {k: 2 * base[k] - t for k, t in states[2].items()}
    expected = TIES(0.4)([states[0], turned], base)
    found = TIES(0.4, weights=[1.0, -1.0])([states[0], states[2]], base)
    assert flat(found) == pytest.approx(flat(expected), rel=0, abs=1e-13)


def test_one_weight_for_all_changes_nothing():
    base, *states = random_states(4, 5)
    expected = flat(TIES(0.4)(states, base))
    assert flat(TIES(0.4, weights=2.5)(states, base)) == pytest.approx(expected, rel=0, abs=1e-14)
    assert flat(TIES([0.4] * 3, weights=[1, 1, 1])(states, base)) == expected


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"density": [0.2, 0.3]}, r"TIES needs a density for each of 3 members; got \[0.2, 0.3\]"),
        ({"density": [0.2, 0.3, 1.5]}, "density of TIES is a share of the numbers"),
        ({"weights": [1.0]}, r"TIES needs a finite weight for each of 3 members; got \[1.0\]"),
        ({"weights": [1.0, 2.0, math.inf]}, "TIES needs a finite weight for each of 3 members"),
    ],
)
def test_numbers_that_do_not_fit_the_members_are_refused(params, message):
    base, *states = random_states(4, 6)
    with pytest.raises(ValueError, match=message):
        TIES(**params)(states, base)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_is_rounded_once(dtype):
    base, *states = random_states(4, 0, dtype)
    expected = reference_ties(flat(base), [flat(s) for s in states], [0.5] * 3)
    rounded = torch.tensor(expected, dtype=torch.float64).to(dtype)
    assert flat(TIES(0.5)(states, base)) == rounded.tolist()


def test_the_threshold_is_that_of_the_whole_network():
    base = {"small": torch.zeros(4), "large": torch.zeros(4)}
    state = {"small": torch.tensor([1.0, -2.0, 3.0, -4.0]), "large": torch.tensor([10.0, 20.0, -30.0, 40.0])}
    found = TIES(density=0.5)([state], base)
    assert found["small"].tolist() == [0] * 4
    assert torch.equal(found["large"], state["large"])


def test_numbers_as_large_as_the_threshold_are_all_kept():
    base, state = {"w": torch.zeros(5)}, {"w": torch.tensor([3.0, -2.0, 2.0, -2.0, 1.0])}
    assert TIES(density=0.4)([state], base)["w"].tolist() == [3, -2, 2, -2, 0]


def test_opposite_changes_are_a_tie_and_leave_the_base():
    base, state = ({"w": t["a"]} for t in random_states(2, 1, whole=True))
    opposite = {"w": 2 * base["w"] - state["w"]}
    for density in (0.3, 1.0):
        assert torch.equal(TIES(density)([state, opposite], base)["w"], base["w"])


@pytest.mark.parametrize("seed", range(4))
def test_a_tie_up_to_rounding_is_a_tie_in_any_order(seed):
    parts = torch.tensor([0.1, 0.2, 0.3, 0.7, -0.6, -0.7], dtype=torch.float64)  # their sum is zero but for rounding
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    assert elected([v.reshape(1) for v in parts[order]]).tolist() == [0]
    assert elected([v.reshape(1) for v in [*parts[order], torch.tensor(-1e-12).double()]]).tolist() == [-1]


def test_each_change_has_the_elected_sign_and_is_within_those_that_agree():
    base, *states = random_states(5, 2)
    changes = torch.tensor([flat(s) for s in states]).double() - torch.tensor(flat(base)).double()
    sizes = changes.abs().sort(dim=1, descending=True).values
    kept = torch.where(changes.abs() >= sizes[:, 13:14], changes, 0.0)  # the 14 largest of 28
    found = torch.tensor(flat(TIES(0.5)(states, base))).double() - torch.tensor(flat(base)).double()
    sign = kept.sum(0).sign()
    assert bool(((found.sign() == sign) | (found.abs() < 1e-14)).all())
    assert bool((found.abs() <= kept.abs().amax(0) + 1e-14).all())
    assert bool((found[(kept == 0).all(0)] == 0).all())


def test_a_change_of_all_scales_changes_the_result_alike():
    base, *states = random_states(4, 3)
    wider = [{k: base[k] + 4 * (s[k] - base[k]) for k in s} for s in states]
    found, more = TIES(0.4)(states, base), TIES(0.4)(wider, base)
    for key in base:
        torch.testing.assert_close(more[key] - base[key], 4 * (found[key] - base[key]), rtol=0, atol=1e-13)


def test_equal_members_that_are_kept_whole_give_the_member():
    base, state = random_states(2, 4, torch.float32)
    for n in (1, 3):
        found = TIES(density=1.0)([state] * n, base)
        assert all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize("law", laws(Merger), ids=lambda law: law.__name__)
def test_kept_whole_it_keeps_every_law(law):
    law(TIES(density=1.0))


def test_the_mean_is_of_those_that_agree_only():
    vectors = [torch.tensor(v).double() for v in ([1.0, 2.0, 0.0], [3.0, -5.0, 0.0], [-1.0, 1.0, 0.0])]
    assert elected(vectors).tolist() == [1, -1, 0]
    assert disjoint_mean(vectors, elected(vectors)).tolist() == [2, -5, 0]
    assert trimmed(vectors[1], 3.0).tolist() == [3, -5, 0]


# Thresholds.


def parts_of(vectors):
    half = vectors.shape[1] // 2
    return lambda: iter([("w", vectors[:, :half]), ("w", vectors[:, half:])])


def many_kinds(d, generator):
    normal = torch.randn(3, d, generator=generator, dtype=torch.float64)
    yield normal
    yield (3 * normal).round()  # ties
    yield normal * (torch.rand(3, d, generator=generator) < 0.2)  # zeros
    yield (50 * normal).round() * 5e-324  # subnormal numbers
    yield normal.exp().pow(40)  # many magnitudes
    yield torch.zeros_like(normal)
    yield normal.float().double()


@pytest.mark.parametrize("at_hand", [0, 5, 2**20])
@pytest.mark.parametrize("d", [1, 2, 3, 10, 401])
def test_thresholds_are_those_of_sorting(d, at_hand, monkeypatch):
    monkeypatch.setattr(_ties, "_AT_HAND", at_hand)
    for vectors in many_kinds(d, torch.Generator().manual_seed(d)):
        for m in {1, 2, d // 3, d - 1, d} & set(range(1, d + 1)):
            expected = [float(v.abs().kthvalue(d - m + 1).values) for v in vectors]
            assert thresholds(parts_of(vectors), 3, m / d) == expected


def test_thresholds_of_one_number_at_least():
    assert thresholds(lambda: iter([("w", [torch.tensor([1.0, -7.0, 2.0]).double()])]), 1, 1e-9) == [7.0]


def test_thresholds_of_nothing():
    assert thresholds(lambda: iter([]), 2, 0.5) == [0.0, 0.0]
    assert thresholds(lambda: iter([("w", [torch.zeros(0).double()])]), 1, 0.5) == [0.0]


@pytest.mark.parametrize("at_hand", [0, 2**20])
def test_tensors_that_no_vector_has_changed_do_not_count(at_hand, monkeypatch):
    monkeypatch.setattr(_ties, "_AT_HAND", at_hand)
    mine, zeros = torch.arange(1.0, 11).double(), torch.zeros(10).double()
    parts = [("frozen", [zeros, zeros]), ("a", [mine[:4], zeros[:4]]), ("a", [zeros, zeros]), ("b", [zeros, mine])]
    assert thresholds(lambda: iter(parts), 2, 0.1) == [3.0, 9.0]  # the largest 2 of the 24 numbers of a and b


def test_thresholds_take_two_passes_or_four_where_little_fits_in_memory(monkeypatch):
    vectors = torch.randn(2, 300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    passes = []

    def read():
        passes.append(1)
        return iter([("w", vectors)])

    thresholds(read, 2, 0.3)
    assert len(passes) == 2
    monkeypatch.setattr(_ties, "_AT_HAND", 0)
    thresholds(read, 2, 0.3)
    assert len(passes) == 2 + 4
    monkeypatch.setattr(_ties, "_AT_HAND", 200)
    vectors[0] = 1 + vectors[0].abs() / 2**50  # all 300 share their leading bits
    thresholds(read, 2, 0.3)
    assert len(passes) == 2 + 4 + 4


# Networks.


def test_parts_of_tensors_give_the_parts_of_the_result():
    base, *states = ({"w": t["a"].reshape(-1)} for t in random_states(4, 6))
    merge = TIES(0.35)

    def read():
        for at in range(0, 20, 3):
            yield Entry("w", [s["w"][at : at + 3] for s in states], base["w"][at : at + 3])

    known = merge.survey(read, 3)
    found = torch.cat([merge.tensor(part, known) for part in read()])
    assert merge.elementwise
    assert torch.equal(found, merge(states, base)["w"])


def test_counters_and_statistics_are_not_voted_on():
    base = {"w": torch.zeros(2), "1.running_var": torch.tensor([100.0, 1.0]), "n": torch.tensor(1)}
    states = [
        {"w": torch.tensor([1.0, 2.0]), "1.running_var": torch.tensor([200.0 * k, 3.0]), "n": torch.tensor(k)}
        for k in (1, 2)
    ]
    found = TIES(density=0.5)(states, base)
    assert found["w"].tolist() == [0, 2]
    assert found["1.running_var"].tolist() == [300, 3]
    assert int(found["n"]) == 2


def test_networks_without_weights_are_merged():
    state = {"n": torch.tensor(3)}
    assert int(TIES()([state, state], state)["n"]) == 3


def test_tied_tensors_are_counted_once_and_stay_tied():
    def tied(values):
        t = torch.tensor(values)
        return {"a": t, "b": t, "c": torch.tensor([1.0, 2.0])}

    found = TIES(density=0.75)([tied([3.0, 4.0])], tied([0.0, 0.0]) | {"c": torch.zeros(2)})
    assert found["a"].tolist() == [3, 4]
    assert found["c"].tolist() == [0, 2]  # three of four numbers are kept, not four of six
    assert found["a"] is found["b"]


@pytest.mark.parametrize("density", [0.0, -0.2, 1.2, math.nan, 20])
def test_a_density_that_is_no_share_is_refused(density):
    base, *states = random_states(3, 7)
    with pytest.raises(ValueError, match="density of TIES is a share"):
        TIES(density)(states, base)


@pytest.mark.parametrize("scale", [math.nan, math.inf])
def test_a_scale_that_is_not_finite_is_refused(scale):
    base, *states = random_states(3, 7)
    with pytest.raises(ValueError, match="scale of TIES must be a finite number"):
        TIES(scale=scale)(states, base)


def test_a_base_is_needed():
    with pytest.raises(ValueError, match="TIES needs the common start"):
        TIES()(random_states(2, 8))
    with pytest.raises(ValueError, match="Tensor 'w' has no base"):
        TIES().tensor(Entry("w", [torch.ones(2).double()], None), [0.0])


@pytest.mark.parametrize("last", [False, True])
def test_the_rounding_of_many_sums_is_a_tie(last):
    many = [torch.tensor([0.1, -0.1], dtype=torch.float64)] * 1000
    one = [torch.tensor([-100.0, 100.0], dtype=torch.float64)]
    vectors = many + one if last else one + many
    assert elected(vectors).tolist() == [0, 0]
    assert elected([*vectors, vectors[0]]).tolist() == vectors[0].sign().tolist()


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_the_vote_does_not_depend_on_the_size_of_changes(scale):
    votes = scale * torch.tensor([[2.0, -1, 1, 0], [-1, 2, -1, 0], [-2, 0, 0, 0]], dtype=torch.float64)
    assert elected([*votes]).tolist() == [-1, 1, 0, 0]
