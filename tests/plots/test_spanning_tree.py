"""The picture of a spanning tree."""

import numpy as np
import pytest

from skfusion.landscape import MinimaGraph, Profile
from skfusion.plots import SpanningTreeDisplay
from skfusion.plots._spanning_tree import from_left_to_right

T = np.array([0.0, 0.25, 1.0])


def profile(*loss, arc=None):
    return Profile(T, np.array(loss), -np.array(loss), arc)


@pytest.fixture
def graph():
    profiles = {
        ("a", "b"): profile(0.1, 0.6, 0.2, arc=np.array([0.0, 3.0, 4.0])),
        ("a", "c"): profile(0.1, 0.9, 0.3),
        ("b", "c"): profile(0.2, 0.4, 0.3),
    }
    return MinimaGraph({"a": 0.1, "b": 0.2, "c": 0.3}, profiles)


def test_paths_of_the_tree_are_drawn_between_their_networks(graph):
    display = SpanningTreeDisplay.from_graph(graph, "cross-entropy").plot()
    assert [*display.profiles] == [("a", "b"), ("b", "c")]
    assert display.saddles == {("a", "b"): 0.6, ("b", "c"): 0.4}
    ax = display.ax_
    assert [label.get_text() for label in ax.get_xticklabels()] == display.names
    assert ax.get_ylabel() == "cross-entropy"
    assert ax.get_title(loc="left") == "highest pass 0.6"
    first, second, dots = ax.lines
    place = {name: k for k, name in enumerate(display.names)}
    a, b = place["a"], place["b"]
    assert first.get_xdata().tolist() == pytest.approx([a, a + 0.75 * (b - a), b])  # by the length of the path
    assert first.get_ydata().tolist() == [0.1, 0.6, 0.2]
    assert first.get_color() != second.get_color()
    assert sorted(zip(dots.get_xdata().tolist(), dots.get_ydata().tolist(), strict=True)) == sorted(
        (place[name], loss) for name, loss in graph.losses.items()
    )
    assert {text.get_text() for text in ax.texts} == {"0.6", "0.4"}


def test_networks_of_low_passes_stand_side_by_side():
    assert from_left_to_right({("a", "b"): 1.0}) == ["a", "b"]
    chain = from_left_to_right({("a", "d"): 1.0, ("b", "c"): 2.0, ("b", "d"): 3.0})
    assert chain in (["a", "d", "b", "c"], ["c", "b", "d", "a"])
    star = from_left_to_right({("a", "b"): 1.0, ("a", "c"): 2.0, ("a", "d"): 3.0})
    assert sorted(star) == [*"abcd"]
    assert abs(star.index("a") - star.index("b")) == 1
    two = from_left_to_right({("a", "c"): 1.0, ("b", "d"): 2.0})
    assert abs(two.index("a") - two.index("c")) == abs(two.index("b") - two.index("d")) == 1


def test_curves_of_an_estimator_are_drawn(curve, data):
    display = SpanningTreeDisplay.from_estimator(curve, *data[2:], n_points=5).plot()
    assert [*display.profiles] == curve.spanning_tree_
    assert sorted(display.names) == sorted(curve.pool_.names)
    assert display.loss_name == "cross-entropy (nats)"
    assert all(len(p.t) == 5 for p in display.profiles.values())


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="needs at least one path; got none"):
        SpanningTreeDisplay({})
