"""Averages of any length from snapshots of two."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skfusion.average import PowerEMA, exponent_of
from skfusion.merge import PostHocEMA, Uniform
from skfusion.merge.trajectory._nearest_profile import edges_of, nearest
from skfusion.merge.trajectory._several_sums import weighted_sums
from skfusion.state import weighted_sum
from skfusion.testing import _problems as problems


def profiles_of(n, total, sigmas=(0.05, 0.1)):
    return [(sigma, total * (i + 1) / n) for sigma in sigmas for i in range(n)]


def walk(total, dtype=torch.float64, seed=0):
    """States of a run that drifts, and is noisy."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(total + 1, 30, generator=generator, dtype=torch.float64)
    path = steps + steps.cumsum(0) / 10 + torch.linspace(0, 5, total + 1, dtype=torch.float64)[:, None]
    return [{"w": row.to(dtype)} for row in path]


def snapshots_of(run, profiles):
    return [PowerEMA(sigma).of(run[: int(time) + 1]) for sigma, time in profiles]


def inner(ga, ta, gb, tb):
    """The integral of the product of two profiles."""
    e = gb if ta < tb else -ga
    return (ga + 1) * (gb + 1) * (ta / tb) ** e / ((ga + gb + 1) * max(ta, tb))


def by_integrals(profiles, target):
    """Integrals for inner products, as published, and a multiplier for the sum of one."""
    known = [(exponent_of(sigma), time) for sigma, time in profiles]
    wanted = exponent_of(target[0]), target[1]
    gram = np.ones((len(known) + 1, len(known) + 1))
    gram[:-1, :-1] = [[inner(*a, *b) for b in known] for a in known]
    gram[-1, -1] = 0
    return np.linalg.solve(gram, [*(inner(*a, *wanted) for a in known), 1])[:-1]


# Relative errors of the profile, of 20 snapshots for each of two averages along 400 steps, as the docstring has them.
@pytest.mark.parametrize(
    ("n", "sigma", "error"),
    [(20, 0.075, 0.0025), (20, 0.15, 0.0065), (20, 0.2, 0.016), (20, 0.25, 0.061), (20, 0.02, 0.09), (40, 0.02, 0.027)],
)
def test_the_error_of_the_profile_is_as_small_as_it_says(n, sigma, error):
    for total in (400, 4_000_000):  # each step, and groups of steps
        _, (found,) = nearest(profiles_of(n, total), [(sigma, total)])
        assert 0 < found < error


def test_the_error_is_that_of_the_weights_of_all_steps():
    profiles, total = profiles_of(5, 50), 50
    (x,), (error,) = nearest(profiles, [(0.2, total)])
    rows = np.array([PowerEMA(s).coefficients(int(t) + 1) + [0.0] * (total - int(t)) for s, t in profiles])
    wanted = np.array(PowerEMA(0.2).coefficients(total + 1))
    assert error == pytest.approx(np.linalg.norm(x @ rows - wanted) / np.linalg.norm(wanted), rel=1e-9)
    rng = np.random.RandomState(0)
    for _ in range(50):  # no other coefficients with the same sum are nearer
        other = x + 1e-3 * (d := rng.normal(size=len(x))) - 1e-3 * d.mean()
        assert np.linalg.norm(other @ rows - wanted) > error * np.linalg.norm(wanted)


@pytest.mark.parametrize("sigma", [0.075, 0.15, 0.2])
def test_coefficients_are_those_of_the_published_integrals_where_steps_are_many(sigma):
    profiles, target = profiles_of(10, 1e6), (sigma, 1e6)
    (x,), _ = nearest(profiles, [target])
    np.testing.assert_allclose(x, by_integrals(profiles, target), atol=2e-3)


@pytest.mark.parametrize("total", [40, 37_000])
def test_what_was_tracked_is_its_snapshot(total):
    profiles = profiles_of(20, total)
    states = [{"w": torch.tensor([float(k)])} for k in range(40)]
    for k in (19, 39):
        x = PostHocEMA(profiles[k][0], profiles=profiles).coefficients(states)
        assert x == pytest.approx(np.eye(40)[k].tolist(), abs=1e-10)
        x = PostHocEMA(profiles[k - 8][0], time=profiles[k - 8][1], profiles=profiles).coefficients(states)
        assert x == pytest.approx(np.eye(40)[k - 8].tolist(), abs=1e-10)


