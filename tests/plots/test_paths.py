"""Pictures of loss and score along paths: lines before and after alignment, and trained curves."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from skfusion import CurveRegressor, EnsembleClassifier, ReBasinMerger, SoupClassifier
from skfusion.align import WeightMatching
from skfusion.collect import Seeds
from skfusion.connect import Bezier
from skfusion.landscape import Profile
from skfusion.merge import Uniform
from skfusion.nets import mlp_regressor
from skfusion.plots import BarrierDisplay, CurveDisplay
from skfusion.select import TopK

T = np.linspace(0, 1, 5)
HILL = Profile(T, np.array([1.0, 2.0, 4.0, 3.0, 2.0]), np.array([0.9, 0.7, 0.5, 0.7, 0.8]))
FLAT = Profile(T, np.array([1.0, 1.5, 1.5, 2.0, 2.0]), np.array([0.9, 0.9, 0.9, 0.8, 0.8]))


def cross_entropy(P, y):
    return -np.log(P[np.arange(len(y)), y]).mean()


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def test_several_profiles_in_one_picture():
    display = BarrierDisplay.from_profiles({"before": HILL, "after": FLAT}, names=("a", "b"), score_name="accuracy")
    assert (display.barrier, display.barriers) == (2.5, {"before": 2.5, "after": 0.25})
    assert display.plot() is display
    for ax, what in ((display.ax_, "loss"), (display.score_ax_, "score")):
        drawn = {line.get_label(): line for line in ax.lines}
        before, after = drawn["before: barrier 2.5"], drawn["after: barrier 0.25"]
        np.testing.assert_array_equal(before.get_ydata(), getattr(HILL, what))
        np.testing.assert_array_equal(after.get_ydata(), getattr(FLAT, what))
        for trait in ("get_color", "get_linestyle", "get_marker"):  # told apart without colour too
            assert getattr(before, trait)() != getattr(after, trait)()
        assert len(ax.lines) == 3  # the ends are the same, so there is one line between their levels
    assert texts(display.ax_.get_legend()) == ["before: barrier 2.5", "after: barrier 0.25"]
    assert display.score_ax_.get_ylabel() == "accuracy"


@pytest.mark.parametrize(("height", "arrows"), [(0.3, 1), (0.0002, 0)])
def test_a_barrier_that_cannot_be_seen_has_no_arrow(height, arrows):
    ax = BarrierDisplay(T, 0.08 + height * np.sin(np.pi * T)).plot().ax_
    assert sum(text.arrow_patch is not None for text in ax.texts) == arrows


def test_paths_with_unlike_ends_each_have_their_level():
    other = Profile(T, HILL.loss + 1, HILL.score)
    display = BarrierDisplay.from_profiles({"a": HILL, "b": other}).plot()
    assert [len(ax.lines) for ax in (display.ax_, display.score_ax_)] == [4, 3]


def test_several_profiles_on_given_axes():
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(3, 1)
    display = BarrierDisplay.from_profiles({"before": HILL, "after": FLAT}).plot(axes[:2])
    assert (display.ax_, display.score_ax_) == (axes[0], axes[1])
    alone = BarrierDisplay.from_profiles({"before": HILL, "after": FLAT}).plot(axes[2])
    assert (alone.ax_, alone.score_ax_) == (axes[2], None)


@pytest.mark.parametrize("n", [0, 6])
def test_profiles_that_cannot_be_told_apart(n):
    with pytest.raises(ValueError, match="at least one profile" if n == 0 else "can tell 5 paths apart; got 6"):
        BarrierDisplay.from_profiles({f"path {i}": HILL for i in range(n)})


def test_alignment_of_two_members_of_a_pool(pool, data):
    display = BarrierDisplay.from_pool(pool, *data[2:], align=WeightMatching(), n_points=7)
    before, after = display.barriers.values()
    assert [*display.barriers] == ["as trained", "units matched"]
    assert after < before
    aligned = display.others["units matched"]
    np.testing.assert_allclose(aligned.loss[[0, -1]], display.loss[[0, -1]], rtol=1e-5)  # the same functions
    plain = BarrierDisplay.from_pool(pool, *data[2:], n_points=7)
    np.testing.assert_array_equal(plain.loss, display.loss)
    assert BarrierDisplay.from_pool(pool, *data[2:], n_points=2, label="units matched").label == "units matched"
    with pytest.raises(TypeError, match=r"an Aligner, such as WeightMatching\(\); got 'weights'"):
        BarrierDisplay.from_pool(pool, *data[2:], align="weights")


def test_a_path_needs_two_members(pool, data):
    with pytest.raises(ValueError, match=r"needs 2 members.*it has 1: \['seed-0'\]"):
        BarrierDisplay.from_pool(pool[:1], *data[2:])
    with pytest.raises(ValueError, match=r"needs 2 members; got members=\[0\]"):
        BarrierDisplay.from_pool(pool, *data[2:], members=(0,))


def test_barriers_are_those_that_the_merger_measured(pool, data):
    merger = ReBasinMerger(members=pool[:2], n_points=5).fit(*data[2:])
    display = BarrierDisplay.from_estimator(merger, *data[2:], n_points=5)
    assert [*display.barriers.values()] == pytest.approx([merger.barrier_["before"], merger.barrier_["after"]])
    assert display.names == ("seed-0", "seed-1")


def test_members_of_a_soup(pool, data):
    soup = SoupClassifier(collect=pool, select=TopK(2), align=WeightMatching(), merge=Uniform()).fit(*data[2:])
    kept = [*soup.alignments_]
    display = BarrierDisplay.from_estimator(soup, *data[2:], n_points=3)
    assert display.names == tuple(kept)
    middle = display.others["units matched"].score[1]
    assert middle == pytest.approx(soup.score(*data[2:]))  # the soup is the middle of the line
    left = [name for name in pool.names if name not in kept]
    with pytest.raises(ValueError, match=f"{left[0]}.*were not selected"):
        BarrierDisplay.from_estimator(soup, *data[2:], members=(kept[0], left[0]))
    plain = SoupClassifier(collect=pool, merge=Uniform()).fit(*data[2:])
    assert [*BarrierDisplay.from_estimator(plain, *data[2:], n_points=3).barriers] == ["as trained"]


def test_an_ensemble_has_no_barrier(pool, data):
    with pytest.raises(TypeError, match="EnsembleClassifier has no alignments_: give a fitted SoupClassifier"):
        BarrierDisplay.from_estimator(EnsembleClassifier(collect=pool).fit(*data[2:]), *data[2:])


def test_curve_of_profiles():
    display = CurveDisplay.from_profiles(FLAT, HILL, ensemble_score=0.95, names=("a", "b"), score_name="accuracy")
    assert display.barriers == {"straight line": 2.5, "trained curve": 0.25}
    assert display.plot() is display
    drawn = {line.get_label(): line.get_ydata() for line in display.score_ax_.lines}
    np.testing.assert_array_equal(drawn["trained curve: barrier 0.25"], FLAT.score)
    np.testing.assert_array_equal(drawn["straight line: barrier 2.5"], HILL.score)
    assert list(drawn["ensemble along the curve: 0.95"]) == [0.95, 0.95]
    np.testing.assert_array_equal(display.ax_.lines[-1].get_ydata(), [1.0, 2.0])  # the level of the ends
    with pytest.raises(ValueError, match="The curve has 5 positions and the line has 2"):
        CurveDisplay.from_profiles(FLAT, Profile(T[[0, -1]], T[[0, -1]], T[[0, -1]]))
    with pytest.raises(ValueError, match="both the curve and the line, or of neither"):
        CurveDisplay(T, FLAT.loss, HILL.loss, FLAT.score)


def test_curve_of_losses_alone():
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    display = CurveDisplay(T, FLAT.loss, HILL.loss, ensemble_score=0.5).plot(ax)
    assert (display.ax_, display.score_ax_) == (ax, None)
    assert len(ax.lines) == 3


def test_curve_of_an_estimator(curve, data):
    display = CurveDisplay.from_estimator(curve, *data[2:], n_points=5)
    first = next(iter(curve.curves_))
    assert display.names == first
    assert (display.loss_name, display.score_name) == ("cross-entropy (nats)", "accuracy")
    ensemble = EnsembleClassifier().fuse(curve.pool_, *data[2:])
    P = dict(zip(curve.pool_.names, ensemble.predict_members(data[2]), strict=True))
    losses = [cross_entropy(P[name], data[3]) for name in first]
    np.testing.assert_allclose(display.curve_loss[[0, -1]], losses, rtol=1e-4)
    np.testing.assert_allclose(display.line_loss[[0, -1]], losses, rtol=1e-4)
    assert display.curve_loss[1:-1].mean() < display.line_loss[1:-1].mean()  # it was trained
    assert display.plot().score_ax_ is not None


def test_the_ensemble_is_that_of_the_estimator(pool, data, net):
    from skfusion import CurveClassifier

    estimator = CurveClassifier(net, collect=pool[:2], connect=Bezier(n_epochs=2), n_points=4).fit(*data[2:])
    display = CurveDisplay.from_estimator(estimator, *data[2:], n_points=3)
    assert display.ensemble_score == pytest.approx(estimator.score(*data[2:]))
    by_loss = CurveDisplay.from_estimator(estimator, *data[2:], n_points=3, scoring="neg_log_loss")
    expected = -cross_entropy(estimator.predict_proba(data[2]), data[3])
    assert by_loss.ensemble_score == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(by_loss.curve_score, -by_loss.curve_loss, rtol=1e-4)


def test_pairs_of_a_curve(curve, data):
    second = [*curve.curves_][1]
    assert CurveDisplay.from_estimator(curve, *data[2:], pair=second[::-1], n_points=2).names == second
    with pytest.raises(ValueError, match=r"no curve between \('seed-0', 'seed-0'\)"):
        CurveDisplay.from_estimator(curve, *data[2:], pair=("seed-0", "seed-0"))
    with pytest.raises(TypeError, match="ReBasinMerger has no curves_: give a fitted CurveClassifier"):
        CurveDisplay.from_estimator(ReBasinMerger(members=curve.pool_, n_points=0).fit(*data[2:]), *data[2:])


def test_curve_in_regression():
    X, y = load_diabetes(return_X_y=True)
    net = mlp_regressor(max_epochs=3, module__hidden=(8,))
    estimator = CurveRegressor(net, collect=Seeds(2), connect=Bezier(n_epochs=2), n_points=3, random_state=0)
    estimator.fit(X[::2], y[::2])
    display = CurveDisplay.from_estimator(estimator, X[1::2], y[1::2], n_points=3)
    assert (display.loss_name, display.score_name) == ("squared error", "R2")
    assert display.ensemble_score == pytest.approx(estimator.score(X[1::2], y[1::2]), rel=1e-4)
