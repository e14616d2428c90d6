"""Rows that ``fuse`` holds out: which are meant, and which groups stay together."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

from skfusion import CurveClassifier, EnsembleClassifier, SoupClassifier
from skfusion.collect import Seeds
from skfusion.connect import Connector, Line
from skfusion.data import held_positions
from skfusion.merge import Greedy
from skfusion.nets import mlp_classifier
from skfusion.pool import ModelPool

pytestmark = pytest.mark.filterwarnings("ignore::skfusion.pool.LeakageWarning")  # members of all rows will do here

X, y = load_iris(return_X_y=True)
X = X.astype(np.float32) + np.linspace(0, 1e-3, 150, dtype=np.float32)[:, None]  # no two rows are alike
NET = mlp_classifier(max_epochs=2, module__hidden=(6,))
HELD = np.arange(0, 150, 7)
MASK = np.isin(np.arange(150), HELD)


@pytest.fixture(scope="module")
def pool() -> ModelPool:
    return EnsembleClassifier(NET, collect=Seeds(2), random_state=0).fit(X, y).pool_


class Seeing(Connector):
    """Keeps the rows that it is given to train on."""

    seen: list = []  # noqa: RUF012

    def __call__(self, states, objective=None):
        self.seen.append(np.concatenate([batch.x.numpy() for batch in objective.training()]))
        return Line()(states)


def positions_of(rows):
    return [int(np.flatnonzero((row == X).all(axis=1))[0]) for row in rows]


@pytest.mark.parametrize("held", [HELD, HELD.tolist(), HELD.astype(np.uint8), MASK, MASK.tolist()], ids="abcde")
@pytest.mark.parametrize("predict_with", ["ensemble", "best"])
def test_masks_and_positions_mean_the_same_rows(pool, held, predict_with):
    Seeing.seen.clear()
    fitted = CurveClassifier(NET, connect=Seeing(), n_points=3, predict_with=predict_with, random_state=0)
    fitted.fuse(pool, X, y, held_out=held)
    assert sorted(positions_of(Seeing.seen[0])) == np.flatnonzero(~MASK).tolist()
    assert fitted.held_out_.tolist() == HELD.tolist()
    expected = EnsembleClassifier(NET).fuse(pool[:1], X[HELD], y[HELD]).score(X[HELD], y[HELD])
    assert fitted.profiles_["seed-0", "seed-1"].score[0] == pytest.approx(expected)


def test_other_estimators_know_masks_too(pool):
    soup = SoupClassifier(NET, merge=Greedy())
    mask, positions = (soup.fuse(pool, X, y, held_out=h).merge_report_ for h in (MASK, HELD))
    assert mask == positions


def test_positions_count_rows_of_positive_weight(pool):
    weight = (np.arange(150) % 3 > 0).astype(float)
    Seeing.seen.clear()
    curve = CurveClassifier(NET, connect=Seeing(), n_points=3, random_state=0)
    curve.fuse(pool, X, y, sample_weight=weight, held_out=[0, 1, 99])
    used = np.flatnonzero(weight)
    assert sorted(positions_of(Seeing.seen[0])) == np.delete(used, [0, 1, 99]).tolist()
    with pytest.raises(ValueError, match="mask of 150 entries for the 100 rows of positive weight"):
        curve.fuse(pool, X, y, sample_weight=weight, held_out=MASK)
    with pytest.raises(ValueError, match=r"not from 0 to 99, among the 100 rows of positive weight: \[100\]"):
        curve.fuse(pool, X, y, sample_weight=weight, held_out=[100])


@pytest.mark.parametrize(
    ("held", "error", "message"),
    [
        ([-1, 2], ValueError, r"positions that are not from 0 to 9, .*: \[-1\]"),
        ([3, 10], ValueError, r"positions that are not from 0 to 9, .*: \[10\]"),
        ([3, 5, 3], ValueError, r"more than once: \[3\]"),
        ([], ValueError, "held_out is empty"),
        ([False] * 10, ValueError, "held_out is empty"),
        ([True] * 10, ValueError, "holds out all of the 10 rows"),
        (range(10), ValueError, "holds out all of the 10 rows"),
        ([True] * 9, ValueError, "mask of 9 entries for the 10 rows"),
        ([0.0, 1.0], TypeError, "whole numbers, or be a mask of booleans; got dtype float64"),
        (["a"], TypeError, "whole numbers, or be a mask"),
        (3, ValueError, r"one list of positions, or one mask; got shape \(\)"),
        ([[0, 1]], ValueError, r"got shape \(1, 2\)"),
    ],
    ids=["negative", "beyond", "twice", "empty", "no", "all", "every", "short", "floats", "text", "one", "two axes"],
)
def test_what_cannot_be_meant_is_refused(held, error, message):
    with pytest.raises(error, match=message):
        held_positions(held, 10)


def test_the_order_is_kept():
    assert held_positions([4, 1, 3], 6).tolist() == [4, 1, 3]


def test_groups_are_held_out_together(pool):
    groups = np.arange(150) % 25  # rows of a group lie far apart
    curve = CurveClassifier(NET, connect=Line(), n_points=3, predict_with="best", random_state=0)
    held = curve.fuse(pool, X, y, groups=groups).held_out_
    assert 0 < len(held) < 150
    assert not {*groups[held]} & {*np.delete(groups, held)}
    apart = curve.fuse(pool, X, y).held_out_
    assert {*groups[apart]} & {*np.delete(groups, apart)}
    assert np.array_equal(held, curve.set_params(collect=pool).fit(X, y, groups=groups).held_out_)
    with pytest.raises(ValueError, match="groups has 3 entries for 150 rows"):
        curve.fuse(pool, X, y, groups=[1, 2, 3])
