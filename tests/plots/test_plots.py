"""Displays: the arrays are right, and drawing shows them."""

import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from sklearn.datasets import load_breast_cancer, load_diabetes

from skfusion import EnsembleClassifier, EnsembleRegressor, ModelPool
from skfusion.collect import Seeds
from skfusion.landscape import Profile
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.plots import BarrierDisplay, LeaderboardDisplay
from skfusion.pool import LeakageWarning


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(scope="module")
def pool():
    X, y = load_breast_cancer(return_X_y=True)
    net = mlp_classifier(max_epochs=5, module__hidden=(8,))
    return EnsembleClassifier(net, collect=Seeds(3), random_state=0).fit(X[::2], y[::2]).pool_


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "accuracy_mean": [0.95, 0.97, 0.2],
            "accuracy_std": [0.01, 0.02, 0.1],
            "accuracy_low": [0.94, 0.95, 0.0],
            "accuracy_high": [0.96, 0.99, 0.4],
            "f1_mean": [0.9, 0.8, 0.7],
            "f1_low": [0.9, 0.8, 0.7],
            "f1_high": [0.9, 0.8, 0.7],
            "gain_over_best": [-0.01, 0.01, np.nan],
        },
        index=["soup", "ensemble", "uniform"],
    )


def test_leaderboard_sorts_and_finds_the_best_single_network(frame):
    display = LeaderboardDisplay.from_frame(frame)
    assert display.names == ["ensemble", "soup", "uniform"]
    assert display.mean.tolist() == [0.97, 0.95, 0.2]
    assert display.low.tolist() == [0.95, 0.94, 0.0]
    assert display.high.tolist() == [0.99, 0.96, 0.4]
    assert display.reference == pytest.approx(0.96)
    assert LeaderboardDisplay.from_frame(frame[frame.columns[:4]]).reference is None
    second = LeaderboardDisplay.from_frame(frame, score="f1")
    assert (second.names[0], second.reference) == ("soup", None)


def test_leaderboard_needs_a_score(frame):
    with pytest.raises(ValueError, match=r"no score 'r2'.*\['accuracy', 'f1'\]"):
        LeaderboardDisplay.from_frame(frame, score="r2")
    with pytest.raises(ValueError, match="compare_fusions"):
        LeaderboardDisplay.from_frame(frame[["gain_over_best"]])


def test_leaderboard_is_drawn(frame):
    display = LeaderboardDisplay.from_frame(frame)
    assert display.plot() is display
    ax = display.ax_
    assert display.figure_ is ax.figure
    assert [label.get_text() for label in ax.get_yticklabels()] == display.names
    assert ax.get_xlabel() == "accuracy, higher is better"
    assert [text.get_text() for text in ax.texts] == ["0.2"]  # far off, so marked at the edge
    left, right = ax.get_xlim()
    assert 0.8 < left < 0.94
    assert right > 0.99


def test_leaderboard_has_the_best_single_network_of_each_pool(frame):
    frame["gain_over_best"] = [-0.01, 0.02, np.nan]
    display = LeaderboardDisplay.from_frame(frame)
    np.testing.assert_allclose(display.reference, [0.95, 0.96, np.nan])  # in the order of the names
    display.plot()
    (strokes,) = (c for c in display.ax_.collections if c.get_label().startswith("best single"))
    ends = [path.vertices for path in strokes.get_paths()]
    assert [end[0, 0] for end in ends] == pytest.approx([0.95, 0.96])
    assert [end[:, 1].mean() for end in ends] == pytest.approx([0, 1])  # each in the row of its fusion
    assert LeaderboardDisplay.from_frame(frame.assign(gain_over_best=np.nan)).reference is None


def test_leaderboard_shows_who_is_tied_with_the_best(frame):
    frame["tied_with_best"] = pd.array([True, True, None], dtype="boolean")
    display = LeaderboardDisplay.from_frame(frame)
    assert display.tied.tolist() == [True, True, False]
    display.plot()
    assert LeaderboardDisplay.from_frame(frame, "f1").tied is None  # which is not the score that was tested
    frame["tied_with_best"] = pd.array([False, True, False], dtype="boolean")
    ax = LeaderboardDisplay.from_frame(frame).plot().ax_
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    faces = {to_hex(line.get_markerfacecolor()).upper(): line.get_xdata().tolist() for line in dots}
    assert faces == {"#0072B2": [0.97], "#FFFFFF": [0.95]}


