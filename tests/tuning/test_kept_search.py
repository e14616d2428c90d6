"""A wrapped search finds what the search itself finds, and knows each fit by its number, not by its score."""

import numpy as np
import pytest
from joblib import parallel_config
from sklearn import config_context
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import EnsembleClassifier, KeepTrials, ModelPool
from skfusion.pool import MemoryStore

X, Y = make_classification(90, 5, n_informative=3, random_state=0)
X = X.astype(np.float32)


def net():
    return NeuralNetClassifier(
        nn.Linear(5, 2), criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0, train_split=None
    )


def grid(estimator=None, params=None, cv=None, **options):
    cv = cv or ShuffleSplit(1, test_size=1 / 3, random_state=0)
    return GridSearchCV(estimator or LogisticRegression(), params or {"C": [0.1, 1.0]}, cv=cv, **options)


def test_equal_scores_mix_neither_folds_nor_fits():
    rows = np.r_[X[:30] - 20, X[:30] + 20]  # all scores are 1
    labels, split = np.repeat([0, 1], 30), KFold(5, shuffle=True, random_state=0)
    search = KeepTrials(MemoryStore()).wrap(grid(cv=split))
    for part in (slice(None), slice(None, None, 2)):  # the second fit has members of its own
        with parallel_config(backend="threading", n_jobs=2):
            search.fit(rows[part], labels[part])
        for fold, (train, test) in enumerate(split.split(rows[part])):
            pool = ModelPool.from_search(search, fold=fold)
            assert pool.unseen(rows[part], labels[part]).tolist() == test.tolist()
            assert [len(m.rows) for m in pool] == [len(train)] * 2
    inner = cross_validate(search, rows, labels, cv=2, return_estimator=True, return_indices=True)
    for found, index in zip(inner["estimator"], inner["indices"]["train"], strict=True):
        pool = ModelPool.from_search(found, fold=1)
        assert len(pool.unseen(rows[index], labels[index])) == 6


def test_settings_that_are_changed_after_wrapping_are_no_obstacle():
    search = KeepTrials(MemoryStore()).wrap(grid(LogisticRegression(), {"C": [0.1, 1.0]}))
    pool = ModelPool.from_search(search.set_params(estimator__max_iter=50).fit(X, Y))
    assert [m.meta["params"] for m in pool] == [{"C": 0.1}, {"C": 1.0}]


def fails_for_one(fitted, X, y):
    if fitted.C == 1:
        raise ArithmeticError
    return fitted.score(X, y)


def test_a_score_that_fails_among_several_fails_alone():
    search = grid(LogisticRegression(), {"C": [0.1, 1]}, scoring={"a": "accuracy", "b": fails_for_one}, refit="a")
    search = KeepTrials(MemoryStore()).wrap(search)
    with (
        pytest.warns(UserWarning, match="non-finite"),
        pytest.warns(UserWarning, match=r"(?s)failed: b is set to nan.*ArithmeticError"),
    ):
        search.fit(X, Y)
    assert np.isnan(search.cv_results_["mean_test_b"]).tolist() == [False, True]
    assert [m.score for m in ModelPool.from_search(search)] == search.cv_results_["mean_test_a"].tolist()


@pytest.mark.parametrize("scoring", [None, "accuracy", ["accuracy", "neg_log_loss"]], ids=repr)
@pytest.mark.parametrize("routed", [False, True])
def test_weights_of_rows_count_in_scores_as_in_the_search_itself(scoring, routed):
    weights = np.random.RandomState(0).exponential(size=90) ** 3
    with config_context(enable_metadata_routing=routed):
        model = LogisticRegression()
        if routed:
            model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
            if scoring is not None:
                names = [scoring] if isinstance(scoring, str) else scoring
                asking = {name: get_scorer(name).set_score_request(sample_weight=True) for name in names}
                scoring = asking[scoring] if isinstance(scoring, str) else asking
        search = grid(model, {"C": [0.001, 1.0]}, scoring=scoring, refit=False)
        kept = KeepTrials(MemoryStore()).wrap(search).fit(X, Y, sample_weight=weights)
        plain = search.fit(X, Y, sample_weight=weights)
    for key in (key for key in plain.cv_results_ if key.startswith("mean_test")):
        assert kept.cv_results_[key].tolist() == plain.cv_results_[key].tolist()
    assert len(ModelPool.from_search(kept)) == 2


def test_nets_inside_other_estimators_are_for_memory_alone(tmp_path):
    search = grid(make_pipeline(StandardScaler(), net()), {"neuralnetclassifier__lr": [0.01, 0.1]})
    with pytest.raises(ValueError, match=r"'neuralnetclassifier' of a Pipeline, which a folder .*MemoryStore\(\)"):
        KeepTrials(tmp_path).wrap(search)
    pool = ModelPool.from_search(KeepTrials(MemoryStore()).wrap(search).fit(X, Y))
    new = pool.unseen(X, Y)
    assert [m.estimator.score(X[new], Y[new]) for m in pool] == [m.score for m in pool]


def test_what_would_fail_after_the_fits_is_refused_before():
    keep = KeepTrials(MemoryStore())
    with pytest.raises(ValueError, match="'scoring' parameter of check_scoring must be a str among"):
        keep.wrap(grid(scoring="acuracy"))
    with pytest.raises(ValueError, match=r"refit must be one of \['accuracy', 'f1', False\]; got True"):
        keep.wrap(grid(scoring=["accuracy", "f1"]))


@pytest.mark.parametrize("model", [net(), LogisticRegression()], ids=["net", "estimator"])
def test_the_best_estimator_becomes_a_member(model, tmp_path):
    params = {"lr": [0.01]} if hasattr(model, "lr") else {"C": [1.0]}
    search = KeepTrials(MemoryStore()).wrap(grid(model, params)).fit(X[:60], Y[:60])
    pool = ModelPool.from_estimators([("best", search.best_estimator_)], X[:60], Y[:60])
    pool.save(tmp_path)  # which stores no shell
    found = EnsembleClassifier(collect=pool).fit(X[60:], Y[60:])
    assert found.predict(X).tolist() == search.predict(X).tolist()
