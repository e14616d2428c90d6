"""The five numbers of a barrier, beside loops, and what they must be."""

import numpy as np
import pytest
import torch
from landscape.points import judged, perceptron, rows, states_of
from reference import barrier as reference
from torch import nn

from skfusion.landscape import Barrier, Profile, barrier, excess, loss_along, segment
from skfusion.objective import ModuleObjective
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


@pytest.mark.parametrize("n_points", [3, 10, 11, 25])
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


# ---- losses that are not finite ------------------------------------------------------------------------------------

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize("ends", [(INF, 1.0), (1.0, INF), (INF, INF), (NAN, 1.0), (1.0, NAN), (-INF, INF)], ids=repr)
def test_a_barrier_between_ends_that_are_not_finite_is_nan(ends):
    loss = np.array([ends[0], 1.0, 2.0, ends[1]])
    t = np.linspace(0, 1, 4)
    assert np.isnan(excess(t, loss))
    found = Profile(t, loss, np.zeros(4)).summary
    assert np.isnan([found.sup, found.midpoint, found.max_abs, found.mean]).all()
    assert found.error == 0.0
    assert np.isnan(Profile(t, np.zeros(4), -loss).score_barrier)


def test_an_infinite_loss_between_the_ends_is_an_infinite_barrier():
    t, loss = np.linspace(0, 1, 5), np.array([1.0, 2.0, INF, 2.0, 1.0])
    assert excess(t, loss) == INF
    assert Profile(t, loss, np.zeros(5)).summary == (INF, INF, INF, 0.0, INF)
    assert np.isnan(excess(t, np.array([1.0, 2.0, NAN, 2.0, 1.0])))


def numbers(loss):
    """A network of one weight whose loss is a function of it."""
    return ModuleObjective(
        nn.Linear(1, 1, bias=False), list, lambda s: loss(s["weight"].item()), lambda s: -loss(s["weight"].item())
    )


def scalar(value):
    return {"weight": torch.tensor([[value]])}


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (-2.0, 1.0, r"first end of the path \(t = 0\) is inf"),
        (1.0, -2.0, r"second end of the path \(t = 1\) is inf"),
        (1.0, 9.0, r"second end of the path \(t = 1\) is nan"),
    ],
    ids=["first", "second", "nan"],
)
def test_ends_with_a_loss_that_is_not_finite_are_named(a, b, message):
    data = numbers(lambda w: INF if w < -1 else NAN if w > 8 else 1.0)
    line = segment(scalar(a), scalar(b))
    for path in (line, lambda t: line.at(t)):
        with pytest.raises(ValueError, match=message):
            loss_along(path, data, 3)


def test_an_infinite_loss_on_the_line_is_no_error():
    assert barrier(scalar(-1.0), scalar(1.0), numbers(lambda w: INF if abs(w) < 0.1 else 1.0), 5).sup == INF


def test_a_barrier_of_the_ends_alone_is_refused():
    a, b = states_of(perceptron)
    with pytest.raises(ValueError, match="n_points must be at least 3; got 2"):
        barrier(a, b, judged(perceptron(), rows()), 2)
