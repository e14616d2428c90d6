"""Some of the pairs: as many as are asked for, those that join all members, and a note that says so."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris

from skfusion import EnsembleClassifier
from skfusion.collect import Seeds, Tail
from skfusion.diagnose import diagnose
from skfusion.nets import mlp_classifier
from skfusion.pool import Member, ModelPool

X, y = load_iris(return_X_y=True)
X = X + np.linspace(0, 1e-3, 150)[:, None]  # no two rows are alike
NET = mlp_classifier(max_epochs=6, module__hidden=(4,))


def pool_at(*values):
    return ModelPool([Member("abcdef"[k], {"w": torch.tensor([float(v)])}) for k, v in enumerate(values)])


def test_neighbours_are_the_least_distances_that_join_all():
    report = diagnose(pool_at(0, 10, 1, 12, 1), pairs="neighbours")
    assert {*report.pairs.index} == {("a", "c"), ("c", "e"), ("b", "d"), ("b", "c")}
    told = "4 of the 10 pairs of members were looked at: the least distances that join all"
    assert any(note.startswith(told) for note in report.notes)


def test_pairs_are_drawn():
    pool = pool_at(*range(6))
    report = diagnose(pool, pairs=5, random_state=1)
    whole = diagnose(pool)
    assert len(report.pairs) == 5
    assert [*report.pairs.index] == [*diagnose(pool, pairs=5, random_state=1).pairs.index]
    assert [*report.pairs.index] != [*diagnose(pool, pairs=5, random_state=2).pairs.index]
    assert report.pairs.equals(whole.pairs.loc[report.pairs.index])
    assert any("5 of the 15 pairs of members were looked at: drawn at random" in note for note in report.notes)
    for many in (15, 99, np.int64(15)):
        same = diagnose(pool, pairs=many)
        assert same.pairs.equals(whole.pairs)
        assert same.notes == whole.notes


@pytest.mark.parametrize("pairs", [0, -1, True, "some", 1.5, None])
def test_what_is_no_choice_is_refused(pairs):
    with pytest.raises(ValueError, match="pairs must be 'all', 'neighbours' or a positive number"):
        diagnose(pool_at(1, 2), pairs=pairs)


@pytest.mark.parametrize("pairs", ["neighbours", 2])
def test_lines_are_computed_for_these_pairs_alone(pairs):
    pool = EnsembleClassifier(NET, collect=Tail(0.3), random_state=0).fit(X[::2], y[::2]).pool_
    whole = diagnose(pool, X[1::2], y[1::2], n_points=3)
    report = diagnose(pool, X[1::2], y[1::2], n_points=3, pairs=pairs)
    n = len(pool) - 1 if pairs == "neighbours" else 2
    assert len(report.pairs) == len(report.profiles) == len(report.similarity) == n < len(whole.pairs)
    for column in ("fall_line", "cka_mean", "agreement"):
        assert report.pairs[column].tolist() == pytest.approx(whole.pairs.loc[report.pairs.index, column].tolist())
    if pairs == "neighbours":  # a chain of lines without a fall joins all that one basin holds
        assert report.basins == whole.basins
    assert str(report)


def test_members_of_different_networks_are_known_as_such():
    small = EnsembleClassifier(NET, collect=Seeds(2), random_state=0).fit(X[::2], y[::2]).pool_
    wide = mlp_classifier(max_epochs=2, module__hidden=(6,))
    other = EnsembleClassifier(wide, collect=Seeds(2), random_state=0).fit(X[::2], y[::2]).pool_
    pool = ModelPool([*small, *(m.replace(name=f"wide-{m.name}") for m in other)], classes=small.classes)
    whole = diagnose(pool, X[1::2], y[1::2], n_points=3)
    for pairs in ("neighbours", 1):
        report = diagnose(pool, X[1::2], y[1::2], n_points=3, pairs=pairs)
        assert report.advice["verdict"]["soup"] == whole.advice["verdict"]["soup"] == "no"
