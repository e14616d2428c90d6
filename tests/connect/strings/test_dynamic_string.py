"""DynamicString: lengths on a ring, where nothing is to be done, levels that cannot be kept, and what is reported."""

import math
import re

import numpy as np
import pytest
from connect.strings.potentials import bowl, objective, on_circle, point, ring

from skfusion.connect import DynamicString
from skfusion.landscape import barrier, loss_along
from skfusion.objective import ModuleObjective
from skfusion.testing import _problems as problems

RING = objective(ring)
QUICK = {"lr": 0.02, "momentum": 0.0, "n_epochs": 500, "max_depth": 10}


def highest(path, potential=ring):
    return max(float(potential(path.at(t)["w"])) for t in np.linspace(0, 1, 60 * len(path.controls) + 1))


@pytest.mark.parametrize(
    ("degrees", "level", "length"),
    # beads stop a little before the ring, at half the level, so that lengths come from below
    [(90, 0.05, 1.048), (90, 0.005, 1.089), (90, 0.0005, 1.103), (180, 0.05, 1.464), (180, 0.005, 1.535)],
)
def test_the_length_on_a_ring_tends_to_that_of_the_arc(degrees, level, length):
    ends = [on_circle(0), on_circle(degrees, 1e-3 if degrees == 180 else 0)]  # half-way between these is a saddle
    found = DynamicString(level=level, alpha=0.5, **QUICK)(ends, RING)
    angle = math.radians(degrees)
    arc = angle / (2 * math.sin(angle / 2))
    assert found.normalised_length == pytest.approx(length, abs=0.02)
    assert found.normalised_length < arc
    assert found.above == ()
    assert highest(found) <= level  # on a finer grid than the one that was asked
    assert found.controls[0] is ends[0]
    assert found.controls[-1] is ends[1]
    assert found.n_beads == len(found.controls) - 2
    assert found.n_beads >= found.depth >= 1


def test_lower_levels_take_more_beads_and_longer_strings():
    ends = [on_circle(0), on_circle(90)]
    found = [DynamicString(level=level, **QUICK)(ends, RING) for level in (0.5, 0.05, 0.005, 0.0005)]
    assert found[0].n_beads == 0
    assert [f.n_beads for f in found] == sorted(f.n_beads for f in found)
    assert [f.normalised_length for f in found] == sorted(f.normalised_length for f in found)


@pytest.mark.parametrize("level", [None, 1.2])
def test_a_convex_loss_needs_no_bead(level):
    found = DynamicString(level=level)([on_circle(10), on_circle(100)], objective(bowl))
    assert (found.n_beads, found.depth, found.above, found.history) == (0, 0, (), ())
    assert found.normalised_length == pytest.approx(1.0, abs=1e-12)


def test_both_halves_of_a_link_are_looked_at():
    """The first half needs a bead and the second one too: each lies across the ring."""
    found = DynamicString(level=0.01, split="middle", **QUICK)([on_circle(0), on_circle(120)], RING)
    angles = [math.degrees(math.atan2(*reversed(c["w"].tolist()))) for c in found.controls]
    assert angles == sorted(angles)
    assert sum(0 < a < 55 for a in angles) >= 1 <= sum(65 < a < 120 for a in angles)


def test_a_bead_starts_at_the_highest_loss_or_in_the_middle():
    """One hill beside the middle: untrained beads stay where they start."""

    def hill(w):
        return (-50 * (w[0] - 0.25) ** 2).exp() + 0 * w[1]

    for split, place in (("highest", 0.25), ("middle", 0.5)):
        with pytest.warns(UserWarning, match="DynamicString"):
            found = DynamicString(level=0.2, split=split, n_points=3, n_epochs=0, max_depth=1)(
                [point(0, 0), point(1, 0)], objective(hill)
            )
        assert float(found.controls[1]["w"][0]) == place


def test_the_level_of_the_default_is_a_tenth_up_the_line():
    ends, data = problems.ends(), problems.to_train()
    found = DynamicString()(ends, data)
    line = barrier(*ends, data)
    worst = max(data.loss(end) for end in ends)
    assert worst < found.level < worst + 0.15 * line.max_abs
    assert loss_along(found, data, 61).loss.max() <= found.level * 1.02  # between the points that were asked
    assert found.above == ()


def test_the_loss_that_counts_is_that_of_the_judge():
    """The judge is fed with another loss than the one that beads are trained by, and is told from it."""
    asked = []

    def loss(state):
        asked.append(state)
        return float(ring(state["w"])) + 1.0

    data = ModuleObjective(RING.module, RING.batches, loss, criterion=RING.criterion)
    found = DynamicString(level=1.05, alpha=0.96, **QUICK)([on_circle(0), on_circle(90)], data)
    assert found.n_beads >= 1
    assert len(asked) > 30
    assert highest(found) <= 0.05
    with pytest.raises(ValueError, match="give it loss="):
        DynamicString()([on_circle(0), on_circle(90)], ModuleObjective(RING.module, RING.batches, criterion=ring))


