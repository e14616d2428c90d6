"""Trials of a search: a fusion is fitted and scored on each fold, with members that all trials share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from joblib import Parallel, delayed, effective_n_jobs
from optuna.trial import TrialState

from skfusion._rows import Rows
from skfusion.estimators.support import SharedPools
from skfusion.tuning._candidate import Judged, candidate_of, judge


class FoldFailed(Exception):
    """A fusion has no score in a fold; its trial has failed and the study goes on."""


@dataclass(eq=False)
class Trials:
    """The value of a trial: the mean score over the folds, of an estimator that the trial changes.

    ``space(trial)`` returns the parameters; ``folds`` are the rows to fit on and to score on, ``n_jobs`` of them at a
    time. ``seed`` and ``scoring`` are for the parts and fusions that have none. If ``raising``, the error of a fusion
    is raised, and does not fail its trial alone.
    """

    estimator: Any
    space: Any
    folds: Sequence[tuple[Rows, Rows]]
    scorer: Any
    seed: int
    n_jobs: int | None
    scoring: Any
    raising: bool

    def __post_init__(self) -> None:
        self.pools = [SharedPools() for _ in self.folds]

    def value(self, trial: Any) -> float:
        """Return the mean score of the fusion that the space makes of a trial."""
        try:
            return self._mean(trial, candidate_of(self.estimator, self.space(trial), self.seed, self.scoring))
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
        for i, result in enumerate(self._judged(candidate)):
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
        n = effective_n_jobs(self.n_jobs)
        for start in range(0, len(self.folds), n):
            chunk = range(start, min(start + n, len(self.folds)))
            jobs = (delayed(judge)(candidate, *self.folds[i], self.scorer, self.pools[i], self.raising) for i in chunk)
            done = Parallel(n_jobs=self.n_jobs)(jobs)
            for i, (_, pools) in zip(chunk, done, strict=True):
                self.pools[i].update(pools)
            yield from (result for result, _ in done)