@pytest.mark.parametrize("sigma", [0.06, 0.15, 0.2])
def test_times_are_averaged_to_the_mean_of_the_profile(sigma):
    total, g = 2000, exponent_of(sigma)
    run = [{"w": torch.tensor([t / total], dtype=torch.float64)} for t in range(total + 1)]
    profiles = profiles_of(20, total)
    found = PostHocEMA(sigma, profiles=profiles)(snapshots_of(run, profiles))["w"].item()
    assert found == pytest.approx((g + 1) / (g + 2), abs=1e-3)


@pytest.mark.parametrize(("sigma", "bound"), [(0.075, 0.01), (0.15, 0.01), (0.2, 0.02), (0.25, 0.08)])
def test_it_is_near_to_the_average_that_would_have_been_tracked(sigma, bound):
    run, profiles = walk(400), profiles_of(20, 400)
    found = PostHocEMA(sigma, profiles=profiles)(snapshots_of(run, profiles))["w"]
    tracked = PowerEMA(sigma).of(run)["w"]
    assert (found - tracked).norm() < bound * (run[-1]["w"] - tracked).norm()


def test_a_constant_run_stays_as_it_is():
    states = [{"w": torch.full((3,), 1 / 3, dtype=torch.float64)}] * 10
    for sigma in (0.06, 0.25):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of the error of the profile, which does not matter here
            found = PostHocEMA(sigma, profiles=profiles_of(5, 100))(states)
        torch.testing.assert_close(found["w"], states[0]["w"], rtol=0, atol=1e-12)


def test_one_snapshot_is_itself():
    state = problems.states(1)
    found = PostHocEMA(0.1, profiles=[(0.1, 7)])(state)
    assert problems.snapshot(found) == problems.snapshot(state[0])


def test_later_snapshots_have_no_part_in_an_earlier_average():
    run, profiles = walk(100), profiles_of(20, 100)
    merge = PostHocEMA(0.15, time=50, profiles=profiles)
    x = merge.coefficients(snapshots_of(run, profiles))
    assert all(w == 0 for w, (_, time) in zip(x, profiles, strict=True) if time > 50)
    other = [
        state if time <= 50 else {"w": 0 * state["w"]}
        for state, (_, time) in zip(snapshots_of(run, profiles), profiles, strict=True)
    ]
    tracked = PowerEMA(0.15).of(run[:51])["w"]
    assert (merge(other)["w"] - tracked).norm() < 0.05 * (run[50]["w"] - tracked).norm()