@pytest.mark.parametrize("ends", [(0.0, 1.2), (1.2, 0.0)])
def test_ends_above_the_level_are_refused_with_both_numbers(ends):
    a, b = (point(1.0 + e, 0.0) for e in ends)
    with pytest.raises(ValueError, match="two networks are .*, and level is 0.5") as caught:
        DynamicString(level=0.5)([a, b], RING)
    assert re.search(r"14\.75 and 0,|0 and 14\.75,", str(caught.value))


def test_an_end_without_a_loss_is_refused():
    with pytest.raises(ValueError, match="two networks are inf and 0, and level is inf"):
        DynamicString()([point(1e200, 0.0), point(1.0, 0.0)], RING)


def test_what_was_found_up_to_the_greatest_depth_is_kept_and_reported():
    ends = [on_circle(0), on_circle(120)]
    with pytest.warns(UserWarning, match=r"no string below the level 0.001: on \d of its 4 links, \[") as caught:
        found = DynamicString(level=0.001, **(QUICK | {"max_depth": 2}))(ends, RING)
    assert len(caught) == 1
    assert found.depth == 2
    assert found.n_beads == 3
    assert found.above
    assert str([*found.above]) in str(caught[0].message)
    for k in range(4):
        t = np.linspace(k / 4, (k + 1) / 4, 17)
        rises = max(float(ring(found.at(s)["w"])) for s in t) > 0.001
        assert rises == (k in found.above)


def test_beads_that_cannot_be_trained_are_kept_and_not_split_again():
    with pytest.warns(UserWarning, match="on 2 of its 2 links, \\[0, 1\\]"):
        found = DynamicString(level=0.01, lr=0.0, max_depth=5, n_epochs=3)([on_circle(0), on_circle(120)], RING)
    assert (found.n_beads, found.depth, found.above) == (1, 1, (0, 1))


def test_no_depth_is_the_line_and_says_whether_it_is_below():
    ends = [on_circle(0), on_circle(120)]
    assert DynamicString(level=0.9, max_depth=0)(ends, RING).above == ()
    with pytest.warns(UserWarning, match="on 1 of its 1 links"):
        assert DynamicString(level=0.1, max_depth=0)(ends, RING).above == (0,)


def test_beads_are_trained_until_their_loss_is_low_enough():
    for alpha in (0.2, 0.8):
        found = DynamicString(level=0.1, alpha=alpha, **QUICK)([on_circle(0), on_circle(90)], RING)
        assert all(float(ring(c["w"])) <= alpha * 0.1 for c in found.controls)
        assert 0 < len(found.history) < 500


def test_beads_come_below_a_level_that_is_negative():
    """As the log-likelihood of values allows: its share would be above it."""
    found = DynamicString(level=-0.95, **QUICK)([on_circle(0), on_circle(90)], objective(lambda w: ring(w) - 1.0))
    assert found.n_beads >= 1
    assert found.above == ()
    assert highest(found, lambda w: ring(w) - 1.0) <= -0.95


def test_the_penalty_shrinks_a_bead():
    """Nothing else moves it: five steps of a tenth of what it is."""

    def hill(w):
        return w[0].abs() * (w[1].abs() < 0.5)

    flat = objective(hill)
    flat.criterion = lambda out, batch: 0 * out.sum()
    settings = {"weight_decay": 0.1, "lr": 1.0, "momentum": 0.0, "n_epochs": 1, "max_depth": 1, "n_points": 1}
    found = DynamicString(level=0.6, **settings)([point(1, 1), point(1, -1)], flat)
    np.testing.assert_allclose(found.controls[1]["w"], [0.9**5, 0.0], rtol=0, atol=1e-12)


def test_a_string_keeps_what_it_says_when_it_is_changed():
    found = DynamicString(level=0.05, **QUICK)([on_circle(0), on_circle(90)], RING)
    even = found.by_length()
    assert (even.level, even.depth, even.above) == (found.level, found.depth, found.above)
    assert even.normalised_length == pytest.approx(found.normalised_length, rel=0.02)


def test_equal_ends_are_a_string_of_no_length():
    a = on_circle(0)
    found = DynamicString()([a, on_circle(0)], RING)
    assert found.n_beads == 0
    assert math.isnan(found.normalised_length)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"level": "low"}, TypeError, "level must be a number, or None; got 'low'"),
        ({"level": float("nan")}, ValueError, "level must be finite; got nan"),
        ({"alpha": 1.0}, ValueError, "alpha must be above 0 and below 1; got 1.0"),
        ({"alpha": 0}, ValueError, "alpha must be above 0 and below 1; got 0"),
        ({"split": "best"}, ValueError, "split must be 'highest' or 'middle'; got 'best'"),
        ({"max_depth": -1}, ValueError, "max_depth must be a whole number of at least 0; got -1"),
        ({"n_points": 0}, ValueError, "n_points must be a whole number of at least 1; got 0"),
        ({"n_epochs": 1.5}, ValueError, "n_epochs must be a whole number"),
        ({"momentum": 1.0}, ValueError, "momentum must be below 1"),
    ],
)
def test_parameters_out_of_range_are_refused(params, error, message):
    with pytest.raises(error, match=message):
        DynamicString(**params)([on_circle(0), on_circle(90)], RING)
