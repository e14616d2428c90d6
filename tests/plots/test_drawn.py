"""Every display is drawn whatever names and numbers it is given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text
from plots.examples import EXAMPLES

from skfusion import plots

NAMES = {
    "dollars": ["lr=$3", "$a_$", "x$^$y", "$\\foo$"],
    "signs": ["a_b^c", "100%", "back\\slash", "{x} & #1~"],
    "long": [f"{'x' * 150}{k}" for k in range(4)],
    "long words": [" ".join(["merge"] * 40) + str(k) for k in range(4)],
    "empty": ["1", "2", "", "4"],
}
LABELS = ["loss", "score", "x"]
MISSING = {"nan": np.nan, "inf": np.inf, "minus inf": -np.inf, "all nan": (np.nan,)}
NARROW = (5.0, 3.0)  # of a figure of which half is for the display
displays = pytest.mark.parametrize("name", EXAMPLES)


def drawn(display, size=None):
    """Draw a display on a figure of its own, or on axes of a given size; return all that is written."""
    if size is None:
        display.plot()
    else:
        display.plot(plt.subplots(1, 2, figsize=size, layout="constrained")[1][0])
    display.figure_.canvas.draw()
    return [text.get_text() for text in display.figure_.findobj(Text)]


def test_there_is_an_example_of_every_display():
    names, labels = ["a", "b", "c", "d"], LABELS
    assert {type(make(names, labels, None)).__name__ for make in EXAMPLES.values()} == {*plots.__all__}


@displays
@pytest.mark.parametrize(
    ("case", "size"), [*((case, None) for case in NAMES), ("long words", NARROW), ("signs", NARROW)]
)
def test_names_of_any_kind_are_drawn(name, case, size):
    labels = [f"{NAMES[case][1]} {NAMES[case][2]}", *NAMES[case][2:]] if size is None else LABELS
    drawn(EXAMPLES[name](NAMES[case], labels, None), size)


@displays
def test_names_are_no_mathematics(name):
    names = ["net$1$", "net$2$", "net$3$", "net$4$"]
    written = " ".join(drawn(EXAMPLES[name](names, LABELS, None)))
    assert "net\\$" in written
    assert "net$" not in written


@displays
def test_mathematics_in_a_label_stays(name):
    assert any("$R^2$" in text for text in drawn(EXAMPLES[name](["a", "b", "c", "d"], ["$R^2$", "score", "x"], None)))


@displays
@pytest.mark.parametrize(("case", "size"), [*((case, None) for case in MISSING), ("inf", NARROW)])
def test_numbers_that_are_missing_are_said(name, case, size):
    display = EXAMPLES[name](["a", "b", "c", "d"], LABELS, MISSING[case])
    planes = ("cells", "plane", "subspace", "trajectory")
    if case.startswith("all") and name in ("diversity", "similarity", *planes):
        message = {"diversity": "All numbers", "similarity": "All numbers"}.get(name, "No value on the plane is finite")
        with pytest.raises(ValueError, match=message):
            drawn(display, size)
        return
    written = " | ".join(drawn(display, size))
    said = {
        "cells": "grey: not finite",
        "leaderboard": "no score",
        "soup": "no score",
        "plane": "grey: not finite",
        "trajectory": "grey: not finite",
        "subspace": "left out: not finite",
    }
    if name in ("similarity", "diversity"):  # where what is not known is a grey cell
        assert ("inf" in written) == ("inf" in case)
        assert display.image_.get_array().mask.any()
    else:
        assert said.get(name, "no loss") in written


def test_fusions_without_a_score_stand_at_the_bottom():
    mean = [np.nan, 0.9, -np.inf, 0.95, np.inf]
    display = plots.LeaderboardDisplay([*"abcde"], mean, [np.nan, 0.8, np.nan, -np.inf, 1], [np.nan, 1, 1, np.inf, 1])
    assert display.names == ["d", "b", "a", "c", "e"]
    display.plot()
    assert [text.get_text() for text in display.ax_.texts] == ["no score", "no score (-inf)", "no score (inf)"]
    (points,) = (line for line in display.ax_.lines if line.get_marker() == "o")
    assert points.get_xdata().tolist() == [0.95, 0.9]
    low, high = display.ax_.get_xlim()
    assert 0.5 < low < 0.9 < 0.95 < high < 1.5


def test_a_soup_gains_over_the_members_that_have_a_score():
    assert plots.SoupDisplay(["a", "b"], None, [np.nan, 0.8], 0.9).gain == pytest.approx(0.1)
    for scores, found in (([np.nan, np.nan], 0.9), ([0.8, 0.7], np.nan), ([-np.inf, 0.7], np.inf)):
        assert np.isnan(plots.SoupDisplay(["a", "b"], None, scores, found).gain)


def test_positions_without_a_loss_are_gaps_with_a_cross():
    t, loss = np.linspace(0, 1, 5), np.array([1.0, np.inf, np.nan, 2.0, 1.0])
    display = plots.BarrierDisplay(t, loss, -loss).plot()
    for ax in (display.ax_, display.score_ax_):
        (line,) = (line for line in ax.lines if line.get_marker() == "o")
        assert np.isfinite(line.get_ydata()).tolist() == [True, False, False, True, True]
        (crosses,) = (line for line in ax.lines if line.get_marker() == "x")
        assert crosses.get_xdata().tolist() == [0.25, 0.5]
    assert display.ax_.get_title(loc="left") == "barrier unknown"
