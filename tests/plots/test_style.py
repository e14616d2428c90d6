"""One colour for each idea, on any style sheet, and settings of Matplotlib left as they were found."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from plots.drawing import OF_NAMES, short_names, written
from plots.examples import EXAMPLES, GRID, HILL, T

from skfusion.landscape import Profile
from skfusion.plots import (
    BarrierDisplay,
    CurveDisplay,
    LeaderboardDisplay,
    PlaneDisplay,
    SimilarityDisplay,
    SoupDisplay,
    SpanningTreeDisplay,
    SubspaceDisplay,
)
from skfusion.plots._style import ALIGNED, AS_TRAINED, BEST_MEMBER, CURVE, ENSEMBLE, FUSION, MERGED, strokes

LABELS = ["loss", "score", "x"]


def colours(ax):
    """Colour of each line by the beginning of its label."""
    return {line.get_label().split(":")[0].split(",")[0]: to_hex(line.get_color()).upper() for line in ax.lines}


def test_an_idea_has_one_colour_in_every_display():
    profile = Profile(T, HILL, 1 - HILL / 4)
    matched = BarrierDisplay(T, HILL, 1 - HILL / 4, others={"units matched": profile}).plot()
    for ax in (matched.ax_, matched.score_ax_):
        found = colours(ax)
        assert (found["as trained"], found["units matched"]) == (AS_TRAINED, ALIGNED)
    alone = BarrierDisplay(T, HILL, 1 - HILL / 4).plot()
    for ax in (alone.ax_, alone.score_ax_):
        assert to_hex(ax.lines[0].get_color()).upper() == AS_TRAINED
    aligned = BarrierDisplay(T, HILL, label="units matched").plot()
    assert to_hex(aligned.ax_.lines[0].get_color()).upper() == ALIGNED
    curve = CurveDisplay.from_profiles(profile, profile, ensemble_score=0.9).plot()
    found = colours(curve.score_ax_)
    assert (found["straight line"], found["trained curve"]) == (AS_TRAINED, CURVE)
    assert found["ensemble along the curve"] == ENSEMBLE
    path = np.column_stack([GRID, GRID**2])
    found = colours(PlaneDisplay(GRID, GRID, np.add.outer(GRID, GRID), path=path, bends=[[0, -0.5]]).plot().ax_)
    assert (found["straight line"], found["trained curve"], found["bend"]) == (AS_TRAINED, CURVE, CURVE)
    soup = SoupDisplay([*"ab"], [0.5, 0.5], [0.9, 0.8], 0.95, [0.9, 0.95], "accuracy").plot()
    found = colours(soup.ax_)
    assert (found["member"], found["best member"], found["soup"]) == (AS_TRAINED, BEST_MEMBER, MERGED)
    assert found["soup once it has joined"] == MERGED
    assert {to_hex(bar.get_facecolor()).upper() for bar in soup.weights_ax_.patches} == {MERGED}
    board = LeaderboardDisplay([*"ab"], [0.9, 0.8], [0.8, 0.7], [1, 0.9], reference=0.85).plot()
    found = colours(board.ax_)
    assert (found["mean"], found["best single network"]) == (FUSION, BEST_MEMBER)
    each = LeaderboardDisplay([*"ab"], [0.9, 0.8], [0.8, 0.7], [1, 0.9], reference=[0.85, 0.8]).plot()
    (marks,) = (c for c in each.ax_.collections if c.get_label().startswith("best single"))
    assert to_hex(marks.get_color()[0]).upper() == BEST_MEMBER
    chain = SubspaceDisplay(T[:, None], HILL, {"a": (0.0,), "b": (1.0,)}).plot()
    assert to_hex(chain.ax_.lines[0].get_color()).upper() == CURVE
    tree = SpanningTreeDisplay({("a", "b"): profile}).plot()
    assert to_hex(tree.ax_.lines[0].get_color()).upper() == CURVE


def test_the_report_of_a_diagnosis_has_the_same_colours():
    from skfusion.diagnose.render._page import _STROKES

    found = {how: colour.upper() for how, (colour, _) in _STROKES.items()}
    assert found == {"raw": AS_TRAINED, "line": AS_TRAINED, "weights": ALIGNED, "activations": ALIGNED}
    assert len({*_STROKES.values()}) == 4


def test_ideas_differ_in_colour():
    assert len({AS_TRAINED, ALIGNED, MERGED, ENSEMBLE, BEST_MEMBER, CURVE}) == 6


def test_lines_of_other_labels_take_what_is_left():
    assert strokes(["as trained", "a", "b"])[0][0] == AS_TRAINED
    for labels in (
        ["a", "b", "c", "d", "e"],
        ["as trained", "units matched", "a"],
        ["a", "trained curve", "as trained"],
    ):
        found = strokes(labels)
        assert len({colour for colour, _, _ in found}) == len({found_one[1:] for found_one in found}) == len(labels)
    assert strokes(["a", "trained curve", "as trained"])[1:] == strokes(["trained curve", "as trained"])


def contrast(a, b):
    """Ratio of the luminances of two colours, as the web's accessibility rules define it."""

    def luminance(colour):
        parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return float(np.dot(parts, [0.2126, 0.7152, 0.0722]))

    bright, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("sheet", ["default", "dark_background", "ggplot", "grayscale"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_written_can_be_read_on_any_style_sheet(name, sheet):
    with plt.style.context(sheet):
        display = EXAMPLES[name](short_names(4), LABELS, np.nan).plot()
        ground = display.figure_.get_facecolor()
        for text in written(display.figure_):
            if not text.get_path_effects() and text not in display.ax_.texts:  # which have an outline, or a cell below
                assert contrast(text.get_color(), ground) > 2.7, text.get_text()
        for line in display.ax_.get_xgridlines() + display.ax_.get_ygridlines():
            if line.get_visible():
                assert contrast(line.get_color(), display.ax_.get_facecolor()) < 2


def test_no_grid_crosses_cells():
    with plt.style.context("ggplot"):
        for display in (SimilarityDisplay(np.eye(3), [*"abc"]), EXAMPLES["cells"](short_names(4), LABELS, None)):
            ax = display.plot().ax_
            assert not any(line.get_visible() for line in ax.get_xgridlines() + ax.get_ygridlines())


def test_open_circles_have_the_ground_of_the_axes():
    with plt.style.context("dark_background"):
        ax = LeaderboardDisplay([*"ab"], [0.9, 0.8], [0.8, 0.7], [1, 0.9], tied=[True, False]).plot().ax_
        faces = {to_hex(line.get_markerfacecolor()) for line in ax.lines}
    assert "#000000" in faces
    assert "#ffffff" not in faces


@pytest.mark.parametrize("name", OF_NAMES)
def test_settings_are_left_as_they_were_found(name):
    with plt.rc_context({"font.size": 8.0, "axes.grid": True, "figure.figsize": (3.0, 2.0)}):
        before, backend, cycle = dict(mpl.rcParams), mpl.get_backend(), plt.rcParams["axes.prop_cycle"]
        figure, ax = plt.subplots()
        display = OF_NAMES[name](short_names(3))
        assert display.plot(ax) is display
        figure.canvas.draw()
        assert (dict(mpl.rcParams), mpl.get_backend()) == (before, backend)
        assert plt.rcParams["axes.prop_cycle"] is cycle or plt.rcParams["axes.prop_cycle"] == cycle
        assert figure.get_size_inches().tolist() == [3.0, 2.0]
        assert figure.get_layout_engine() is None
        assert plt.get_fignums() == [figure.number]
        assert plt.gca() is ax


def test_large_fonts_grow_no_further_than_the_figure():
    with plt.rc_context({"font.size": 14.0}):
        texts = written(BarrierDisplay(T, HILL, 1 - HILL / 4, ("first", "second")).plot().figure_)
    assert all(text.get_window_extent().x0 > -3 for text in texts)
