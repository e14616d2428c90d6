"""No axis passes the range of what it shows."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from plots.examples import T

from skfusion.landscape import Profile
from skfusion.plots import (
    BarrierDisplay,
    CurveDisplay,
    LeaderboardDisplay,
    SoupDisplay,
    SpanningTreeDisplay,
    SubspaceDisplay,
)
from skfusion.plots._ranges import loss_range, range_of, within

DIP = 1 - 0.05 * np.sin(np.pi * T)
"""A score that is 1 at both ends."""


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("accuracy", (0, 1)),
        ("held-out accuracy", (0, 1)),
        ("balanced_accuracy", (0, 1)),
        ("f1_macro", (0, 1)),
        ("average_precision", (0, 1)),
        ("roc_auc_ovr", (0, 1)),
        ("share of rows with unlike labels", (0, 1)),
        ("R2", (-np.inf, 1)),
        ("explained_variance", (-np.inf, 1)),
        ("d2_absolute_error_score", (-np.inf, 1)),
        ("neg_log_loss", (-np.inf, 0)),
        ("matthews_corrcoef", (-1, 1)),
        ("cosine of task vectors", (-1, 1)),
        ("score", (-np.inf, np.inf)),
        ("sharpness", (-np.inf, np.inf)),
        ("profit", (-np.inf, np.inf)),
    ],
)
def test_scores_have_ranges_by_their_names(name, limits):
    assert range_of(name) == limits


def test_every_scorer_of_scikit_learn_stays_in_its_range():
    from sklearn.metrics import get_scorer, get_scorer_names

    for name in get_scorer_names():
        low, high = range_of(name)
        best = get_scorer(name)._sign * (0 if get_scorer(name)._sign < 0 else 1)
        assert low < best <= high or (low, high) == (-np.inf, np.inf), name


def test_a_name_that_misleads_has_no_range():
    assert within([0.2, 97.0], range_of("accuracy")) == (-np.inf, np.inf)  # in per cent
    assert within([0.2, np.nan, 1.0], range_of("accuracy")) == (0, 1)
    assert within([np.nan], range_of("accuracy")) == (0, 1)
    assert loss_range([0.2, np.nan]) == (0, np.inf)
    assert loss_range([0.2, -0.1]) == (-np.inf, np.inf)  # a likelihood of densities


def test_scores_along_paths_end_at_one_and_losses_at_zero():
    curve, line = Profile(T, T * 0, T * 0 + 1.0), Profile(T, np.sin(np.pi * T).clip(0), DIP)
    displays = [
        BarrierDisplay(T, 1 - DIP, DIP, score_name="accuracy"),
        BarrierDisplay(T, T * 0, T * 0 + 1, score_name="R2"),
        BarrierDisplay.from_profiles({"a": curve, "b": line}, score_name="accuracy"),
        CurveDisplay.from_profiles(curve, line, ensemble_score=1.0, score_name="accuracy"),
    ]
    for display in displays:
        display.plot()
        assert display.ax_.get_ylim()[0] == 0
        low, high = display.score_ax_.get_ylim()
        assert 0 <= low < high == 1
    nan = BarrierDisplay(T, T * np.nan, T * np.nan, score_name="accuracy").plot()
    assert nan.score_ax_.get_ylim()[1] <= 1


def test_losses_below_zero_are_shown():
    low, high = BarrierDisplay(T, T - 0.5).plot().ax_.get_ylim()
    assert low < -0.5 < 0.5 < high


def test_a_chain_and_a_tree_stay_in_their_range():
    corners = {"a": (0.0,), "b": (1.0,)}
    chain = SubspaceDisplay(T[:, None], DIP, corners, z_name="accuracy", higher_is_better=True).plot()
    assert chain.ax_.get_ylim()[1] == 1
    assert SubspaceDisplay(T[:, None], 1 - DIP, corners).plot().ax_.get_ylim()[0] == 0
    assert SpanningTreeDisplay({("a", "b"): Profile(T, 1 - DIP, T)}).plot().ax_.get_ylim()[0] == 0


def test_intervals_end_where_the_score_does():
    display = LeaderboardDisplay([*"abc"], [0.99, 0.98, 0.97], [0.95] * 3, [1.03, 1.01, 0.99], "accuracy").plot()
    assert display.ax_.get_xlim()[1] == 1
    losses = LeaderboardDisplay([*"ab"], [-0.01, -0.02], [-0.05] * 2, [0.03, 0.01], "neg_log_loss").plot()
    assert losses.ax_.get_xlim()[1] == 0
    ratings = LeaderboardDisplay([*"ab"], [1.01, 1.02], [1.0] * 2, [1.04] * 2, "rating").plot()
    assert ratings.ax_.get_xlim()[1] > 1.04


@pytest.mark.parametrize("score", [1.0, 0.5, 0.0])
def test_equal_scores_and_intervals_of_no_width_have_a_sensible_axis(score):
    ax = LeaderboardDisplay([*"abc"], [score] * 3, [score] * 3, [score] * 3, "accuracy", score).plot().ax_
    low, high = ax.get_xlim()
    assert 0 <= low <= score <= high <= 1
    assert high - low > 0.01
    ax.figure.canvas.draw()
    assert ax.xaxis.get_offset_text().get_text() == ""  # no 1e-8+1
    one_fold = LeaderboardDisplay([*"ab"], [score, score], [np.nan] * 2, [np.nan] * 2, "accuracy").plot().ax_
    assert one_fold.get_xlim()[1] <= 1


def test_the_score_of_a_soup_ends_at_one():
    soup = SoupDisplay([*"abcd"], [0.25] * 4, [1, 0.99, 1, 0.98], 1.0, [1.0] * 4, "accuracy").plot()
    low, high = soup.ax_.get_xlim()
    assert low < 0.98 < high == 1


def test_markers_at_the_end_of_the_range_are_shown_whole():
    displays = [
        LeaderboardDisplay([*"abc"], [1.0, 0.98, 0.97], [0.95] * 3, [1.0] * 3, "accuracy"),
        SoupDisplay([*"ab"], None, [1.0, 0.98], 1.0, None, "accuracy"),
        BarrierDisplay(T, 1 - DIP, DIP, score_name="accuracy"),
    ]
    for display in displays:
        display.plot()
        display.figure_.canvas.draw()
        ax = getattr(display, "score_ax_", display.ax_)
        (dots, *_) = (line for line in ax.lines if line.get_marker() == "o")
        radius = dots.get_markersize() / 2 * display.figure_.dpi / 72
        frame = dots.get_clip_box()
        for x, y in ax.transData.transform(dots.get_xydata()):
            assert frame.x0 <= x - radius
            assert x + radius <= frame.x1
            assert y + radius <= frame.y1


def test_lines_stay_on_axes_whose_limits_are_set_by_hand():
    _, (above, ax) = plt.subplots(2, 1)
    display = BarrierDisplay(T, 1 - DIP, DIP, score_name="accuracy").plot([above, ax])
    ax.set_ylim(0.97, 0.98)
    (line,) = (line for line in display.score_ax_.lines if line.get_marker() == "o")
    assert line.get_clip_on()
    assert line.get_clip_box().height <= 1.2 * ax.bbox.height
