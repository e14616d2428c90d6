"""Trials of a search: a fusion that is fitted and scored on each fold, on members that all trials share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import optuna
from joblib import Parallel, delayed, effective_n_jobs
from optuna.trial import TrialState

from skfusion.pool import ModelPool
from skfusion.tuning._candidate import Judged, Part, candidate_of, judge
from skfusion.tuning._study import quiet


class Trials:
    """Run trials of a study.

    Parameters
    ----------
    estimator : estimator
        What a trial changes.
    space : callable
        ``space(trial)`` returns the parameters of a trial.
    folds : sequence of (Part, Part)
        Rows to fit on and rows to score on.
    scorer : callable
        ``scorer(estimator, X, y)``, higher is better.
    seed : int
        Of every part whose own is None.
    n_jobs : int, optional
        Folds at a time.
    """

    def __init__(
        self, estimator: Any, space: Any, folds: Sequence[tuple[Part, Part]], scorer: Any, seed: int, n_jobs: int | None
    ):
        self.estimator, self.space, self.folds, self.scorer, self.seed = estimator, space, folds, scorer, seed
        self.n_jobs = n_jobs
        self.pools: list[dict[str, ModelPool]] = [{} for _ in folds]

    def run(self, study: Any) -> None:
        """Ask the study for a trial, and tell it what came of it."""
        with quiet():
            trial = study.ask()
        try:
            with quiet():
                params = self.space(trial)
            candidate = candidate_of(self.estimator, params, self.seed)
            self._evaluate(study, trial, candidate)
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        except BaseException as error:  # of the space, or an interrupt: a fusion that fails is told of by itself
            trial.set_user_attr("error", f"{type(error).__name__}: {error}")
            study.tell(trial, state=TrialState.FAIL)
            raise

    def _evaluate(self, study: Any, trial: Any, candidate: Any) -> None:
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        before = next((t for t in done if t.params == trial.params), None)
        if before is not None:  # a setting that comes again keeps its scores
            self._tell(study, trial, [Judged(*found) for found in before.user_attrs["folds"]], TrialState.COMPLETE)
            return
        judged, state = [], TrialState.COMPLETE
        for i, found in enumerate(self._judged(candidate)):
            if found.error:
                trial.set_user_attr("error", f"fold {i}: {found.error}")
                state = TrialState.FAIL
                break
            judged.append(found)
            trial.report(float(np.mean([j.score for j in judged])), i)
            if i + 1 < len(self.folds) and trial.should_prune():
                state = TrialState.PRUNED
                break
        self._tell(study, trial, judged, state)

    def _judged(self, candidate: Any) -> Iterator[Judged]:
        """Iterate over the results of the folds, in order; as many are computed at a time as there are jobs."""
        n = effective_n_jobs(self.n_jobs)
        for start in range(0, len(self.folds), n):
            chunk = range(start, min(start + n, len(self.folds)))
            jobs = (delayed(judge)(candidate, *self.folds[i], self.scorer, self.pools[i]) for i in chunk)
            done = Parallel(n_jobs=self.n_jobs)(jobs)
            for i, (_, pools) in zip(chunk, done, strict=True):
                self.pools[i].update(pools)
            yield from (found for found, _ in done)

    def _tell(self, study: Any, trial: Any, judged: list[Judged], state: TrialState) -> None:
        trial.set_user_attr("folds", [list(found[:3]) for found in judged])
        if state == TrialState.COMPLETE:
            study.tell(trial, float(np.mean([found.score for found in judged])))
        else:
            study.tell(trial, state=state)
