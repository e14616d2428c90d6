"""Pictures of one member and of forty, and of members with long names: all that is written can be read."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from plots.drawing import OF_NAMES, long_names, outside, overlapping, short_names, similarity, written
from plots.examples import EXAMPLES, GRID, HILL, T

from skfusion.landscape import Profile
from skfusion.plots import (
    BarrierDisplay,
    DiversityDisplay,
    LeaderboardDisplay,
    PlaneDisplay,
    SimilarityDisplay,
    SoupDisplay,
    SpanningTreeDisplay,
    SubspaceDisplay,
    TrajectoryDisplay,
)

COUNTS = [("short", 1), ("short", 12), ("short", 40), ("long", 4), ("long", 12)]
FEWEST = {"spanning_tree": 2}


@pytest.mark.parametrize(("kind", "n"), COUNTS)
@pytest.mark.parametrize("name", OF_NAMES)
def test_no_text_covers_another_or_is_cut(name, kind, n):
    names = (long_names if kind == "long" else short_names)(max(n, FEWEST.get(name, 1)))
    display = OF_NAMES[name](names).plot()
    texts = written(display.figure_)
    assert list(overlapping(texts)) == []
    assert list(outside(display.figure_, texts)) == []


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_absent_is_said_where_nothing_else_stands(name, bad):
    display = EXAMPLES[name](short_names(4), ["loss", "score", "x"], bad).plot()
    texts = written(display.figure_)
    assert list(overlapping(texts)) == []
    assert list(outside(display.figure_, texts)) == []


@pytest.mark.parametrize("name", ["leaderboard", "soup", "similarity", "diversity", "spanning_tree", "chain"])
def test_figures_grow_with_members_and_names(name):
    sizes = [OF_NAMES[name](names).plot().figure_.get_size_inches() for names in (short_names(4), short_names(40))]
    assert sizes[1].prod() > 1.9 * sizes[0].prod()
    longer = OF_NAMES[name](long_names(12)).plot().figure_.get_size_inches()
    shorter = OF_NAMES[name](short_names(12)).plot().figure_.get_size_inches()
    assert longer.prod() > shorter.prod()


@pytest.mark.parametrize(("n", "shown"), [(1, True), (12, True), (30, False), (40, False)])
def test_numbers_of_a_matrix_are_written_where_they_can_be_read(n, shown):
    display = similarity(short_names(n)).plot()
    assert len(display.ax_.texts) == (n * n if shown else 0)
    cell = display.ax_.get_window_extent().width / n
    display.figure_.canvas.draw()
    for text in display.ax_.texts:
        assert text.get_size() >= 6
        assert text.get_window_extent().width < cell


def test_numbers_of_a_matrix_are_left_out_on_small_axes():
    _, ax = plt.subplots(figsize=(2.2, 1.7))
    assert len(similarity(short_names(12)).plot(ax).ax_.texts) == 0
    assert len(ax.get_xticklabels()) < 12  # names that would touch
    _, ax = plt.subplots(figsize=(6, 6))
    assert len(similarity(short_names(4)).plot(ax).ax_.texts) == 16


@pytest.mark.parametrize("name", OF_NAMES)
def test_long_names_can_be_told_apart(name):
    names = [f"{'begin' * 8}-{k}-{'end' * 20}" for k in range(4)]
    display = OF_NAMES[name](names).plot()
    texts = {text.get_text().replace("\n", "") for text in written(display.figure_)}
    shown = {text.partition(": barrier")[0] for text in texts if text.startswith("begi")}
    assert len(shown) >= (4 if name != "trajectory" else 3)


def test_nothing_to_show_is_said():
    empty = LeaderboardDisplay([], [], [], []).plot()
    assert [text.get_text() for text in empty.ax_.texts] == ["no fusions"]
    soup = SoupDisplay([], [], [], np.nan).plot()
    assert [text.get_text() for text in soup.ax_.texts] == ["no members"]
    with pytest.raises(ValueError, match="Contours need two positions or more along each axis"):
        PlaneDisplay([0.0], [0.0], [[1.0]])


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, -2.0, 1e6])
@pytest.mark.parametrize("as_cells", [False, True])
def test_a_plane_of_one_value_says_it_once(value, as_cells):
    display = PlaneDisplay(GRID, GRID, np.full((9, 9), value), as_cells=as_cells).plot()
    (bar,) = display.ax_.child_axes
    display.figure_.canvas.draw()
    assert [float(label.get_text().replace("−", "-")) for label in bar.get_yticklabels() if label.get_text()] == [value]
    triangle = SubspaceDisplay([[0, 0], [1, 0], [0, 1.0]], [value] * 3, {"a": (0, 0), "b": (1, 0), "c": (0, 1)}).plot()
    assert len(triangle.contours_.levels) == 2  # one colour


def test_a_matrix_of_one_value_says_it_once():
    (bar,) = SimilarityDisplay(np.ones((3, 3)), [*"abc"]).plot().ax_.child_axes
    assert bar.get_yticks().tolist() == [1.0]


def test_absent_pairs_are_named_above_a_matrix():
    matrix = np.array([[0.0, np.nan, np.inf], [np.nan, 0.0, 0.3], [np.inf, 0.3, 0.0]])
    display = SimilarityDisplay(matrix, [*"abc"]).plot()
    assert display.ax_.get_title(loc="left") == "grey: 1 pair without a number, 1 pair infinite"
    matrix = np.array([[np.nan, 0.2], [0.2, np.nan]])
    known = {"loss_name": "loss", "mean_loss": 0.3, "ambiguity": 0.1, "ensemble_loss": 0.2}
    title = DiversityDisplay(matrix, [*"ab"], decomposition=known).plot().ax_.get_title(loc="left")
    assert title.split("\n")[-1] == "grey: a member and itself"
    assert SimilarityDisplay(np.eye(2), [*"ab"]).plot().ax_.get_title(loc="left") == ""


def test_absent_states_and_points_are_named():
    display = TrajectoryDisplay([[-1, 0], [np.nan, 1], [0.5, 1], [0, 0]], [*"abcd"], (0.7, 0.2)).plot()
    assert "1 of 4 states left out: not finite" in {text.get_text() for text in written(display.figure_)}
    assert len(display.ax_.lines[0].get_xdata()) == 3
    display = PlaneDisplay(GRID, GRID, np.add.outer(GRID, GRID), {"a": (0, 0), "b": (np.nan, 0)}).plot()
    assert "at no finite place: b" in {text.get_text() for text in written(display.figure_)}


def test_absent_losses_of_a_tree_are_counted():
    bad = HILL.copy()
    bad[3] = np.nan
    profiles = {("a", "b"): Profile(T, bad, T), ("b", "c"): Profile(T, HILL, T), ("c", "d"): Profile(T, T * np.nan, T)}
    ax = SpanningTreeDisplay(profiles).plot().ax_
    assert ax.get_title(loc="left") == "highest pass unknown; no loss on parts of 2 of 3 paths"
    assert [text.get_text() for text in ax.texts] == ["2.9"]


def test_points_without_room_for_a_name_are_counted():
    points = {f"network {k}": (0.001 * k, 0.0) for k in range(40)}
    display = PlaneDisplay(GRID, GRID, np.add.outer(GRID**2, GRID**2), points).plot()
    texts = [text.get_text() for text in written(display.figure_)]
    named = len([text for text in texts if text.startswith("network")])
    assert 0 < named < 40
    assert f"{40 - named} of 40 not named, for want of room" in texts
    assert list(overlapping(written(display.figure_))) == []


def test_many_networks_off_the_plane_take_one_line_of_the_legend():
    points = {f"n{k}": (0.2 * k - 0.9, 0.0) for k in range(9)}
    display = PlaneDisplay(GRID, GRID, np.add.outer(GRID**2, GRID**2), points, off=dict.fromkeys(points, 0.5))
    (text,) = display.plot().ax_.get_legend().get_texts()
    assert text.get_text() == "9 networks off the plane, by 0.5 to 0.5"


def test_a_long_legend_is_outside_of_the_data_and_makes_the_figure_higher():
    paths = {name: Profile(T, HILL, 1 - HILL / 4) for name in long_names(5)}
    display = BarrierDisplay.from_profiles(paths).plot()
    few = BarrierDisplay.from_profiles(dict([*paths.items()][:2])).plot()
    assert display.figure_.get_figheight() > few.figure_.get_figheight()
    display.figure_.canvas.draw()
    box = display.ax_.get_legend().get_window_extent()
    assert box.y0 >= display.ax_.bbox.y1 - 1
    assert box.x1 <= display.figure_.bbox.x1


@pytest.mark.parametrize("name", OF_NAMES)
def test_small_axes_keep_their_place_and_show_the_legend(name):
    figure, axes = plt.subplots(2, 2, figsize=(5, 4))
    before = axes[1, 0].get_position().bounds
    display = OF_NAMES[name](short_names(4)).plot(axes[1, 0])
    figure.canvas.draw()
    assert display.ax_ is axes[1, 0]
    assert axes[1, 0].get_position(original=True).bounds == before
    assert not any(ax.has_data() or ax.texts for ax in axes.ravel() if ax is not axes[1, 0])
    if legend := display.ax_.get_legend():
        box = legend.get_window_extent()
        assert box.y1 <= axes[0, 0].get_window_extent().y0 + 1
        assert box.y1 <= figure.bbox.y1
    assert list(overlapping(display.ax_.texts)) == []
