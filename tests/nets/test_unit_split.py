"""A net validates on no copies of the rows that it trains on, and on none of their groups."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split
from torch import nn
from torch.utils.data import Subset

from skfusion import (
    BoostingFusion,
    DistillClassifier,
    EnsembleClassifier,
    NeuralDecisionForestClassifier,
    StackingFusion,
    nets,
)
from skfusion._rows import Rows
from skfusion.collect import Bootstrap, FineTunes, Seeds, TangentFineTunes, Tasks
from skfusion.nets import _validation, fixed_split, mlp_classifier, unit_split
from skfusion.nets._validation import FixedSplit
from skfusion.testing._laws_chance import memorising_net

RNG = np.random.RandomState(0)
X = RNG.normal(size=(60, 8)).astype(np.float32)
Y = RNG.randint(3, size=60)
GROUPS = np.repeat(np.arange(15), 4)
COPIES = np.r_[np.tile(np.arange(60), 4), 0]


def by_hand(dataset, y):
    """A split of one's own, which knows nothing of copies."""
    order = np.random.RandomState(1).permutation(len(dataset))
    return Subset(dataset, order[len(order) // 4 :]), Subset(dataset, order[: len(order) // 4])


SPLITS = {
    "skorch's": ValidSplit(5, stratified=True),
    "a share": ValidSplit(0.3, random_state=0),
    "a share of classes": ValidSplit(0.3, stratified=True, random_state=0),
    "one's own": by_hand,
}


def positions(part):
    index = np.asarray(part.indices)
    return index if not isinstance(part.dataset, Subset) else np.asarray(part.dataset.indices)[index]


def divided(split, rows, dataset=None):
    dataset = Dataset(rows.X, rows.y) if dataset is None else dataset
    return [positions(part) for part in unit_split(split, rows)(dataset, rows.y)]


@pytest.mark.parametrize("name", SPLITS)
def test_rows_that_differ_are_divided_as_by_the_users_split(name):
    expected = SPLITS[name](Dataset(X, Y), Y)
    for part, found in zip(expected, divided(SPLITS[name], Rows(X, Y)), strict=True):
        assert np.array_equal(part.indices, found)


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("how", ["copies", "weights", "bag", "groups"])
def test_copies_and_groups_stay_on_one_side(name, how):
    rows = {
        "copies": Rows(X[COPIES], np.r_[Y[COPIES[:-1]], (Y[0] + 1) % 3]),
        "weights": Rows(X, Y, RNG.randint(1, 5, size=60)).expanded(),
        "bag": Rows(X, Y).take(RNG.randint(60, size=60)),
        "groups": Rows(X, Y, None, GROUPS),
    }[how]
    train, valid = divided(SPLITS[name], rows)
    assert sorted([*train, *valid]) == [*range(len(rows))]
    assert 0.1 < len(valid) / len(rows) < 0.5
    unit = rows.input_keys if how != "groups" else rows.groups
    assert not np.intersect1d(unit[train], unit[valid]).size


def test_a_splitter_by_groups_is_asked_by_groups():
    rows = Rows(X, Y, None, GROUPS)
    for cv in (GroupKFold(5), KFold(5)):
        train, valid = divided(ValidSplit(cv), rows)
        assert not np.intersect1d(GROUPS[train], GROUPS[valid]).size
        assert len(valid) == 12


def test_what_brings_its_own_data_stays_as_it_is():
    other = Dataset(X[:5], Y[:5])
    rows = Rows(X[COPIES], Y[COPIES])
    dataset = Dataset(rows.X, rows.y)
    train, valid = unit_split(predefined_split(other), rows)(dataset, rows.y)
    assert train is dataset
    assert valid is other
    longer = Dataset(np.r_[X, X], np.r_[Y, Y])  # which holds other rows than those of the training
    train, valid = unit_split(ValidSplit(4), rows)(longer, np.r_[Y, Y])
    assert len(train) + len(valid) == 120
    assert unit_split(None, rows) is None


def test_one_group_cannot_be_divided():
    rows = Rows(X, Y, None, np.zeros(60, int))
    with pytest.raises(ValueError, match="all rows of a training are of one group"):
        divided(ValidSplit(5), rows)


@pytest.mark.parametrize("split", [ValidSplit(5, stratified=True), ValidSplit(0.2, stratified=True), ValidSplit(9)])
def test_few_different_rows_are_divided_too(split):
    index = np.repeat([0, 1, 2, 3], [5, 1, 3, 4])
    train, valid = divided(split, Rows(X[index], np.array([0, 1, 0, 1])[index]))
    assert len(train)
    assert len(valid)
    assert not np.intersect1d(index[train], index[valid]).size


class Memory(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_in, 64), nn.ReLU(), nn.Linear(64, n_out))

    def forward(self, X):
        return self.layers(X)


def stopping(**params):
    given = {"max_epochs": 60, "lr": 0.02, "batch_size": 32, "verbose": 0, "optimizer": torch.optim.Adam, **params}
    callbacks = [EarlyStopping(patience=4)]
    return NeuralNetClassifier(Memory, criterion=nn.CrossEntropyLoss, callbacks=callbacks, **given)


@pytest.mark.parametrize("collect", [Seeds(2, vectorize=True), Bootstrap(2)], ids=repr)
def test_training_on_random_labels_stops_early(collect):
    rng = np.random.RandomState(0)
    A, b = rng.normal(size=(120, 8)).astype(np.float32), rng.randint(4, size=120)
    ensemble = EnsembleClassifier(stopping(), collect=collect, random_state=0)
    for weight in (None, np.full(120, 3)):
        histories = [m.meta["history"] for m in ensemble.fit(A, b, sample_weight=weight).pool_]
        assert max(len(history) for history in histories) < 20  # 60 where copies are validated on, to .9
    index = np.repeat(np.arange(120), 3)
    near = A[index] + 1e-3 * rng.normal(size=(360, 8)).astype(np.float32)
    histories = [m.meta["history"] for m in ensemble.fit(near, b[index], groups=index).pool_]
    assert max(len(history) for history in histories) < 20


def test_repetitions_of_categories_stay_on_one_side_too():
    seen = []

    def spy(dataset, y):
        seen.append(len(dataset))
        return by_hand(dataset, y)

    A, b = np.eye(3)[np.arange(40) % 3].astype(np.float32), RNG.randint(2, size=40)
    EnsembleClassifier(memorising_net(train_split=spy), collect=Seeds(1)).fit(A, b, sample_weight=np.full(40, 5))
    assert seen == [40]


@pytest.mark.parametrize(
    "estimator",
    [
        BoostingFusion(memorising_net(), n_members=1, resample=True),
        NeuralDecisionForestClassifier(memorising_net()),
        DistillClassifier(memorising_net(), teacher=nets.mlp_classifier(max_epochs=1)),
    ],
    ids=lambda e: type(e).__name__,
)
def test_every_training_divides_different_rows(estimator):
    counts = []

    def spy(dataset, y):
        counts.append(len(dataset))
        return by_hand(dataset, y)

    estimator.set_params(estimator__train_split=spy).fit(X[COPIES], Y[COPIES])
    assert counts
    assert max(counts) <= 60


@pytest.mark.parametrize("weight", [None, np.full(90, 2.0), np.arange(1, 91) / 7], ids=["none", "whole", "fractions"])
@pytest.mark.parametrize("wrap", [lambda m: m, EnsembleClassifier, StackingFusion], ids=["net", "ensemble", "stack"])
def test_members_of_a_stack_keep_groups_together(wrap, weight):
    counts = []

    def spy(dataset, y):
        counts.append(len(dataset))
        return by_hand(dataset, y)

    A, groups = np.random.RandomState(0).normal(size=(90, 4)).astype(np.float32), np.arange(90) % 30
    StackingFusion(estimators=[("member", wrap(memorising_net(train_split=spy, max_epochs=1)))], cv=2).fit(
        A, groups % 2, sample_weight=weight, groups=groups
    )
    assert counts
    assert max(counts) <= 30  # the rows of a part, up to 180, where groups were forgotten


def test_so_do_members_at_the_end_of_a_pipeline():
    counts = []

    def spy(dataset, y):
        counts.append(len(dataset))
        return by_hand(dataset, y)

    A, groups = np.random.RandomState(0).normal(size=(90, 4)).astype(np.float32), np.arange(90) % 30
    member = make_pipeline(StandardScaler(), memorising_net(train_split=spy, max_epochs=1))
    StackingFusion(estimators=[("member", member)], cv=2).fit(A, groups % 2, groups=groups)
    assert max(counts) <= 30


def by_sign(X, y):
    return (X[:, 0] > 0).astype(int)


@pytest.mark.parametrize(
    "collect",
    [
        FineTunes({"lr": [0.01]}, n_members=3, init=40),
        Tasks(by_sign, init=40),
        TangentFineTunes({"lr": [0.01]}, n_members=1, init=40),
    ],
    ids=lambda c: type(c).__name__,
)
def test_members_validate_on_rows_that_are_new_to_their_start(collect):
    rng = np.random.RandomState(0)
    A, b = rng.normal(size=(120, 8)).astype(np.float32), rng.randint(4, size=120)
    net = memorising_net(train_split=ValidSplit(0.3, stratified=True))
    pool = collect.collect(net, A, b, random_state=0)
    found = [m.meta["history"][-1]["valid_acc"] for m in pool]
    assert np.mean(found) < 0.5  # .25 in the mean; .75 where each draws rows of its own
    assert all(type(m.net.train_split) is ValidSplit for m in pool)


def test_a_part_without_rows_to_hold_out_is_trained_on_whole():
    split = FixedSplit(np.arange(60) < 20)
    dataset = Dataset(X, Y)
    train, valid = unit_split(split, Rows(X, Y))(dataset)
    assert (len(train), len(valid)) == (40, 20)
    for part, n_valid in ((np.arange(10), 0), (np.arange(30, 40), 0), (np.arange(15, 25), 5)):
        train, valid = unit_split(split, Rows(X, Y).take(part))(Dataset(X[part], Y[part]))
        assert len(train) == 10 - n_valid
        assert (0 if valid is None else len(valid)) == n_valid
    assert fixed_split(mlp_classifier(), Rows(X, Y), 0) is None
    elsewhere = memorising_net(train_split=predefined_split(dataset))
    assert fixed_split(elsewhere, Rows(X, Y), 0) is None


def test_the_net_is_given_back_with_its_own_split():
    net = memorising_net(train_split=ValidSplit(4), max_epochs=1, module__n_in=8, module__n_out=3)
    fitted = nets.fit(net, Rows(X[COPIES], Y[COPIES]), 0)
    assert type(fitted.train_split) is ValidSplit
    assert type(net.train_split) is ValidSplit


def test_bags_that_validate_are_looped_without_a_word(recwarn):
    net = memorising_net(max_epochs=1, batch_size=16, train_split=ValidSplit(5))
    pool = Bootstrap(4).collect(net, X, Y, random_state=0)
    assert len(pool) == 4
    assert not recwarn
    with pytest.warns(UserWarning, match="its members differ in rows"):
        Bootstrap(4, vectorize=True).collect(net, X, Y, random_state=0)


def test_nets_on_the_same_rows_share_folds(monkeypatch):
    X, y = np.random.RandomState(0).rand(40, 3).astype("float32"), np.arange(40) % 4
    rows, made, calls = Rows(X, y, task="classification"), {}, []
    of_few = _validation._of_few
    monkeypatch.setattr(_validation, "_of_few", lambda *args: calls.append(args) or of_few(*args))

    def divided(split, targets, **shared):
        return [[*part.indices] for part in unit_split(split, rows, **shared)(Dataset(X, targets), targets)]

    folds = ValidSplit(5, stratified=True)
    assert all(divided(folds, y, made=made) == divided(folds, y) for _ in range(3))
    assert len(calls) == 1 + 3
    # Other targets have folds of their own, and so has another number of folds; shares are drawn.
    other = np.roll(np.repeat(np.arange(4), 10), 3)
    assert divided(folds, other, made=made) == divided(folds, other) != divided(folds, y)
    assert divided(ValidSplit(4, stratified=True), y, made=made) == divided(ValidSplit(4, stratified=True), y)
    drawn = ValidSplit(0.3, random_state=np.random.RandomState(0))
    assert divided(drawn, y, made=made) != divided(drawn, y, made=made)
