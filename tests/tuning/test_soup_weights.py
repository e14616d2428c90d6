"""Soups whose weights Optuna tunes."""

import math

import numpy as np
import optuna
import pytest
import torch
from optuna.samplers import CmaEsSampler, GPSampler, RandomSampler, TPESampler
from reference.tuned_soup import tuned_weights
from scipy.optimize import minimize
from sklearn.datasets import load_iris
from torch import nn

from skfusion import SoupClassifier
from skfusion.collect import FineTunes
from skfusion.merge import Greedy, Uniform
from skfusion.nets import mlp_classifier
from skfusion.objective import ModuleObjective
from skfusion.state import weighted_sum
from skfusion.tuning import LayerwiseSoupWeights, SoupWeights


def some_states(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [{"w": torch.randn(3, 4, generator=generator, dtype=torch.float64)} for _ in range(n)]


def logistic(seed=0):
    """Minus the log loss of a linear classifier, which is concave in the weights of a soup."""
    generator = torch.Generator().manual_seed(100 + seed)
    x = torch.randn(60, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (60,), generator=generator)
    return lambda state: -float(nn.functional.cross_entropy(x @ state["w"].T, y))


def bumpy(state):
    return -float(((state["w"] - 0.2) ** 2).sum()) + math.sin(5 * float(state["w"].sum()))


def coarse(state):
    """A score of few values, with many ties, as an accuracy."""
    return round(bumpy(state) / 2) * 2


def objective(score, told=None):
    report = (lambda name, value: None) if told is None else told.__setitem__
    return ModuleObjective(nn.Identity(), lambda: [], lambda state: -score(state), score, report=report)


def soup_score(score, states):
    return lambda weights: score(weighted_sum(states, list(weights)))


# ---- against the slow way ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [CmaEsSampler, TPESampler, RandomSampler], ids=lambda make: make.__name__)
@pytest.mark.parametrize("score", [logistic(), bumpy, coarse], ids=["logistic", "bumpy", "coarse"])
def test_it_matches_the_loop_of_optuna(score, make):
    states = some_states(4)
    expected = tuned_weights(states, soup_score(score, states), lambda: make(seed=3), 30, 2.5)
    found = SoupWeights(30, make, bound=2.5, random_state=3).coefficients(states, objective=objective(score))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_default_sampler_is_cma_es():
    states = some_states(4)
    found = SoupWeights(40).coefficients(states, objective=objective(logistic()))
    assert found == SoupWeights(40, CmaEsSampler).coefficients(states, objective=objective(logistic()))
    assert found != SoupWeights(40, TPESampler).coefficients(states, objective=objective(logistic()))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("make", "n_trials"), [(None, 200), (TPESampler, 50)], ids=["default", "tpe"])
def test_it_comes_near_the_optimum_of_a_concave_score(make, n_trials, seed):
    states, score = some_states(5, seed), logistic(seed)
    value = soup_score(score, states)
    start = np.full(5, 0.2)
    simplex = {"type": "eq", "fun": lambda w: w.sum() - 1}
    best = minimize(lambda w: -value(w), start, bounds=[(0, 1)] * 5, constraints=simplex, method="SLSQP")
    told = {}
    SoupWeights(n_trials, make, random_state=seed).coefficients(states, objective=objective(score, told))
    before = max(told["uniform_score"], told["greedy_score"], told["best_single_score"])
    assert told["score"] <= -best.fun + 1e-6
    assert -best.fun - told["score"] < 0.25 * (-best.fun - before)


# ---- laws of the weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_trials", [0, 1, 30])
@pytest.mark.parametrize("score", [logistic(), bumpy, coarse], ids=["logistic", "bumpy", "coarse"])
def test_it_is_never_worse_than_its_starts(score, n_trials):
    for seed in range(5):
        states = some_states(5, seed)
        soup = SoupWeights(n_trials, random_state=seed)(states, objective=objective(score))
        greedy = Greedy()(states, objective=objective(score))
        assert score(soup) >= max(map(score, [*states, greedy, Uniform()(states)])) - 1e-12


def test_weights_are_on_the_simplex():
    for seed in range(5):
        weights = SoupWeights(25).coefficients(some_states(6, seed), objective=objective(logistic(seed)))
        assert min(weights) >= 0
        assert sum(weights) == pytest.approx(1, abs=1e-12)


def test_without_trials_it_is_the_best_start():
    states = some_states(3)
    for target, expected in ((weighted_sum(states, [1 / 3] * 3), [1 / 3] * 3), (states[1], [0, 1, 0])):
        aim = objective(lambda s, target=target: -float((s["w"] - target["w"]).abs().sum()))
        np.testing.assert_allclose(SoupWeights(0).coefficients(states, objective=aim), expected)
    pair = [{"w": torch.tensor([v])} for v in (1.0, -1.0, 7.0)]
    aim = objective(lambda s: -abs(float(s["w"])))
    np.testing.assert_allclose(SoupWeights(0).coefficients(pair, objective=aim), [0.5, 0.5, 0])


def test_a_level_score_gives_the_uniform_soup():
    found = SoupWeights(20).coefficients(some_states(4), objective=objective(lambda s: 1.0))
    assert found == [0.25] * 4


def test_order_has_no_influence():
    states, score = some_states(4), logistic()
    found = SoupWeights(30).coefficients(states, objective=objective(score))
    turned = SoupWeights(30).coefficients([*states[2:], *states[:2]], objective=objective(score))
    np.testing.assert_allclose([*turned[2:], *turned[:2]], found, atol=1e-12)


