"""What was chosen on held-out rows is trained and fused again on all rows."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris, make_regression
from skorch.callbacks import Callback

from skfusion import EnsembleClassifier, EnsembleRegressor, SoupClassifier, SoupRegressor
from skfusion.align import WeightMatching
from skfusion.collect import FineTunes, Seeds, Tail
from skfusion.combine import Average, EnsembleSelection, WeightedAverage
from skfusion.compare import compare_fusions
from skfusion.estimators.support._refit import shares_again
from skfusion.merge import DARE, TIES, Greedy, Learned, Merger, OneMemberWarning, Uniform
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.pool import LeakageWarning
from skfusion.select import TopK
from skfusion.state import weighted_sum
from skfusion.testing import laws
from skfusion.testing._laws_chance import assert_chance, memorising_net, random_rows, reported
from skfusion.tuning import LayerwiseSoupWeights, StudyProposals

X, y = load_iris(return_X_y=True)
X = (X + np.linspace(0, 1e-3, 150)[:, None]).astype(np.float32)  # no two rows are alike
NET = mlp_classifier(max_epochs=4, module__hidden=(6,), lr=0.02)
TUNES = FineTunes(n_members=3, init=2)
A, b = make_regression(120, 5, noise=1.0, random_state=0)
VALUES = mlp_regressor(max_epochs=4, module__hidden=(6,), lr=0.02)
pytestmark = pytest.mark.filterwarnings("ignore::skfusion.merge.OneMemberWarning", "ignore:The merged network scores")


def both(estimator):
    """Return the estimator fitted without and with a refit."""
    return [clone(estimator).set_params(refit=refit).fit(X, y) for refit in (False, True)]


@pytest.mark.parametrize(
    "params",
    [
        {"collect": Tail(0.25)},
        {"collect": Seeds(3)},
        {"collect": TUNES, "merge": Learned(n_steps=5)},
        {"collect": TUNES, "merge": Learned(per_layer=True, simplex=False, n_steps=5)},
        {"collect": TUNES, "merge": LayerwiseSoupWeights(n_trials=3)},
        {"collect": TUNES, "merge": DARE(0.3, TIES(scale=None))},
        {"collect": TUNES, "merge": Uniform(), "select": TopK(2)},
        {"collect": Seeds(2), "merge": Greedy(), "align": WeightMatching()},
    ],
    ids=str,
)
def test_the_choice_stays_and_the_members_know_all_rows(params):
    before, after = both(SoupClassifier(NET, random_state=0, **params))
    assert (after.held_out_ == before.held_out_).all()
    assert after.member_weights_ == before.member_weights_
    assert after.merge_report_.keys() == before.merge_report_.keys()
    assert after.merge_report_.get("score") == before.merge_report_.get("score")
    assert after.pool_.names == before.pool_.names
    for old, new in zip(before.pool_, after.pool_, strict=True):
        assert (len(old.rows), len(new.rows)) == (120, 150)
        assert new.score == old.score
        assert (new.predictions == old.predictions).all()
        assert new.meta["seed"] == old.meta["seed"]


def test_members_are_those_of_a_fit_without_held_out_rows():
    soup = SoupClassifier(NET, collect=Tail(0.25), refit=True, random_state=0).fit(X, y)
    plain = SoupClassifier(NET, collect=Tail(0.25), merge=Uniform(), random_state=0).fit(X, y)
    assert plain.held_out_ is None
    for ours, theirs in zip(soup.pool_, plain.pool_, strict=True):
        assert all((ours.state[k] == theirs.state[k]).all() for k in ours.state)
    expected = weighted_sum(plain.pool_.states, [soup.member_weights_[name] for name in plain.pool_.names])
    assert all((soup.state_[k] == expected[k]).all() for k in expected)


def test_where_nothing_is_held_out_nothing_is_trained_again():
    before, after = both(SoupClassifier(NET, collect=Tail(0.25), merge=Uniform(), random_state=0))
    assert after.held_out_ is None
    assert all((before.state_[k] == after.state_[k]).all() for k in before.state_)


@pytest.mark.parametrize("combine", [WeightedAverage(), EnsembleSelection()])
def test_an_ensemble_keeps_its_weights_and_trains_its_members_again(combine):
    before, after = both(EnsembleClassifier(NET, collect=Seeds(3), combine=combine, select=TopK(2), random_state=0))
    assert after.member_weights_ == before.member_weights_
    assert [m.name for m in after.members_] == [m.name for m in before.members_]
    assert {len(m.rows) for m in after.members_} == {150}
    assert after.pool_.names == before.pool_.names
    whole = EnsembleClassifier(NET, collect=Seeds(3), combine=Average(), random_state=0).fit(X, y)
    for m in after.members_:
        assert all((m.state[k] == whole.pool_[m.name].state[k]).all() for k in m.state)


def test_values_in_large_units_keep_their_scale():
    far = 1e7 + b  # which networks learn standardised
    soup = SoupRegressor(VALUES, collect=Tail(0.25), refit=True, random_state=0).fit(A, far)
    ensemble = EnsembleRegressor(VALUES, collect=Seeds(2), combine=WeightedAverage(), refit=True, random_state=0).fit(
        A, far
    )
    for fitted in (soup, ensemble):
        assert np.abs(fitted.predict(A) - far.mean()).max() < 10 * far.std()


def test_rows_of_held_out_choices_warn_where_they_are_given_again():
    soup = SoupClassifier(NET, collect=Tail(0.25), refit=True, random_state=0).fit(X, y)
    again = SoupClassifier(NET, refit=True, random_state=0)
    with pytest.warns(LeakageWarning):
        again.fuse(soup.pool_, X, y, held_out=soup.held_out_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakageWarning)
        ensemble = EnsembleRegressor(
            VALUES, collect=Seeds(2), combine=WeightedAverage(), refit=True, random_state=0
        ).fit(A, b)
    with pytest.warns(LeakageWarning):
        ensemble.predict_interval(A, A[ensemble.held_out_], b[ensemble.held_out_], coverage=0.8)


def test_random_labels_give_chance():
    for situation in ("plain", "weights", "copies", "replicates", "groups"):
        R, labels, extra = random_rows(situation, 4)
        for fusion in (
            SoupClassifier(memorising_net(), collect=FineTunes(n_members=3, init=5)),
            EnsembleClassifier(memorising_net(), collect=Seeds(3), combine=EnsembleSelection(), select=TopK(2)),
        ):
            fitted = fusion.set_params(refit=True, random_state=0).fit(R, labels, **extra)
            for what, score, n in reported(fitted, len(labels)):
                assert_chance(score, n, 4, f"With {situation}, {what}")
        choice = SoupClassifier(memorising_net(), collect=Seeds(1), refit=True, random_state=0).fit(R, labels, **extra)
        assert_chance(choice.merge_report_["score"], 120 / 5, 4, f"With {situation}, the score of the choice")


def test_a_comparison_tests_the_refit_on_rows_that_it_has_not_seen():
    R, labels, _ = random_rows("plain", 4)
    fusions = {str(r): SoupClassifier(memorising_net(), collect=Seeds(2), refit=r) for r in (False, True)}
    table = compare_fusions(fusions, R, labels, cv=3, random_state=0)
    assert_chance(table.loc["True", "accuracy_mean"], len(R), 4, "the accuracy")


class Chooses(Merger):
    """Takes the best member, and does not say how to do it again."""

    needs_objective = needs_labels = True

    def __call__(self, states, base=None, objective=None):
        scores = objective.scores(states)
        return dict(states[scores.index(max(scores))])


def test_what_cannot_be_trained_again_is_refused_before_training(monkeypatch):
    pool = SoupClassifier(NET, collect=Seeds(2), random_state=0).fit(X, y).pool_
    monkeypatch.setattr("skfusion.nets.fit", None)  # nothing may train
    with pytest.raises(ValueError, match="collect is a pool, which has networks and not how they were trained"):
        SoupClassifier(NET, collect=pool, refit=True).fit(X, y)
    proposals = StudyProposals(lambda trial: {"lr": trial.suggest_float("lr", 1e-3, 1e-2)})
    with pytest.raises(ValueError, match="refit=True .* proposes settings by what came of those before"):
        SoupClassifier(NET, collect=FineTunes(proposals, n_members=2), refit=True).fit(X, y)
    with pytest.raises(ValueError, match=r"Chooses\(\) has chosen .* repeated\(\)"):
        SoupClassifier(NET, collect=Seeds(2), merge=Chooses(), refit=True).fit(X, y)
    with pytest.raises(NotImplementedError, match=r"repeated\(\)"):
        Chooses().repeated({})


class Shortens(Seeds):
    """Leaves one network more where rows are held out, as a run that stops early may."""

    def runs(self, net, rows, rng):
        runs = super().runs(net, rows, rng)
        return runs[:1] if len(rows) == len(X) else runs[1:]


def test_a_member_that_is_not_there_again_is_named():
    with pytest.raises(ValueError, match=r"Member 'seed-1' was chosen, .* left \['seed-0'\].*refit=False"):
        SoupClassifier(NET, collect=Shortens(2), refit=True, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match=r"Member 'seed-1' was chosen"):
        EnsembleClassifier(
            NET, collect=Shortens(2), combine=WeightedAverage(), select=TopK(1), refit=True, random_state=0
        ).fit(X, y)


def test_shares_of_checkpoints_that_are_not_there_again_are_given_to_the_others():
    shares = {"a": 0.5, "b": 0.2, "c": 0.0, "d": 0.3}
    assert shares_again(shares, ["a", "b", "d"]) == {"a": 0.5, "b": 0.2, "d": 0.3}  # the one that is lost had none
    with pytest.warns(UserWarning, match=r"left no member 'a',.* \['b', 'd'\]"):
        left = shares_again(shares, ["b", "c", "d"])
    assert left == pytest.approx({"b": 0.4, "c": 0.0, "d": 0.6})
    assert shares_again(shares, ["c"]) == shares
    mixed = {"a": 0.6, "b": -0.59, "c": 0.99}
    assert shares_again(mixed, ["a", "b"]) == mixed  # scaled to their sum they would be 60 and -59


class Ends(Callback):
    """Ends a training on all rows two epochs sooner than one on fewer, as early stopping may."""

    def on_epoch_end(self, net, **_):
        n_rows = net.history[-1, "batches", :, "train_batch_size"]
        if len(net.history) == (3 if sum(n_rows) == len(X) else 5):
            raise KeyboardInterrupt


def test_a_run_that_ends_sooner_on_all_rows_gives_the_checkpoints_that_it_has():
    net = mlp_classifier(max_epochs=20, module__hidden=(6,), lr=0.02, callbacks=[("ends", Ends())])
    soup = SoupClassifier(net, merge=Learned(n_steps=3), refit=True, random_state=0)
    with pytest.raises(ValueError, match="Member 'tail-last-5' was chosen"):  # no sum by shares that are known
        soup.fit(X, y)
    soup = SoupClassifier(net, merge=Even(), refit=True, random_state=0)
    with pytest.warns(UserWarning, match="The training on all rows has left no member 'tail-last-5' and others"):
        soup.fit(X, y)
    assert soup.member_weights_ == pytest.approx({f"tail-last-{k}": 1 / 3 for k in (3, 2, 1)})
    mean = weighted_sum(soup.pool_.states, [1 / 3] * 3)
    assert all(torch.allclose(soup.state_[name], tensor) for name, tensor in mean.items())


class Even(Uniform):
    """The mean, which is judged on held-out rows all the same."""

    needs_objective = needs_labels = True


@pytest.mark.parametrize(
    "name",
    [
        "check_pickle_predicts_the_same",
        "check_wrapped_net_stays_unfitted",
        "check_fit_keeps_the_parameters",
        "check_fit_leaves_the_global_random_state",
        "check_same_random_state_gives_the_same_predictions",
        "check_fit_does_not_write_its_data",
    ],
)
def test_it_keeps_the_laws_of_estimators(name):
    (law,) = [law for law in laws() if law.__name__ == name]
    law(SoupClassifier(NET, collect=Tail(0.25), refit=True))
    law(EnsembleClassifier(NET, collect=Seeds(2), combine=WeightedAverage(), refit=True))


def test_weights_are_repetitions():
    weight = np.arange(150) % 3
    soup = SoupClassifier(NET, collect=Tail(0.25), refit=True, random_state=0)
    weighed = clone(soup).fit(X, y, sample_weight=weight)
    repeated = clone(soup).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    assert np.allclose(weighed.predict_proba(X), repeated.predict_proba(X), atol=1e-6)


def test_progress_and_cache_know_it(tmp_path):
    soup = SoupClassifier(NET, collect=Tail(0.25), refit=True, memory=str(tmp_path), random_state=0)
    first, second = clone(soup).fit(X, y), clone(soup).fit(X, y)
    assert (first.predict_proba(X) == second.predict_proba(X)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error", OneMemberWarning)
        clone(soup).set_params(collect=Tail(0.5), merge=Uniform(), select=TopK(1), verbose=1).fit(X, y)