def test_the_order_of_snapshots_does_not_matter_where_profiles_go_with_them():
    run, profiles = walk(60), profiles_of(6, 60)
    states, order = snapshots_of(run, profiles), np.random.RandomState(0).permutation(12)
    expected = PostHocEMA(0.15, profiles=profiles)(states)["w"]
    found = PostHocEMA(0.15, profiles=[profiles[k] for k in order])([states[k] for k in order])["w"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_the_same_snapshot_twice_counts_once():
    profiles = [*profiles_of(6, 60), (0.1, 60), (0.1, 60)]
    (twice, once), errors = (
        [nearest(p, [(0.15, 60)])[0][0] for p in (profiles, profiles[:12])],
        [nearest(p, [(0.15, 60)])[1][0] for p in (profiles, profiles[:12])],
    )
    assert errors[0] == pytest.approx(errors[1], rel=1e-6)
    assert np.abs(twice).sum() == pytest.approx(np.abs(once).sum(), rel=0.1)


def test_single_precision_is_enough_and_half_precision_is_not():
    run, profiles = walk(400), profiles_of(20, 400)
    exact = snapshots_of(run, profiles)
    expected = PostHocEMA(0.02, profiles=profiles)(exact)["w"]

    def off(dtype):
        rounded = [{"w": s["w"].to(dtype).double()} for s in exact]
        return float((PostHocEMA(0.02, profiles=profiles)(rounded)["w"] - expected).norm())

    rounding = float(torch.stack([s["w"] for s in exact]).abs().max()) * 30**0.5
    assert off(torch.float32) < 40 * rounding * 2**-24  # the sum of the absolute coefficients is 20
    assert off(torch.float16) > 2**10 * off(torch.float32)


def of_the_package(run, sigma, every):
    """What ema-pytorch tracks: its decay is of one step, taken once every so many, and one step behind."""
    average, gamma = run[0]["w"].clone(), exponent_of(sigma)
    for step in range(len(run) - 1):
        if step % every == 0:
            decay = (1 - 1 / (step + 1)) ** (1 + gamma)
            average = decay * average + (1 - decay) * run[step]["w"]
    return average


def test_updates_at_intervals_do_not_change_the_length_as_they_do_in_the_published_package():
    """Asked for 0.05, whose mean time is 0.947, the package's average of every tenth step has one of 0.64."""
    total = 4000
    run = [{"w": torch.tensor([t / total], dtype=torch.float64)} for t in range(total + 1)]
    g = exponent_of(0.05)
    assert of_the_package(run, 0.05, 10).item() == pytest.approx(0.642, abs=0.01)
    assert PowerEMA(0.05, every=10).of(run)["w"].item() == pytest.approx((g + 1) / (g + 2), abs=3e-3)
    # What is made of such snapshots by their nominal length is wrong by as much; ours by the nominal one is right.
    profiles = profiles_of(20, total)
    made = PostHocEMA(0.075, profiles=profiles)
    wanted = PowerEMA(0.075).of(run)["w"].item()
    ours = [PowerEMA(s, every=10).of(run[: int(t) + 1]) for s, t in profiles]
    theirs = [{"w": of_the_package(run[: int(t) + 1], s, 10)} for s, t in profiles]
    assert made(ours)["w"].item() == pytest.approx(wanted, abs=5e-3)
    assert abs(made(theirs)["w"].item() - wanted) > 0.2


def test_coefficients_sum_to_one_where_those_of_the_published_package_do_not():
    profiles, target = profiles_of(5, 400), (0.2, 400.0)
    known = [(exponent_of(sigma), time) for sigma, time in profiles]
    gram = [[inner(*a, *b) for b in known] for a in known]
    x = np.linalg.solve(gram, [inner(*a, exponent_of(target[0]), target[1]) for a in known])
    assert abs(x.sum() - 1) > 0.05
    (ours,), (error,) = nearest(profiles, [target])
    assert ours.sum() == pytest.approx(1, abs=1e-12)
    assert error < 0.17


def test_several_lengths_at_once_are_those_one_by_one():
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        states = problems.states(6, dtype)
        for state in states:
            state["1.bias"] = state["0.bias"]
        merge = PostHocEMA(profiles=profiles_of(3, 30))
        found = merge.at_lengths(states, [0.06, 0.12])
        for sigma, state in zip([0.06, 0.12], found, strict=True):
            expected = merge.set_params(sigma=sigma)(states)
            assert [*state] == [*expected]
            for key, value in expected.items():
                torch.testing.assert_close(state[key], value, rtol=1e-2 if dtype == torch.bfloat16 else 1e-6, atol=1e-7)
            assert state["1.bias"].data_ptr() == state["0.bias"].data_ptr()


def test_several_sums_are_cut_into_parts_without_a_seam():
    states = [{"w": torch.randn(3, 7001, generator=torch.Generator().manual_seed(k)), "n": torch.tensor(k)}
              for k in range(3)]  # fmt: skip
    weights = np.array([[0.5, 0.5, 0.0], [2.0, -3.0, 2.0]])
    for found, row in zip(weighted_sums(states, weights), weights, strict=True):
        expected = weighted_sum(states, row)
        assert torch.equal(found["n"], expected["n"])
        torch.testing.assert_close(found["w"], expected["w"], rtol=1e-6, atol=1e-6)


def test_a_sum_that_is_too_large_for_its_dtype_is_refused():
    states = [{"w": torch.tensor([6e4], dtype=torch.float16)}, {"w": torch.tensor([-6e4], dtype=torch.float16)}]
    with pytest.raises(ValueError, match="'w' reaches"):
        weighted_sums(states, np.array([[2.0, -1.0]]))


def test_it_reports_the_error_and_the_coefficients():
    report, profiles = {}, profiles_of(20, 400)
    witness = SimpleNamespace(report=report.__setitem__)
    x = PostHocEMA(0.15, profiles=profiles).coefficients([{}] * 40, None, witness)
    assert report["coefficients"] == x
    assert 0 < report["profile_error"] < 0.0065


@pytest.mark.parametrize(
    ("sigma", "time"), [(0.01, None), (12**-0.5, None), (0.1, 61), (0.1, 40)], ids=str
)  # too short, too long, after the last snapshot, between two
def test_a_length_that_the_snapshots_do_not_have_is_warned_of_with_numbers(sigma, time):
    profiles = profiles_of(4, 60)
    with pytest.warns(
        UserWarning, match=r"error of \d+% of its profile.*lengths are 0.05, 0.1.*PowerSnapshots"
    ) as seen:
        x = PostHocEMA(sigma, 2 * time if time == 61 else time, profiles).coefficients([{}] * 8)
    assert seen[0].filename == __file__
    assert sum(x) == pytest.approx(1)


def test_lengths_between_those_of_the_snapshots_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for sigma in np.linspace(0.05, 0.2, 7):
            PostHocEMA(float(sigma), profiles=profiles_of(20, 400)).coefficients([{}] * 40)


STATES = problems.states(2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, r"PostHocEMA asks for the length and the time of each snapshot.*PowerSnapshots.*profiles="),
        ({"profiles": [(0.1, 3)]}, "got 1 profiles for 2 members"),
        ({"profiles": [(0.1, 3), (0.4, 3)]}, "at most 0.2887.*got 0.4"),
        ({"profiles": [(0.1, 3), (0.2, 0)]}, "time of a snapshot must be above 0"),
        ({"profiles": [(0.1, 3), (0.2, float("nan"))]}, "time of a snapshot must be above 0"),
        ({"profiles": [(0.1, 3), (0.2, 3)], "sigma": 0.0}, "above 0 and at most 0.2887.*got 0.0"),
        ({"profiles": [(0.1, 3), (0.2, 3)], "time": 2}, "time=2 is before the first snapshot, which was taken at 3"),
        ({"profiles": [0.1, 0.2]}, r"profiles is a pair \(sigma, time\) for each snapshot; got \[0.1, 0.2\]"),
        ({"profiles": [(0.1, 3), (0.2, 3)], "sigma": "0.1"}, "above 0 and at most 0.2887.*got '0.1'"),
        ({"profiles": [(0.1, 3), (0.2, 3)], "time": "end"}, "time is a number.*got 'end'"),
        ({"profiles": [(0.1, 3), (0.2, 3)], "time": float("nan")}, "time=nan is before"),
    ],
)
def test_wrong_parameters_are_refused_with_the_remedy(params, message):
    with pytest.raises(ValueError, match=message):
        PostHocEMA(**params)(STATES)


def test_members_of_another_kind_are_refused_and_profiles_by_hand_win():
    with pytest.raises(ValueError, match="the meta of member 1 has no 'time'.*PowerSnapshots"):
        PostHocEMA().for_members([{"sigma": 0.1, "time": 3}, {"sigma": 0.1}])
    merge = PostHocEMA(profiles=[(0.1, 3)])
    assert merge.for_members([{}]) is merge
    given = PostHocEMA(0.07, 3).for_members([{"sigma": 0.1, "time": 3, "epoch": 1}])
    assert repr(given) == "PostHocEMA(sigma=0.07, time=3, profiles=[(0.1, 3)])"


def test_most_mergers_ask_for_nothing_but_states():
    merge = Uniform()
    assert merge.for_members([{"epoch": 2}, {}]) is merge


def test_few_steps_are_taken_one_by_one_and_many_in_groups_with_an_edge_at_each_time():
    assert edges_of([3, 5.0]).tolist() == [0, 1, 2, 3, 4, 5]
    for times in ([1.5, 5.0], [333, 1_000_000]):
        edges = edges_of(times)
        assert edges[0] == 0
        assert edges[-1] == times[-1]
        assert times[0] in edges
        assert len(edges) <= 4099
