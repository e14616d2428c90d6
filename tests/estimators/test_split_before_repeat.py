"""Rows are split before they are repeated: no member is trained on copies of the rows that it is judged on."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.dataset import ValidSplit

from skfusion import (
    DeepForestClassifier,
    DistillClassifier,
    EnsembleClassifier,
    SoupClassifier,
    StackingFusion,
    compare_fusions,
)
from skfusion._rows import Rows
from skfusion.collect import Collector, Seeds
from skfusion.combine import EnsembleSelection
from skfusion.estimators.support import repeats
from skfusion.nets import mlp_classifier
from skfusion.tuning import FusionSearch

RNG = np.random.RandomState(0)
X = RNG.normal(size=(100, 6)).astype(np.float32)
Y = RNG.randint(2, size=100)
PAIRED = np.r_[X, X[:1]], np.r_[Y, 1 - Y[0]]  # with two labels for one input
WEIGHT = np.full(101, 5)
NET = mlp_classifier(max_epochs=1, module__hidden=(4,))


class Spy(Collector):
    """Keeps the inputs that members are trained on."""

    seen: list = []  # noqa: RUF012

    def runs(self, net, rows, rng):
        self.seen.append(rows.X)
        return Seeds(2).runs(net, rows, rng)


@pytest.fixture
def parted(monkeypatch):
    """Held-out rows, each time that some are held out, and how many of them are among those of training."""
    found = []
    Spy.seen = []
    own = EnsembleClassifier._fuse, SoupClassifier._fuse

    def fuse(self, collected):
        held, trained = np.unique(collected.held_out.input_keys), Rows(Spy.seen[-1], np.zeros(len(Spy.seen[-1])))
        found.append((len(held), int(np.isin(held, trained.input_keys).sum()), len(collected.held_out)))
        return own[isinstance(self, SoupClassifier)](self, collected)

    for cls in (EnsembleClassifier, SoupClassifier):
        monkeypatch.setattr(cls, "_fuse", fuse)
    return found


ENSEMBLE = EnsembleClassifier(NET, collect=Spy(), combine=EnsembleSelection(), random_state=0)
SOUP = SoupClassifier(NET, collect=Spy(), random_state=0)


def fraction(trial):
    return {"validation_fraction": trial.suggest_float("validation_fraction", 0.2, 0.3)}


def piped(trial):
    return {"ensembleclassifier__validation_fraction": trial.suggest_float("share", 0.2, 0.3)}


WEIGHTED = {
    "ensemble": ENSEMBLE,
    "soup": SOUP,
    "member of a stack": StackingFusion(estimators=[("one", ENSEMBLE)], cv=3, random_state=0),
    "end of a pipeline in a stack": StackingFusion(
        estimators=[("one", make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), ENSEMBLE)))], cv=3
    ),
    "teacher": DistillClassifier(NET, teacher=ENSEMBLE, random_state=0),
    "search": FusionSearch(SOUP, fraction, n_trials=1, cv=3, random_state=0),
    "search of a pipeline": FusionSearch(
        make_pipeline(StandardScaler(), ENSEMBLE), piped, n_trials=1, cv=3, random_state=0
    ),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_members_are_not_trained_on_held_out_rows_of_weight(name, parted):
    clone(WEIGHTED[name]).fit(*PAIRED, sample_weight=WEIGHT)
    assert parted
    for n_held, n_known, n_rows in parted:
        assert n_held >= 13
        assert n_known == 0  # all of them where rows are repeated first
        assert n_rows >= 5 * n_held


@pytest.mark.parametrize("times", [4, 11])
@pytest.mark.parametrize("name", ["ensemble", "soup", "member of a stack", "search"])
def test_nor_on_copies(name, times, parted):
    index = np.r_[np.tile(np.arange(100), times), 100]
    clone(WEIGHTED[name]).fit(PAIRED[0][index], PAIRED[1][index])
    assert parted
    assert all(n_held >= 13 and n_known == 0 for n_held, n_known, _ in parted)


@pytest.mark.parametrize("times", [4, 11])
def test_the_levels_of_a_forest_are_not_judged_by_copies(times):
    index = np.r_[np.tile(np.arange(100), times), 100]
    forest = DeepForestClassifier(n_trees=10, max_levels=1, random_state=0).fit(PAIRED[0][index], PAIRED[1][index])
    assert forest.level_scores_[0] < 0.7  # of random labels; .97 where copies are parted


def test_weights_of_repeated_rows_keep_their_places():
    found = Rows(X, Y, np.arange(100) % 3).repeated()
    assert np.array_equal(found.position, np.repeat(np.arange(100), np.arange(100) % 3))
    assert np.array_equal(found.X, X[found.position])


def test_estimators_of_other_libraries_are_given_repetitions():
    assert repeats(ENSEMBLE)
    assert repeats(make_pipeline(StandardScaler(), SOUP))
    assert not repeats(RandomForestClassifier())
    weight = np.arange(100) % 3
    index = np.repeat(np.arange(100), weight)
    stack = StackingFusion(
        estimators=[("line", LogisticRegression()), ("net", make_pipeline(StandardScaler(), NET))], cv=3, random_state=0
    )
    weighted = stack.fit(X, Y, sample_weight=weight).predict_proba(X)
    np.testing.assert_allclose(weighted, stack.fit(X[index], Y[index]).predict_proba(X), atol=1e-6)


GROUPED = {
    "member": ENSEMBLE,
    "end of a pipeline": make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), ENSEMBLE)),
    "validates on a part": EnsembleClassifier(clone(NET).set_params(train_split=ValidSplit(0.2)), random_state=0),
}


@pytest.mark.parametrize("weight", [None, np.full(200, 2), np.linspace(0.5, 1.5, 200)], ids=["no", "whole", "other"])
@pytest.mark.parametrize("name", GROUPED)
def test_members_of_a_stack_part_no_groups(name, weight, monkeypatch):
    if name == "end of a pipeline" and weight is not None and weight[0] != 2:
        weight = np.full(200, 3)  # pipelines take no other weights
    group = np.repeat(np.arange(100), 2)
    inputs = np.c_[np.arange(200), X[group, 0]].astype(np.float32)  # rows differ, and the second column tells the group
    parts, own, fuse = [], NeuralNetClassifier.get_split_datasets, EnsembleClassifier._fuse

    def split(self, data, y=None, **options):
        train, valid = own(self, data, y, **options)
        if valid is not None:
            parts.append([{float(part[i][0][1]) for i in range(len(part))} for part in (train, valid)])
        return train, valid

    def spy(self, collected):
        if self.held_out_ is not None:
            parts.append([{float(value) for value in some[:, 1]} for some in (Spy.seen[-1], collected.held_out.X)])
        return fuse(self, collected)

    monkeypatch.setattr(NeuralNetClassifier, "get_split_datasets", split)
    monkeypatch.setattr(EnsembleClassifier, "_fuse", spy)
    stack = StackingFusion(estimators=[("one", GROUPED[name])], cv=3, random_state=0)
    stack.fit(inputs, Y[group], sample_weight=weight, groups=group)
    assert len(parts) >= 4  # three folds and all rows
    assert not any(trained & held for trained, held in parts)


def test_a_comparison_gives_groups_to_all_that_take_some():
    told = []

    class Told(StackingFusion):
        def fit(self, X, y, sample_weight=None, groups=None):
            told.append(np.unique(groups, return_counts=True)[1].tolist())
            return super().fit(X, y, sample_weight, groups)

    stack = Told(NET, n_members=1, cv=2)
    fusions = {"bare": stack, "piped": make_pipeline(StandardScaler(), stack)}
    compare_fusions(fusions, X, Y, cv=2, groups=np.arange(100) // 2, random_state=0, error_score="raise")
    assert len(told) == 4
    assert {size for sizes in told for size in sizes} == {2}
