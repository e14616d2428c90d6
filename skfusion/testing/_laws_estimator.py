"""Laws of the estimators that collect and fuse."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier

from skfusion import nets
from skfusion._rows import Rows
from skfusion.estimators import EnsembleClassifier, EnsembleRegressor
from skfusion.pool import Member, ModelPool
from skfusion.testing import _problems as problems
from skfusion.testing._laws_all import assert_random_state_is_untouched_by, params_of


def data(estimator: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return 60 rows of three blobs, or of a linear function."""
    rng = np.random.RandomState(5)
    X = rng.normal(size=(60, 4)).astype(np.float32)
    if not is_classifier(estimator):
        return X, X[:, 0] - 2 * X[:, 1]
    y = np.arange(60) % 3
    return X + 2 * y[:, None], np.array(["one", "three", "two"])[y]


def fitted(estimator: Any, seed: int = 0) -> Any:
    """Return a fitted clone with an integer ``random_state``."""
    return clone(estimator).set_params(random_state=seed).fit(*data(estimator))


def output(estimator: Any) -> np.ndarray:
    """Return what a fitted estimator predicts for the data: probabilities, or values."""
    X, _ = data(estimator)
    return estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)


def exemptions(estimator: Any) -> dict[str, str]:
    """Return the laws that an estimator cannot meet, each with the reason."""
    reasons = dict(estimator._test_skips()) if hasattr(estimator, "_test_skips") else {}
    combine = getattr(estimator, "combine", None)
    if getattr(combine, "out_of_fold", False):
        why = "fit learns to combine from out-of-fold predictions, which are not in a pool"
        reasons["check_fuse_repeats_fit"] = why
    if getattr(combine, "needs_labels", False):
        why = "a learned combination of one member is another function of it"
        reasons["check_one_member_is_its_own_fusion"] = why
    return reasons


def check_one_member_is_its_own_fusion(estimator: Any) -> None:
    """Fusing a pool of one member predicts what that member predicts: the same classes or values."""
    X, y = data(estimator)
    whole = fitted(estimator)
    one = clone(estimator).fuse(whole.pool_[:1], X, y, held_out=whole.held_out_)
    member = whole.pool_[0]
    task = "classification" if is_classifier(estimator) else "regression"
    out = nets.Runner(member.net, task, Rows(X, np.zeros(len(X)))).predict(member.state, X)
    expected = one.classes_[out.argmax(axis=1)] if task == "classification" else out[:, 0]
    same = (one.predict(X) == expected).all() if task == "classification" else np.allclose(one.predict(X), expected)
    assert same, "The fusion of one member does not predict what the member predicts."


def check_fuse_repeats_fit(estimator: Any) -> None:
    """``fuse(pool_, X, y, held_out=held_out_)`` gives the predictions of the fit."""
    whole = fitted(estimator)
    again = clone(estimator).fuse(whole.pool_, *data(estimator), held_out=whole.held_out_)
    gap = np.abs(output(again) - output(whole)).max()
    assert gap <= 1e-6, f"Fusing the fitted pool again changes the predictions by up to {gap:.3g}."


def check_estimators_as_members_are_taken_or_refused(estimator: Any) -> None:
    """A network that is an estimator of its own counts as the same member, or is refused by its name."""
    X, y = data(estimator)
    whole = fitted(estimator)
    pool = whole.pool_.replace([m.replace(rows=None) for m in whole.pool_])  # whose use is none of this law
    kind = EnsembleClassifier if is_classifier(estimator) else EnsembleRegressor
    alone = kind(estimator.estimator).fuse(pool[-1:], X, y)
    mixed = pool.replace([*pool.members[:-1], Member(pool[-1].name, estimator=alone)])

    def fused(members: ModelPool) -> Any:
        return clone(estimator).set_params(random_state=0).fuse(members, X, y, held_out=whole.held_out_)

    if not getattr(estimator, "_takes_estimators", False):
        refusal = _refusal(lambda: fused(mixed))
        assert refusal is not None, "A member without weights is not refused."
        assert repr(pool[-1].name) in refusal, f"The member is not named: {refusal}"
        return
    gap = np.abs(output(fused(mixed)) - output(fused(pool))).max()
    assert gap <= 1e-5, f"A network that is an estimator of its own changes the predictions by up to {gap:.3g}."


def _refusal(call: Callable[[], Any]) -> str | None:
    """Return the words of the ``TypeError`` that a call raises; None where there is none."""
    try:
        call()
    except TypeError as error:
        return str(error)
    return None


def check_pickle_predicts_the_same(estimator: Any) -> None:
    """A fitted estimator that went through pickle predicts the same, bit for bit."""
    whole = fitted(estimator)
    expected = output(whole)
    again = pickle.loads(pickle.dumps(whole))
    assert problems.snapshot(output(again)) == problems.snapshot(expected), "Pickling changes the predictions."


def check_wrapped_net_stays_unfitted(estimator: Any) -> None:
    """The parameter ``estimator`` is the same net after ``fit``, neither initialised nor changed."""
    copy = clone(estimator)
    net = copy.estimator
    before = problems.snapshot(net)
    copy.fit(*data(estimator))
    assert copy.estimator is net, "fit replaces the parameter estimator."
    assert not getattr(net, "initialized_", False), "fit initialises the parameter estimator."
    assert problems.snapshot(net) == before, "fit changes the parameter estimator."


def check_fit_keeps_the_parameters(estimator: Any) -> None:
    """Neither ``fit`` nor ``clone`` changes a parameter."""
    before = params_of(clone(estimator).set_params(random_state=0))
    whole = fitted(estimator)
    assert params_of(whole) == before, "fit changes a parameter."
    assert params_of(clone(whole)) == before, "clone changes a parameter."


def check_fit_leaves_the_global_random_state(estimator: Any) -> None:
    """The global generators of torch, numpy and Python are as they were after ``fit`` and ``predict``."""
    assert_random_state_is_untouched_by(lambda: output(fitted(estimator)))


def check_same_random_state_gives_the_same_predictions(estimator: Any) -> None:
    """Two fits with one ``random_state`` predict the same, bit for bit."""
    first, second = (problems.snapshot(output(fitted(estimator))) for _ in range(2))
    assert first == second, "Two fits with the same random_state predict differently."


def check_fit_does_not_write_its_data(estimator: Any) -> None:
    """X, y and sample_weight are as they were after ``fit`` and ``predict``."""
    X, y = data(estimator)
    weight = np.full(len(y), 2.0)
    before = problems.snapshot([X, y, weight])
    clone(estimator).fit(X, y, sample_weight=weight).predict(X)
    assert problems.snapshot([X, y, weight]) == before, "fit or predict writes to the data."
