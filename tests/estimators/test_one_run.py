"""One run, from which many networks are made without training: lengths of averages, decays, weights in the span."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from skfusion import SoupClassifier, SoupRegressor, nets
from skfusion.average import PowerEMA
from skfusion.collect import Averages, PowerSnapshots, Seeds, Snapshots, Tail
from skfusion.merge import TWA, DecayMerge, PostHocEMA, Uniform
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.pool import ModelPool
from skfusion.select import Pick
from skfusion.tuning import FusionSearch

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
(X, X_new), (y, y_new) = (X[:300], X[300:500]), (y[:300], y[300:500])
NET = mlp_classifier(max_epochs=8, module__hidden=(16,), batch_size=32, lr=0.01)
SIGMAS = [0.06, 0.1, 0.2]


@pytest.fixture(scope="module")
def soup():
    return SoupClassifier(NET, collect=PowerSnapshots(), merge=PostHocEMA(), random_state=0).fit(X, y)


@pytest.fixture
def no_training(monkeypatch):
    """Nothing may be trained."""

    def refuse(*_, **__):
        raise AssertionError("it has trained")

    for name in ("fit", "fit_many"):
        monkeypatch.setattr(nets, name, refuse)


def test_the_length_is_searched_for_without_training(soup, no_training):
    frozen = SoupClassifier(NET, collect=soup.pool_, merge=PostHocEMA())
    search = GridSearchCV(frozen, {"merge__sigma": SIGMAS}, cv=2).fit(X_new, y_new)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ > 0.5
    best = search.best_estimator_
    assert best.merge.profiles is None  # which is what was given
    assert set(best.member_weights_) == {*soup.pool_.names}
    with pytest.raises(AssertionError, match="it has trained"):  # the guard would have noticed
        clone(soup).fit(X, y)


def test_optuna_searches_for_the_length_without_training(soup, no_training):
    frozen = SoupClassifier(NET, collect=soup.pool_, merge=PostHocEMA())

    def space(trial):
        return {"merge__sigma": trial.suggest_float("sigma", 0.05, 0.2)}

    search = FusionSearch(frozen, space, n_trials=3, cv=2, random_state=0).fit(X_new, y_new)
    assert 0.05 <= search.best_params_["merge__sigma"] <= 0.2


def test_what_is_reported(soup):
    assert soup.member_weights_ == pytest.approx(dict.fromkeys(soup.pool_.names, 0) | {"ema-0.1-20": 1}, abs=1e-8)
    assert soup.merge_report_["profile_error"] < 1e-8
    other = clone(soup).set_params(merge__sigma=0.15).fuse(soup.pool_, X, y)
    assert 0 < other.merge_report_["profile_error"] < 0.01
    assert other.merge_report_["coefficients"] == pytest.approx([*other.member_weights_.values()])
    assert sum(other.member_weights_.values()) == pytest.approx(1)


def test_a_length_that_was_tracked_is_the_average_of_that_run(soup):
    tracked = SoupClassifier(NET, collect=Averages(1, average=PowerEMA(0.1)), merge=Uniform(), random_state=0).fit(X, y)
    for key, value in tracked.state_.items():
        torch.testing.assert_close(soup.state_[key], value, rtol=1e-5, atol=1e-6)


def test_another_length_is_near_to_the_average_of_that_run(soup):
    made = clone(soup).set_params(merge__sigma=0.2).fuse(soup.pool_, X, y)
    tracked = SoupClassifier(NET, collect=Averages(1, average=PowerEMA(0.2)), merge=Uniform(), random_state=0).fit(X, y)
    assert (made.predict(X_new) == tracked.predict(X_new)).mean() > 0.98
    np.testing.assert_allclose(made.predict_proba(X_new), tracked.predict_proba(X_new), atol=0.05)


def test_statistics_are_those_of_what_is_made():
    net = clone(NET).set_params(module__norm="batch")
    one, near = (
        SoupClassifier(net, collect=PowerSnapshots(n=4), merge=PostHocEMA(sigma), random_state=0).fit(X, y)
        for sigma in (0.1, 0.1001)
    )
    key = "layers.1.running_var"
    assert key in one.state_
    torch.testing.assert_close(one.state_[key], near.state_[key], rtol=1e-2, atol=1e-3)  # the first is a snapshot
    members = torch.stack([s[key] for s in one.pool_.states[:-2]])
    assert not torch.allclose(members.mean(0), one.state_[key], rtol=1e-2)


def test_an_earlier_snapshot_has_statistics_of_its_own_where_it_is_the_result():
    net = clone(NET).set_params(module__norm="batch")
    soup = SoupClassifier(net, collect=PowerSnapshots(n=4), merge=PostHocEMA(), random_state=0).fit(X, y)
    time = soup.pool_["ema-0.1-2"].meta["time"]
    one, near = (
        SoupClassifier(net, merge=PostHocEMA(sigma, time)).fuse(soup.pool_, X, y).state_ for sigma in (0.1, 0.10001)
    )
    key = "layers.1.running_mean"
    torch.testing.assert_close(one[key], near[key], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(one[key], soup.pool_["ema-0.1-2"].state[key], rtol=1e-2)


def test_selected_snapshots_bring_their_own_profiles(soup, tmp_path):
    few = [name for name in soup.pool_.names if name.endswith(("-5", "-10", "-15", "-20"))]
    fitted = clone(soup).set_params(select=Pick(few), merge__sigma=0.08).fuse(soup.pool_, X, y)
    assert [*fitted.member_weights_] == few
    assert 1e-3 < fitted.merge_report_["profile_error"] < 0.1
    soup.pool_.save(tmp_path / "pool")
    read = clone(soup).set_params(select=Pick(few), merge__sigma=0.08).fuse(ModelPool.load(tmp_path / "pool"), X, y)
    assert read.member_weights_ == fitted.member_weights_


def test_members_that_are_no_snapshots_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"meta of member 0 has no 'sigma'.*PowerSnapshots\(\).*profiles="):
        SoupClassifier(NET, collect=Seeds(2), merge=PostHocEMA(), random_state=0).fit(X, y)


def test_a_decay_over_the_tail_is_a_soup_of_it():
    for collect, decay in ((Tail(0.5), "cosine"), (Snapshots(3), lambda u: 1 - u**2)):
        fitted = SoupClassifier(NET, collect=collect, merge=DecayMerge(decay), random_state=0).fit(X, y)
        assert sum(fitted.member_weights_.values()) == pytest.approx(1)
        assert min(fitted.member_weights_.values()) > 0
        assert fitted.held_out_ is None
    linear, mean = (
        SoupClassifier(NET, collect=Tail(0.5), merge=merge, random_state=0).fit(X, y)
        for merge in (DecayMerge(), Uniform())
    )
    for key, value in mean.state_.items():
        torch.testing.assert_close(linear.state_[key], value, rtol=1e-5, atol=1e-7)


def test_checkpoints_out_of_order_are_refused():
    pool = SoupClassifier(NET, collect=Tail(0.5), merge=Uniform(), random_state=0).fit(X, y).pool_
    backwards = pool.replace([*pool][::-1])
    with pytest.raises(ValueError, match=r"in the order in which they came.*\[8, 7, 6, 5\]"):
        SoupClassifier(NET, merge=DecayMerge()).fuse(backwards, X, y)


@pytest.mark.parametrize("weighted", [False, True])
def test_weights_are_trained_on_the_training_rows_by_the_nets_own_loss(weighted):
    weight = np.where(y < 5, 3.0, 1.0) if weighted else None
    twa = SoupClassifier(NET, collect=Tail(0.5), merge=TWA(), random_state=0).fit(X, y, sample_weight=weight)
    mean = SoupClassifier(NET, merge=Uniform()).fuse(twa.pool_, X, y, sample_weight=weight)
    assert twa.held_out_ is None  # all rows are trained on
    losses = twa.merge_report_["losses"]
    assert len(losses) == 10
    assert losses[-1] < losses[0]
    assert [*twa.member_weights_.values()] == twa.merge_report_["weights"]

    def loss(fitted):
        p = fitted.predict_proba(X)[np.arange(len(y)), y]
        return np.average(-np.log(p), weights=weight)

    assert loss(twa) < loss(mean)


def test_values_too():
    rng = np.random.RandomState(0)
    A = rng.normal(size=(120, 4)).astype(np.float32)
    b = A @ [1.0, -1.0, 0.5, 0.0] + 0.1 * rng.normal(size=120)
    net = mlp_regressor(max_epochs=10, module__hidden=(8,), batch_size=20)
    for collect, merge in ((Tail(0.5), TWA()), (Tail(0.5), DecayMerge("1-sqrt")), (PowerSnapshots(), PostHocEMA(0.15))):
        assert SoupRegressor(net, collect=collect, merge=merge, random_state=0).fit(A, b).score(A, b) > 0.5


def test_large_targets_do_not_make_the_trained_weights_diverge():
    """As they do where steps grow with the square of the targets' unit; losses are reported in this unit."""
    rng = np.random.RandomState(0)
    A = rng.normal(size=(120, 4)).astype(np.float32)
    b = 50 * (A @ [1.0, -1.0, 0.5, 0.0] + 0.1 * rng.normal(size=120))
    net = mlp_regressor(max_epochs=20, module__hidden=(8,), batch_size=30, lr=0.1)
    twa = SoupRegressor(net, collect=Tail(0.5), merge=TWA(), random_state=0).fit(A, b)
    mean = SoupRegressor(net, merge=Uniform()).fuse(twa.pool_, A, b)
    assert twa.score(A, b) > mean.score(A, b) > 0.5
    error = np.square(twa.predict(A) - b).mean()
    assert twa.merge_report_["losses"][-1] == pytest.approx(error, rel=0.1)