def test_leaderboard_with_unknown_intervals_on_given_axes():
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    nan = [np.nan] * 2
    assert LeaderboardDisplay(["a", "b"], [0.5, 0.5], nan, nan).plot(ax).ax_ is ax


def test_barrier_of_a_profile():
    t = np.linspace(0, 1, 5)
    loss = np.array([1.0, 2.0, 4.0, 3.0, 2.0])
    display = BarrierDisplay.from_profile(Profile(t, loss, -loss), names=("a", "b"), loss_name="error")
    assert display.barrier == 2.5
    assert display.plot() is display
    assert display.ax_.get_title(loc="left") == "barrier 2.5"
    assert display.ax_.get_ylabel() == "error"
    np.testing.assert_array_equal(display.ax_.lines[0].get_ydata(), loss)
    np.testing.assert_array_equal(display.score_ax_.lines[0].get_ydata(), -loss)
    ticks = [label.get_text() for label in display.score_ax_.get_xticklabels()]
    assert (ticks[0], ticks[-1]) == ("a", "b")


def test_barrier_of_a_flat_line_is_not_blown_up():
    display = BarrierDisplay([0, 1], [0.5, 0.501]).plot()
    assert display.score_ax_ is None
    low, high = display.ax_.get_ylim()
    assert high - low == pytest.approx(0.0501)


def test_barrier_of_a_pool(pool):
    X, y = load_breast_cancer(return_X_y=True)
    display = BarrierDisplay.from_pool(pool, X[1::2], y[1::2], members=("seed-0", 2), n_points=5)
    assert display.names == ("seed-0", "seed-2")
    assert (display.loss_name, display.score_name) == ("cross-entropy (nats)", "accuracy")
    judge = EnsembleClassifier().fuse(pool, X[1::2], y[1::2])
    singles = (judge.predict_members(X[1::2]).argmax(axis=2) == y[1::2]).mean(axis=1)
    assert display.score[[0, -1]] == pytest.approx(singles[[0, 2]])
    same = BarrierDisplay.from_pool(pool, X[1::2], y[1::2], members=(1, 1), n_points=3)
    assert same.barrier == 0


def test_barrier_of_a_pool_from_a_file(pool, tmp_path):
    X, y = load_breast_cancer(return_X_y=True)
    pool.save(tmp_path / "pool")
    loaded = ModelPool.load(tmp_path / "pool")
    with pytest.raises(ValueError, match="give estimator="):
        BarrierDisplay.from_pool(loaded, X[1::2], y[1::2])
    net = mlp_classifier(max_epochs=5, module__hidden=(8,))
    for estimator in (net, EnsembleClassifier(net)):
        found = BarrierDisplay.from_pool(loaded, X[1::2], y[1::2], estimator, n_points=3, scoring="neg_log_loss")
        assert found.score == pytest.approx(-found.loss, rel=1e-4)


def test_barrier_in_regression():
    X, y = load_diabetes(return_X_y=True)
    net = mlp_regressor(max_epochs=3, module__hidden=(8,))
    pool = EnsembleRegressor(net, collect=Seeds(2), random_state=0).fit(X[::2], y[::2]).pool_
    display = BarrierDisplay.from_pool(pool, X[1::2], y[1::2], n_points=3)
    assert (display.loss_name, display.score_name) == ("squared error", "R2")
    assert display.score[0] == pytest.approx(1 - display.loss[0] / y[1::2].var(), rel=1e-4)


def test_barrier_on_training_rows_warns(pool):
    X, y = load_breast_cancer(return_X_y=True)
    with pytest.warns(LeakageWarning, match="285 of the 285 rows"):
        BarrierDisplay.from_pool(pool, X[::2], y[::2], n_points=2)


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "skfusion\[plots\]"'):
        BarrierDisplay([0, 1], [1, 1]).plot()
