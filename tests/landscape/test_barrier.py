"""The five numbers of a barrier, beside loops, and what they must be."""

import numpy as np
import pytest
import torch
from landscape.points import judged, perceptron, rows, states_of
from reference import barrier as reference
from torch import nn

from skfusion.landscape import Barrier, Profile, barrier, loss_along, segment
from skfusion.state import weighted_sum
from skfusion.testing import _problems as problems


def profile(seed, n):
    rng = np.random.RandomState(seed)
    arc = np.concatenate([[0.0], np.cumsum(rng.uniform(0.1, 2, size=n - 1))])
    return Profile(np.linspace(0, 1, n), rng.normal(size=n), rng.normal(size=n), arc)


@pytest.mark.parametrize("n", [3, 25, 61])
@pytest.mark.parametrize("seed", range(3))
def test_five_numbers_match_loops(seed, n):
    p = profile(seed, n)
    expected = reference.summary(*(a.tolist() for a in (p.t, p.loss, p.score, p.arc)))
    assert p.summary._asdict() == pytest.approx(expected, abs=1e-12)


def test_without_an_arc_positions_stand_in():
    p = profile(0, 9)
    bare = Profile(p.t, p.loss, p.score)
    straight = Profile(p.t, p.loss, p.score, 7 * p.t)
    assert bare.summary == pytest.approx(straight.summary, abs=1e-12)
    still = Profile(p.t, p.loss, p.score, np.zeros(9))
    assert still.summary == bare.summary


def test_the_middle_of_an_even_number_of_positions_is_between_two():
    p = Profile(np.linspace(0, 1, 4), np.array([0.0, 2.0, 4.0, 1.0]), np.zeros(4))
    assert p.summary.midpoint == pytest.approx(3.0 - 0.5)


def test_mean_is_by_the_length_of_the_path():
    loss, t = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.5, 1.0])
    assert Profile(t, loss, loss, np.array([0.0, 1.0, 2.0])).mean_loss == 0.5
    assert Profile(t, np.array([0.0, 0.0, 1.0]), loss, np.array([0.0, 9.0, 10.0])).mean_loss == pytest.approx(0.05)


@pytest.mark.parametrize("n_points", [2, 10, 11, 25])
def test_barrier_does_not_depend_on_which_end_comes_first(n_points):
    a, b = states_of(perceptron)
    data = judged(perceptron(), rows())
    there, back = barrier(a, b, data, n_points), barrier(b, a, data, n_points)
    assert isinstance(there, Barrier)
    assert there == pytest.approx(back, abs=1e-6)
    assert there.sup >= 0
    assert there.max_abs >= 0


def test_a_path_goes_from_the_first_state_to_the_second():
    a, b = states_of(perceptron)
    data = judged(perceptron(), rows())
    found = loss_along(segment(a, b), data, 5)
    for t, loss, score in zip(found.t, found.loss, found.score, strict=True):
        state = weighted_sum([a, b], [1 - t, t])
        assert loss == pytest.approx(data.loss(state), rel=1e-5)
        assert score == pytest.approx(data.score(state), abs=1e-9)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("make", [perceptron, lambda: perceptron(nn.BatchNorm1d(8))], ids=["plain", "batch norm"])
def test_a_function_of_positions_gives_the_numbers_of_the_subspace(make, many):
    a, b = states_of(make)
    data = judged(make(), rows(), many=many)
    one = loss_along(segment(a, b), data, 7)
    line = segment(a, b)
    other = loss_along(lambda t: line.at(t), data, 7)
    for name in ("t", "loss", "score", "arc"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-5, atol=1e-6)
    assert one.summary == pytest.approx(other.summary, abs=1e-5)


def test_arc_is_the_distance_of_the_ends_on_a_line_and_leaves_out_statistics():
    a, b = problems.states(2)
    found = loss_along(segment(a, b), problems.objective(), 5)
    names = [k for k in a if "running" not in k and "tracked" not in k]
    distance = sum(float((a[k].double() - b[k].double()).square().sum()) for k in names) ** 0.5
    np.testing.assert_allclose(found.arc, distance * found.t, rtol=1e-6)


def test_equal_ends_have_no_barrier_by_any_definition():
    (a,) = states_of(perceptron, 1)
    assert barrier(a, {k: v.clone() for k, v in a.items()}, judged(perceptron(), rows())) == pytest.approx(
        (0, 0, 0, 0, 0), abs=1e-6
    )


def test_a_permuted_copy_has_equal_ends_and_a_barrier():
    a, _ = problems.ends()
    b = problems.permuted(a, [4, 3, 2, 1, 0])
    data = problems.to_train()
    assert data.loss(a) == pytest.approx(data.loss(b), abs=1e-6)
    assert barrier(a, b, data).sup > 0.05


def test_ends_are_not_copied_and_not_written():
    a, b = states_of(lambda: perceptron(nn.BatchNorm1d(8)))
    before = [{k: v.clone() for k, v in s.items()} for s in (a, b)]
    barrier(a, b, judged(perceptron(nn.BatchNorm1d(8)), rows()))
    for now, then in zip((a, b), before, strict=True):
        assert all(torch.equal(now[k], then[k]) for k in then)
