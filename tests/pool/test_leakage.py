"""Members of a pool are known to have seen rows, whatever is asked of them, and however their labels are coded."""

import warnings

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import EnsembleClassifier, ModelPool, SoupClassifier
from skfusion._rows import Rows
from skfusion.collect import Seeds
from skfusion.combine import EnsembleSelection
from skfusion.estimators._soup import rows_of_members
from skfusion.merge import Uniform
from skfusion.nets import mlp_classifier
from skfusion.pool import LeakageWarning, Member

RNG = np.random.RandomState(0)
X = RNG.normal(size=(120, 5)).astype(np.float32)
Y = RNG.randint(3, size=120)
NET = mlp_classifier(max_epochs=30, lr=0.02, batch_size=32, module__hidden=(32,), optimizer__weight_decay=0.0)


@pytest.fixture(scope="module")
def pool():
    return EnsembleClassifier(NET, collect=Seeds(2), random_state=0).fit(X, Y).pool_


@pytest.mark.parametrize("kind", [EnsembleClassifier, SoupClassifier])
def test_cross_validation_of_a_pool_on_its_own_rows_is_told_of(kind, pool):
    fusion = kind(collect=pool) if kind is EnsembleClassifier else kind(collect=pool, merge=Uniform())
    told = r"80 of the 80 rows given to fit \(100 %\) are rows that .* and members know 40 more"
    with pytest.warns(LeakageWarning, match=told) as caught:
        scores = cross_val_score(fusion, X, Y, cv=3)
    leaks = [w.filename for w in caught if w.category is LeakageWarning]
    assert leaks == [__file__] * 3  # the user's line, once a fit
    if kind is EnsembleClassifier:
        assert scores.mean() > 0.6  # of random labels, which is why


def test_rows_of_older_pools_are_no_others(pool):
    rows = Rows(X, Y)
    older = pool.replace(
        [m.replace(rows=rows.keys) for m in pool]
    )  # where marks are hashes of inputs and target in one
    EnsembleClassifier(collect=older).fit(X, Y)
    with pytest.warns(LeakageWarning, match=r"80 of the 80 .* members know 40 more"):
        EnsembleClassifier(collect=older).fit(X[:80], Y[:80])


@pytest.mark.filterwarnings("error")
def test_what_is_ordinary_is_not_told_of(pool):
    ensemble = EnsembleClassifier(collect=pool).fit(X, Y)  # all that members were trained on, and no fold of it
    ensemble.score(X, Y)
    ensemble.fuse(pool, X[:60], Y[:60])  # statistics
    new = RNG.normal(size=(60, 5)).astype(np.float32), RNG.randint(3, size=60)
    cross_val_score(EnsembleClassifier(collect=pool), *new, cv=3)
    EnsembleClassifier(collect=pool).fit(*new).score(X, Y)


def test_parts_that_need_labels_tell_of_the_rows_alone(pool):
    with pytest.warns(LeakageWarning, match="to choose or weigh members") as caught:
        EnsembleClassifier(collect=pool, combine=EnsembleSelection()).fit(X[:80], Y[:80])
    assert len(caught) == 1


@pytest.mark.parametrize(("n_known", "is_told"), [(0, False), (1, False), (5, False), (6, True), (100, True)])
def test_a_few_rows_that_are_equal_by_chance_are_not_told_of(n_known, is_told, pool):
    new = RNG.normal(size=(100 - n_known, 5)).astype(np.float32)
    rows = Rows(np.concatenate([X[:n_known], new]), RNG.randint(3, size=100))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert pool.warn_of_leakage(rows, "to select") == n_known  # whatever their labels are
    assert len(caught) == is_told
    if is_told:
        assert f"{n_known} of the 100 rows used to select ({n_known} %)" in str(caught[0].message)


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, X):
        return self.layer(X)


@pytest.mark.parametrize("coding", ["codes", "numbers", "names"])
def test_nets_that_were_only_initialised_know_their_rows(coding):
    labels = {"codes": Y, "numbers": Y * 2 + 1, "names": np.array(["a", "b", "c"])[Y]}[coding]
    nets = [NeuralNetClassifier(Plain, criterion=nn.CrossEntropyLoss, verbose=0).initialize() for _ in range(2)]
    first, second = (
        ModelPool.from_estimators([(name, net)], X[part], labels[part])
        for name, net, part in zip("ab", nets, (slice(60), slice(60, 120)), strict=True)
    )
    both = ModelPool([*first, *second])
    with pytest.warns(LeakageWarning, match="120 of the 120 rows used to choose"):
        SoupClassifier(collect=both).fit(X, labels)
    found = rows_of_members(both, Rows(X, Y))
    assert [index.tolist() for index in found] == [[*range(60)], [*range(60, 120)]]


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_rows_of_a_fitted_net_are_those_of_training(dtype):
    net = NeuralNetClassifier(Plain, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0).fit(X, Y)
    pool = ModelPool.from_estimators([net], X.astype(np.float64), Y.astype(dtype))
    assert Rows(X, Y).seen(pool[0].rows).all()
    assert not Rows(X, Y + 1).seen(pool[0].rows).any()


def test_pools_of_an_older_version_know_their_rows():
    rows = Rows(X, Y)
    pool = ModelPool([Member("old", {}, rows=rows.keys)])
    with pytest.warns(LeakageWarning, match="120 of the 120"):
        pool.warn_of_leakage(rows, "to select")
