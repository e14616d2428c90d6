"""The results of a search, as a table."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.trial import FixedTrial, TrialState
from scipy.stats import rankdata
from sklearn.exceptions import FitFailedWarning

from skfusion.tuning._study import quiet

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def finished(study: Any) -> list[Any]:
    """Return the trials of a study that are done with, whatever came of them; one that was interrupted is not."""
    trials = study.get_trials(deepcopy=False, states=FINISHED)
    return [trial for trial in trials if "interrupted" not in trial.user_attrs]


def params_of(space: Callable[[Any], dict[str, Any]], trial: Any) -> Any:
    """Return what the space makes of the values of a trial; None where it had pruned the trial or failed itself."""
    try:
        with quiet():
            return space(FixedTrial(trial.params, trial.number))
    except Exception as error:
        if trial.state == TrialState.COMPLETE:
            raise ValueError(
                f"The space makes no parameters of trial {trial.number}, which had the values {trial.params}: {error} "
                "Where the space has changed since, begin another study: give another study_name."
            ) from error
        return None


def table_of(trials: Sequence[Any], space: Callable[[Any], dict[str, Any]], n_splits: int) -> dict[str, Any]:
    """Return the results of finished trials in the form of scikit-learn's ``cv_results_``, one entry a trial.

    Scores are NaN where a fold was not reached, means where a trial is not complete.
    """
    folds = np.full((len(trials), n_splits, 3), np.nan)
    for i, trial in enumerate(trials):
        reached = trial.user_attrs.get("folds", [])
        folds[i, : len(reached)] = np.reshape(reached, (len(reached), 3))
    complete = np.array([t.state == TrialState.COMPLETE for t in trials], dtype=bool)
    means, deviations = folds.mean(axis=1), folds.std(axis=1)
    table: dict[str, Any] = {}
    for name, k in (("fit_time", 1), ("score_time", 2)):
        table |= {f"mean_{name}": means[:, k], f"std_{name}": deviations[:, k]}
    for name in dict.fromkeys(name for t in trials for name in t.params):
        values = np.ma.masked_all(len(trials), dtype=object)
        for i, trial in enumerate(trials):
            if name in trial.params:
                values[i] = trial.params[name]
        table[f"param_{name}"] = values
    table["params"] = [params_of(space, t) for t in trials]
    table |= {f"split{k}_test_score": folds[:, k, 0] for k in range(n_splits)}
    table |= {"mean_test_score": np.where(complete, means[:, 0], np.nan)}
    table |= {"std_test_score": np.where(complete, deviations[:, 0], np.nan)}
    lowest = np.where(complete, means[:, 0], -np.inf)
    table["rank_test_score"] = rankdata(-lowest, method="min").astype(np.int32)
    table["trial"] = np.array([t.number for t in trials])
    table["state"] = np.array([t.state.name for t in trials])
    table["error"] = np.array([t.user_attrs.get("error", "") for t in trials], dtype=object)
    return table


def warn_of_failures(trials: Sequence[Any]) -> None:
    """Warn of trials that have failed, or raise where no trial has a score."""
    failed = [(t.number, t.user_attrs.get("error", "unknown")) for t in trials if t.state == TrialState.FAIL]
    shown = "; ".join(f"trial {number}: {error}" for number, error in failed[:5]).rstrip(".")
    shown += f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
    if not any(t.state == TrialState.COMPLETE for t in trials):
        why = f"All {len(failed)} failed: {shown}" if len(failed) == len(trials) else f"Failed: {shown or 'none'}"
        raise ValueError(
            f"None of the {len(trials)} trials has a score, so there is nothing to choose from. {why}. Fit the "
            "estimator by itself to see where it fails, or give more trials."
        )
    if failed:
        warnings.warn(
            f"{len(failed)} of the {len(trials)} trials failed and have no score: {shown}. cv_results_['error'] has "
            "all messages.",
            FitFailedWarning,
            stacklevel=3,
        )
