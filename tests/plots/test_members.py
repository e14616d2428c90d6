"""Pictures of members side by side: how alike they are, and what a soup of them gains."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes

from skfusion import EnsembleClassifier, SoupClassifier, SoupRegressor, WeightAveragingClassifier
from skfusion.align import WeightMatching
from skfusion.collect import FineTunes
from skfusion.diagnose import cka, diagnose, pairwise
from skfusion.evaluate import pool_on_data
from skfusion.merge import TIES, Greedy, Uniform
from skfusion.nets import mlp_regressor
from skfusion.plots import SimilarityDisplay, SoupDisplay
from skfusion.select import TopK


@pytest.fixture(scope="module")
def tunes(data, net):
    collect = FineTunes({"lr": [0.1, 0.03, 0.01]}, n_members=4, init=3)
    return EnsembleClassifier(net, collect=collect, random_state=0).fit(*data[:2]).pool_


def test_similarity_of_pairs(tunes, data):
    frame = pairwise(tunes, *data[2:])
    for what, diagonal in {"barrier": 0, "distance": 0, "cosine": 1, "sign_conflict": 0, "gain": np.nan}.items():
        display = SimilarityDisplay.from_pairs(frame, what)
        assert display.names == tunes.names
        np.testing.assert_array_equal(np.diag(display.matrix), [diagonal] * 4)
        np.testing.assert_array_equal(display.matrix[np.triu_indices(4, 1)], frame[what])
        np.testing.assert_array_equal(display.matrix, display.matrix.T)
    assert display.label == "gain"
    assert SimilarityDisplay.from_pairs(frame, "gain", label="accuracy").label == "accuracy"


def test_similarity_of_a_diagnosis(tunes, data):
    pairs = diagnose(tunes, *data[2:], n_points=3).pairs
    wanted = {"agreement": 1, "cka_mean": 1, "cka_last": 1, "cosine": 1, "distance": 0, "barrier_raw": 0}
    for what, diagonal in (wanted | {"fall_weights": 0, "midpoint_line": np.nan}).items():
        display = SimilarityDisplay.from_pairs(pairs, what)
        np.testing.assert_array_equal(np.diag(display.matrix), [diagonal] * 4)
        np.testing.assert_array_equal(display.matrix[np.triu_indices(4, 1)], pairs[what])
    display = SimilarityDisplay.from_pairs(pairs)
    np.testing.assert_array_equal(display.matrix, SimilarityDisplay.from_pairs(pairs, "barrier_line").matrix)
    np.testing.assert_array_equal(np.diag(display.matrix), [0] * 4)
    assert display.label == "barrier of the loss, recalibrated"
    assert SimilarityDisplay.from_pairs(pairs, "agreement").label == "agreement of predictions"
    for what in ("likeness", "reason"):
        with pytest.raises(ValueError, match=f"column '{what}' of numbers; it has ") as caught:
            SimilarityDisplay.from_pairs(pairs, what)
        assert "'fall_line'" in str(caught.value)
        assert "'reason'," not in str(caught.value)


@pytest.mark.parametrize("what", ["barrier", "distance", "cosine", "sign_conflict"])
def test_similarity_of_a_pool_is_that_of_its_pairs(tunes, data, what):
    display = SimilarityDisplay.from_pool(tunes, *data[2:], what, n_points=5)
    expected = SimilarityDisplay.from_pairs(pairwise(tunes, *data[2:], n_points=5), what)
    np.testing.assert_allclose(display.matrix, expected.matrix, atol=1e-9)
    if what != "barrier":
        np.testing.assert_array_equal(SimilarityDisplay.from_pool(tunes, what=what).matrix, display.matrix)


def test_similarity_of_outputs(pool, data):
    display = SimilarityDisplay.from_pool(pool, *data[2:], "cka")
    assert display.matrix.shape == (3, 3)
    np.testing.assert_allclose(np.diag(display.matrix), 1)
    assert (display.matrix <= 1).all()
    asked = pool_on_data(pool, *data[2:])
    outputs = [np.asarray(asked.runner.raw(state, asked.rows.X)) for state in asked.states]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert display.matrix[i, j] == pytest.approx(cka(outputs[i], outputs[j]), rel=1e-6)
    assert display.label == "CKA of outputs"
    with pytest.raises(ValueError, match="at least 4 rows; got 3"):
        SimilarityDisplay.from_pool(pool, data[2][:3], data[3][:3], "cka")


def test_similarity_is_drawn():
    matrix = np.array([[0.0, 0.2, np.nan], [0.2, 0.0, 0.9], [np.nan, 0.9, 0.0]])
    display = SimilarityDisplay(matrix, ["a", "b", "c"], "barrier (nats)")
    assert display.plot() is display
    ax = display.ax_
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    assert ax.child_axes[0].get_ylabel() == "barrier (nats)"
    np.testing.assert_array_equal(display.image_.get_array().filled(np.nan), matrix)
    written = {text.get_position(): (text.get_text(), text.get_color()) for text in ax.texts}
    assert written[(1, 0)] == ("0.2", "white")  # on a dark ground
    assert written[(2, 1)] == ("0.9", "black")
    assert len(written) == 7  # nothing where nothing is known


@pytest.mark.parametrize("value", [0.3, 0.0, -1.0])
def test_similarity_of_equal_members(value):
    display = SimilarityDisplay(np.full((2, 2), value), ["a", "b"]).plot()
    low, high = display.image_.get_clim()
    assert low == value < high


def test_similarities_that_are_none(pool, tunes, data):
    with pytest.raises(ValueError, match="'barrier' is measured on data: give X and y"):
        SimilarityDisplay.from_pool(pool)
    with pytest.raises(ValueError, match="the pool has no base: give what='distance'"):
        SimilarityDisplay.from_pool(pool, what="cosine")
    with pytest.raises(ValueError, match=r"what must be one of \['distance'.*got 'likeness'"):
        SimilarityDisplay.from_pool(pool, what="likeness")
    with pytest.raises(ValueError, match="the column 'barrier'"):
        SimilarityDisplay.from_pairs(pairwise(tunes))
    with pytest.raises(ValueError, match="an index of 1 levels"):
        SimilarityDisplay.from_pairs(pd.DataFrame({"barrier": [1.0]}))
    with pytest.raises(ValueError, match="symmetric"):
        SimilarityDisplay([[0, 1], [2, 0]], ["a", "b"])
    with pytest.raises(ValueError, match="a row and a column for each of the 3 names"):
        SimilarityDisplay(np.eye(2), ["a", "b", "c"])
    with pytest.raises(ValueError, match="All numbers are NaN"):
        SimilarityDisplay(np.full((2, 2), np.nan), ["a", "b"]).plot()


def test_similarity_on_given_axes():
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    assert SimilarityDisplay(np.eye(2), ["a", "b"]).plot(ax).ax_ is ax


def test_greedy_soup_on_new_rows(tunes, data):
    X, y = data[2:]
    soup = SoupClassifier(collect=tunes, merge=Greedy()).fit(X[::2], y[::2])
    display = SoupDisplay.from_estimator(soup, X[1::2], y[1::2])
    joined = [tunes.names[k] for k in soup.merge_report_["members"]]
    assert len(joined) > 1
    assert display.names[: len(joined)] == joined
    assert display.weights == pytest.approx([soup.member_weights_[name] for name in display.names])
    P = EnsembleClassifier().fuse(tunes, X, y).predict_members(X[1::2])
    singles = dict(zip(tunes.names, (P.argmax(axis=2) == y[1::2]).mean(axis=1), strict=True))
    assert display.scores == pytest.approx([singles[name] for name in display.names])
    assert display.soup_score == pytest.approx(soup.score(X[1::2], y[1::2]))
    assert display.gain == pytest.approx(display.soup_score - max(singles.values()))
    for n in range(1, len(joined) + 1):  # the soup of the first n ingredients
        part = SoupClassifier(collect=tunes[joined[:n]], merge=Uniform()).fit(X, y)
        assert display.after[n - 1] == pytest.approx(part.score(X[1::2], y[1::2]))
    assert np.isnan(display.after[len(joined) :]).all()
    assert display.score_name == "accuracy"


def test_greedy_soup_on_its_held_out_rows(tunes, data):
    soup = SoupClassifier(collect=tunes, merge=Greedy()).fit(*data[2:])
    display = SoupDisplay.from_estimator(soup)
    assert display.soup_score == soup.merge_report_["score"]
    assert display.scores.max() == soup.merge_report_["best_member_score"]
    assert display.gain >= 0
    assert (display.after, display.score_name) == (None, "held-out accuracy")
    assert SoupDisplay.from_estimator(soup, *data[2:]).soup_score == pytest.approx(display.soup_score)


def test_soup_of_matched_members(pool, data):
    soup = SoupClassifier(collect=pool, align=WeightMatching(), merge=Greedy()).fit(*data[2:])
    matched = pool.replace([m.replace(state=soup.alignments_[m.name].apply(m.state)) for m in pool])
    found = []
    for some in (soup, SoupClassifier(collect=matched, merge=Greedy()).fit(*data[2:])):
        some.merge_report_["members"] = [0, 1, 2]
        found.append(SoupDisplay.from_estimator(some, *data[2:], scoring="neg_log_loss"))
    assert found[0].names == found[1].names == pool.names
    np.testing.assert_allclose(found[0].after, found[1].after, rtol=1e-4)


def test_ingredients_that_join_again(tunes, data):
    soup = SoupClassifier(collect=tunes, merge=Greedy()).fit(*data[2:])
    soup.merge_report_["members"] = [2, 1, 2]
    display = SoupDisplay.from_estimator(soup, *data[2:])
    both = SoupClassifier(collect=tunes[[2, 1]], merge=Uniform()).fit(*data[2:])
    assert display.names[:2] == [tunes.names[2], tunes.names[1]]
    assert display.after[:2] == pytest.approx([display.scores[0], both.score(*data[2:])])  # when they first joined
    assert np.isnan(display.after[2:]).all()


def test_members_that_were_not_selected_have_no_weight(pool, data):
    soup = SoupClassifier(collect=pool, select=TopK(2), merge=Uniform()).fit(*data[2:])
    display = SoupDisplay.from_estimator(soup, *data[2:])
    assert sorted(display.weights) == [0, 0.5, 0.5]
    assert display.weights[np.argmin(display.scores)] == 0
    assert display.after is None
    with pytest.raises(ValueError, match=r"Uniform\(\) did not score.*give X and y"):
        SoupDisplay.from_estimator(soup)


def test_soup_that_is_no_sum(tunes, data):
    soup = SoupClassifier(collect=tunes, merge=TIES()).fit(*data[2:])
    display = SoupDisplay.from_estimator(soup, *data[2:])
    assert display.weights is None
    assert display.plot().weights_ax_ is None
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == display.names


def test_weight_averaging_and_regression(data, net):
    swa = WeightAveragingClassifier(net, burn_in=0.2, random_state=0).fit(*data[:2])
    display = SoupDisplay.from_estimator(swa, *data[2:])
    assert display.soup_score == pytest.approx(swa.score(*data[2:]))
    X, y = load_diabetes(return_X_y=True)
    soup = SoupRegressor(mlp_regressor(max_epochs=2), collect=FineTunes(n_members=2, init=1), random_state=0)
    display = SoupDisplay.from_estimator(soup.fit(X[::2], y[::2]))
    assert display.score_name == "held-out R2"


def test_soup_is_drawn():
    after = [0.9, 0.94, np.nan]
    display = SoupDisplay(["a", "b", "c"], [0.5, 0.5, 0], [0.9, 0.88, 0.7], 0.94, after, "accuracy")
    assert display.gain == pytest.approx(0.04)
    assert display.plot() is display
    assert [bar.get_width() for bar in display.weights_ax_.patches] == [0.5, 0.5, 0]
    assert [text.get_text() for text in display.weights_ax_.texts] == ["0.5", "0.5", "0"]
    drawn = {line.get_label(): line.get_xdata() for line in display.ax_.lines}
    np.testing.assert_array_equal(drawn["member"], display.scores)
    assert list(dict.fromkeys(drawn["soup once it has joined"])) == after[:2]
    assert list(drawn["soup: 0.94"]) == [0.94, 0.94]
    assert [label.get_text() for label in display.weights_ax_.get_yticklabels()] == display.names
    assert display.ax_.get_xlabel() == "accuracy\n(gain over the best member: +0.04)"
    with pytest.raises(ValueError, match="scores needs one number for each of the 3 names"):
        SoupDisplay(["a", "b", "c"], None, [0.9], 0.94)


def test_soup_on_given_axes():
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, 2)
    display = SoupDisplay(["a", "b"], [0.5, 0.5], [0.9, 0.8], 0.9)
    assert (display.plot(axes).weights_ax_, display.ax_) == (axes[0], axes[1])
    _, ax = plt.subplots()
    assert (display.plot(ax).weights_ax_, display.ax_) == (None, ax)


def test_what_is_no_soup(pool, data):
    ensemble = EnsembleClassifier(collect=pool).fit(*data[2:])
    with pytest.raises(TypeError, match="EnsembleClassifier has no merge_report_: give a fitted SoupClassifier"):
        SoupDisplay.from_estimator(ensemble)
    soup = SoupClassifier(collect=pool, merge=Uniform()).fit(*data[2:])
    with pytest.raises(ValueError, match="both X and y, or neither"):
        SoupDisplay.from_estimator(soup, data[2])
