"""Trials of a search: members that they choose, their scores on each fold, and the table of their results."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from joblib import Parallel, delayed, effective_n_jobs
from optuna.trial import FixedTrial, TrialState
from scipy.stats import rankdata
from sklearn.exceptions import FitFailedWarning

from skfusion._rows import Rows
from skfusion.estimators.support import SharedPools
from skfusion.select import Pick
from skfusion.tuning._bar import SearchBar
from skfusion.tuning._candidate import Judged, candidate_of, judge
from skfusion.tuning._study import quiet


class FoldFailed(Exception):
    """A fusion has no score in a fold; its trial has failed and the study goes on."""


@dataclass(eq=False)
class Trials:
    """The value of a trial of a search: the mean score over the folds, of an estimator that the trial changes."""

    search: Any
    estimator: Any
    folds: Sequence[tuple[Rows, Rows]]
    seed: int
    bar: SearchBar

    def __post_init__(self) -> None:
        self.pools = [SharedPools() for _ in self.folds]

    def value(self, trial: Any) -> float:
        """Return the mean score of the fusion that the space makes of a trial."""
        try:
            return self._mean(
                trial, candidate_of(self.estimator, self.search.space(trial), self.seed, self.search.scoring)
            )
        except optuna.TrialPruned:
            raise
        except KeyboardInterrupt:
            trial.set_user_attr("interrupted", True)
            raise
        except Exception as error:
            message = f"{error}" if isinstance(error, FoldFailed) else f"{type(error).__name__}: {error}"
            trial.set_user_attr("error", message)
            raise

    def _mean(self, trial: Any, candidate: Any) -> float:
        done = trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if before := next((t for t in done if t.params == trial.params), None):  # repeated values keep their scores
            trial.set_user_attr("folds", before.user_attrs["folds"])
            return before.value
        judged: list[Judged] = []
        self.bar.begin(trial, len(self.folds))
        for i, result in enumerate(self._judged(candidate)):
            self.bar.fold()
            if result.error:
                raise FoldFailed(f"fold {i}: {result.error}")
            judged.append(result)
            trial.set_user_attr("folds", [list(j[:3]) for j in judged])
            mean = float(np.mean([j.score for j in judged]))
            trial.report(mean, i)
            if i + 1 < len(self.folds) and trial.should_prune():
                raise optuna.TrialPruned
        return mean

    def _judged(self, candidate: Any) -> Iterator[Judged]:
        """Iterate over the results of the folds, in order; as many are computed at a time as there are jobs."""
        scorer, n_jobs, raising = self.search.scorer_, self.search.n_jobs, self.search.error_score == "raise"
        n = effective_n_jobs(n_jobs)
        for start in range(0, len(self.folds), n):
            chunk = range(start, min(start + n, len(self.folds)))
            jobs = (delayed(judge)(candidate, *self.folds[i], scorer, self.pools[i], raising) for i in chunk)
            done = Parallel(n_jobs=n_jobs)(jobs)
            for i, (_, pools) in zip(chunk, done, strict=True):
                self.pools[i].pools |= pools
            yield from (result for result, _ in done)


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
    """Return finished trials as scikit-learn's ``cv_results_``; NaN where a fold was not reached or a trial failed."""
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


def suggest_members(trial: Any, names: Sequence[str | int], min_members: int = 1) -> Pick:
    """Return a selector of the members that a trial of Optuna chooses.

    Parameters
    ----------
    trial : optuna.trial.Trial
        Suggests for each member whether to take it, under the name ``"member-" + name``.
    names : sequence of str or int
        Names of members, or their positions.
    min_members : int, default=1
        Where fewer are chosen, the first of the others join until there are so many.

    Returns
    -------
    Pick
        For the parameter ``select`` of an estimator.

    Examples
    --------
    >>> from optuna.trial import FixedTrial
    >>> from skfusion.tuning import suggest_members
    >>> trial = FixedTrial({"member-a": True, "member-b": False, "member-c": True})
    >>> suggest_members(trial, ["a", "b", "c"])
    Pick(members=('a', 'c'))
    """
    names = list(names)
    if not 1 <= min_members <= len(names):
        raise ValueError(f"min_members must be from 1 to the number of members, {len(names)}; got {min_members}.")
    chosen = [name for name in names if trial.suggest_categorical(f"member-{name}", [True, False])]
    chosen += [name for name in names if name not in chosen][: max(0, min_members - len(chosen))]
    return Pick(tuple(name for name in names if name in chosen))