def test_a_seed_gives_one_result_and_a_sampler_is_not_used_up():
    states, aim = some_states(4), objective(logistic())
    sampler = CmaEsSampler(seed=5)
    own, made, other = (SoupWeights(60, *given) for given in ((sampler,), (None, 4.0, 5), (None, 4.0, 6)))
    first = own.coefficients(states, objective=aim)
    assert first == own.coefficients(states, objective=aim) == made.coefficients(states, objective=aim)
    assert first != other.coefficients(states, objective=aim)


# ---- what is told --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("merger", [SoupWeights, LayerwiseSoupWeights])
def test_what_was_found_is_told(merger):
    states, score, told, calls = some_states(4), logistic(), {}, []
    soup = merger(20)(states, objective=objective(lambda s: calls.append(1) or score(s), told))
    assert told["score"] == pytest.approx(score(soup), abs=1e-9)
    assert told["uniform_score"] == pytest.approx(score(Uniform()(states)), abs=1e-9)
    assert told["greedy_score"] == pytest.approx(score(Greedy()(states, objective=objective(score))), abs=1e-9)
    assert told["best_single_score"] == max(map(score, states))
    starts = max(told["uniform_score"], told["greedy_score"], told["best_single_score"])
    assert told["improvement"] == told["score"] - starts > 0
    assert told["n_evaluations"] == len(calls) == 20 + 2 * 4 + 1


def test_trials_have_their_weights():
    states, score, told = some_states(3), logistic(), {}
    found = SoupWeights(15).coefficients(states, objective=objective(score, told))
    trials = told["study"].trials
    assert told["weights"] == found
    assert [t.user_attrs["weights"] for t in trials[:2]] == [[1 / 3] * 3, pytest.approx(found_greedy(states, score))]
    for trial in trials:
        assert trial.value == pytest.approx(soup_score(score, states)(trial.user_attrs["weights"]), abs=1e-12)
    best = max(trials, key=lambda t: t.value)
    assert best.user_attrs["weights"] == found


def found_greedy(states, score):
    return Greedy().coefficients(states, objective=objective(score))


@pytest.mark.parametrize("merger", [SoupWeights(3), LayerwiseSoupWeights(3)])
def test_optuna_is_quiet_and_keeps_its_settings(merger, capfd):
    before = optuna.logging.get_verbosity()
    merger(some_states(3), objective=objective(logistic()))
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr().err == ""


# ---- edges ---------------------------------------------------------------------------------------------------------


def test_one_member_is_itself_and_costs_little():
    states, calls = some_states(1), []
    aim = objective(lambda s: calls.append(1) or 0.0)
    assert SoupWeights().coefficients(states, objective=aim) == [1.0]
    assert len(calls) == 3


def test_a_soup_that_is_not_a_number_is_the_worst():
    states = [{"w": torch.tensor([v])} for v in (0.0, 1.0, 5.0)]
    score = lambda s: -abs(float(s["w"]) - 1) if float(s["w"]) in (0.0, 1.0, 5.0) else math.nan  # noqa: E731
    assert SoupWeights(20).coefficients(states, objective=objective(score)) == [0, 1, 0]


def test_a_member_whose_score_is_not_a_number_is_named():
    states = [{"w": torch.tensor([v])} for v in (0.0, 1.0, 5.0)]
    aim = objective(lambda s: math.nan if float(s["w"]) == 1 else -float(s["w"]))
    with pytest.warns(UserWarning, match=r"score of the members \[1\] of 3 is NaN"):
        assert SoupWeights(5).coefficients(states, objective=aim) == [1, 0, 0]


@pytest.mark.parametrize("merger", [SoupWeights, LayerwiseSoupWeights])
@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"n_trials": -1}, ValueError, "n_trials of .*SoupWeights must be a whole number, 0 or more; got -1"),
        ({"n_trials": 2.5}, ValueError, "got 2.5"),
        ({"bound": 0.0}, ValueError, "bound of .*SoupWeights must be positive and finite; got 0.0"),
        ({"bound": math.inf}, ValueError, "got inf"),
        ({"sampler": "tpe"}, TypeError, "make one from seed=.*got 'tpe'"),
    ],
)
def test_bad_settings_are_named(merger, params, error, message):
    with pytest.raises(error, match=message):
        merger(**params)(some_states(2), objective=objective(bumpy))


@pytest.mark.parametrize("merger", [SoupWeights(), LayerwiseSoupWeights()])
def test_it_needs_held_out_data(merger):
    with pytest.raises(ValueError, match="SoupWeights tries weights on held-out data"):
        merger(some_states(2))


# ---- in an estimator -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("merge", [SoupWeights(20), LayerwiseSoupWeights(20), SoupWeights(5, GPSampler)])
def test_a_soup_estimator_tells_of_the_search(merge):
    X, y = load_iris(return_X_y=True)
    net = mlp_classifier(max_epochs=3, module__hidden=(6,), module__norm="batch")
    collect = FineTunes({"lr": [0.001, 0.05]}, n_members=3, init=2)
    soup = SoupClassifier(net, collect=collect, merge=merge, scoring="neg_log_loss", random_state=0).fit(X, y)
    found = soup.merge_report_
    assert found["score"] >= max(found["uniform_score"], found["greedy_score"], found["best_single_score"])
    assert found["n_evaluations"] == 2 * 3 + 1 + merge.n_trials
    assert soup.score(X, y) > 0.5
