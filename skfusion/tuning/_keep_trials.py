"""Keep what a search trains: every trial of scikit-learn, Optuna or skorch becomes a member of a pool."""

from __future__ import annotations

import copy
import math
import secrets
from collections.abc import Mapping
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone
from torch import nn

from skfusion._caller import warn_caller
from skfusion.nets import KeepsRuns
from skfusion.pool import Member, MemoryStore
from skfusion.pool.importers import (
    digest_of_state,
    labels_of,
    marks_of,
    member_of,
    name_of_trial,
    opened,
    part_of,
    plain,
    start_of,
)
from skfusion.state import State
from skfusion.tuning._kept_search import KeepingScorer, Kept, check_kept

_OF_A_SEARCH = {"estimator", "scoring", "cv", "refit", "error_score", "return_train_score"}
"""Parameters by which a search of scikit-learn is known, which has no public base class."""


class KeepTrials(KeepsRuns):
    """Keep the estimators that a search trains and would throw away, each as a member of a pool.

    One object does it for three libraries. ``keep.wrap(search)`` is a search of scikit-learn whose fits are kept, by
    the processes where they are made. As a callback of a study of Optuna it keeps what the objective hands over by
    ``keep.member(trial, net)``, once the trial is complete. As a callback of a skorch net it keeps the best epoch of
    each run.

    Parameters
    ----------
    store : path-like or Store
        Where members go. A folder may be shared by many processes, searches and studies: none overwrites the members of
        another. A ``MemoryStore`` is for one process.
    epoch : {"best", "last"}, default="best"
        Which epoch of a skorch run is kept: that of the least validation loss, where the net holds rows out, or the
        last one. Searches and studies hand over fitted nets, for which it does not matter.

    See Also
    --------
    skfusion.ModelPool.from_search : The pool of a search.
    skfusion.ModelPool.from_study : The pool of a study.

    Notes
    -----
    A member has its settings in ``meta["params"]``, its score, which is the negative value where a study minimises, and
    hashes of the rows that it was trained on, so that their use to judge it is warned of. ``meta["judged_on"]`` says
    which rows the score is of: how many, and a hash. Rows of tables with text are known to ``pool.unseen`` alone, and
    sparse ones to nothing. Where a member cannot be stored, its search goes on, and a warning says so.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV, ShuffleSplit
    >>> from skfusion import KeepTrials, ModelPool
    >>> from skfusion.pool import MemoryStore
    >>> X, y = load_iris(return_X_y=True)
    >>> search = GridSearchCV(
    ...     LogisticRegression(max_iter=500), {"C": [0.1, 1, 10]}, cv=ShuffleSplit(1, random_state=0)
    ... )
    >>> search = KeepTrials(MemoryStore()).wrap(search).fit(X, y)
    >>> pool = ModelPool.from_search(search)
    >>> [member.meta["params"]["C"] for member in pool], len(pool.unseen(X, y))
    ([0.1, 1, 10], 15)
    """

    def __init__(self, store: Any, epoch: str = "best"):
        if epoch not in ("best", "last"):
            raise ValueError(f"epoch must be 'best' or 'last'; got {epoch!r}.")
        self.store, self.epoch = opened(store), epoch
        self.store.names()  # refuses a folder that is no pool before anything is trained
        self._pending: dict[tuple[str, int], Member] = {}  # of trials that have not ended
        self.runs_ = {}

    # ---- scikit-learn ------------------------------------------------------------------------
    def wrap(self, search: Any) -> Any:
        """Return a search whose fits are kept, each of its trials in each of its folds.

        Parameters
        ----------
        search : GridSearchCV, RandomizedSearchCV, HalvingGridSearchCV or HalvingRandomSearchCV
            Of an estimator of any library. It is not changed.

        Returns
        -------
        search
            A copy of the same class with the same parameters, to be fitted. Its best estimator stands in a thin shell,
            as ``best_estimator_.wrapped``.
        """
        if isinstance(search, type) or not {*getattr(search, "get_params", dict)()} >= _OF_A_SEARCH:
            raise TypeError(
                f"wrap takes a search of scikit-learn, such as RandomizedSearchCV; got {type(search).__name__}. A "
                "study of Optuna takes this object as a callback, and so does a skorch net."
            )
        if isinstance(search.estimator, Kept):
            raise ValueError("The search is wrapped already. Fit it.")
        if search.scoring is None and not hasattr(search.estimator, "score"):
            raise TypeError(f"{search.estimator!r} has no score method, so the search needs scoring=.")
        main = search.refit if isinstance(search.refit, str) else None
        kept = Kept(clone(search.estimator), self, secrets.token_hex(6))
        scorer = KeepingScorer(search.estimator, search.scoring, main, search.error_score)
        check_kept(search, scorer, self.store)
        return clone(search).set_params(estimator=kept, scoring=scorer)

    def _keep_fit(self, kept: Kept, X: Any, y: Any, score: Any, main: str | None) -> None:
        """Keep what a search has fitted and judged on rows; ``main`` is the score, of several, that it goes by."""
        scores = dict(score) if isinstance(score, Mapping) else {"score": score}
        value = float(scores.get(main, next(iter(scores.values()))))
        fitted, seen = kept.wrapped, kept.rows
        judged = marks_of(X, y, labels_of(fitted))
        if seen is not None and np.array_equal(seen, judged):  # the score on the training rows, asked for beside
            return
        meta = {
            "params": plain(kept.trial_params),
            "start": kept.start,
            "judged_on": part_of(judged) or _unmarked(X, y),
        }
        if len(scores) > 1:
            meta["scores"] = {name: float(s) for name, s in scores.items()}
        meta["source"] = f"search {kept.kept_run}"
        name = f"{kept.kept_run}-{kept.origin}-{kept.number}"
        self._put(lambda: member_of(fitted, name, score=value, meta=meta, rows=seen))

    # ---- Optuna ------------------------------------------------------------------------------
    def member(self, trial: Any, fitted: Any, rows: Any = None, held_out: Any = None, start: Any = None) -> None:
        """Hand over what a trial of Optuna has fitted; it is kept when the trial is complete.

        Call it in the objective, and give this object to ``study.optimize(objective, callbacks=[keep])``.

        Parameters
        ----------
        trial : optuna.Trial
            The trial. What a ``FixedTrial`` has fitted, which is of no study, is not kept.
        fitted : estimator
            A fitted skorch net, or an estimator of another library.
        rows : (X, y), optional
            The rows that it was trained on, so that their use to judge it can be warned of.
        held_out : (X, y), optional
            The rows that the value of the trial is of.
        start : nn.Module or State, optional
            Where its training started: networks of one start may be averaged, and ``pool.grouped()`` finds them.
        """
        if isinstance(fitted, type) or not hasattr(fitted, "predict"):
            raise TypeError(f"member takes a fitted estimator, such as a skorch net; got {fitted!r:.100}.")
        if not hasattr(trial, "study"):  # a FixedTrial, by which an objective is run once more
            return
        if start is not None:
            start = digest_of_state(start.state_dict() if isinstance(start, nn.Module) else start)
        known = start_of(fitted) if start is None else start
        seen, judged = (None if part is None else marks_of(*part, labels_of(fitted)) for part in (rows, held_out))
        study = trial.study.study_name
        meta = {"params": plain(trial.params), "start": known, "judged_on": part_of(judged)}
        meta |= {"source": f"study {study!r}", "trial": trial.number}
        member = member_of(fitted, f"trial-{trial.number}", meta=meta, rows=seen)
        if not member.is_network:  # which the next trial may fit again
            member = member.replace(estimator=copy.deepcopy(member.estimator))
        self._pending[study, trial.number] = member

    def __call__(self, study: Any, trial: Any) -> None:
        """Keep the member of a complete trial, as a callback of Optuna.

        Parameters
        ----------
        study : optuna.Study
            The study.
        trial : optuna.trial.FrozenTrial
            A trial that has ended; what was handed over by one that failed or was pruned is dropped.
        """
        member = self._pending.pop((study.study_name, trial.number), None)
        if trial.state.name != "COMPLETE":
            return
        if member is None:
            warn_caller(
                f"Trial {trial.number} of the study {study.study_name!r} has handed over no network, so none is kept: "
                "call keep.member(trial, net) in the objective."
            )
            return
        name, meta = name_of_trial(study.study_name, trial), {**member.meta, "params": plain(trial.params)}
        score = math.nan
        if len(trial.values) == 1:
            score = float(trial.value) if study.direction.name == "MAXIMIZE" else -float(trial.value)
        else:
            meta["values"] = plain(trial.values)
        self._put(lambda: member.replace(name=name, score=score, meta=meta))

    # ---- skorch ------------------------------------------------------------------------------
    def _keep_run(self, net: Any, state: State, start: State, epoch: int, parts: dict[str, Any]) -> None:
        """Keep an epoch of a run of skorch; see ``KeepsRuns``."""
        row = net.history[epoch - 1]
        score = row.get("valid_acc", -row["valid_loss"] if "valid_loss" in row else math.nan)
        seen, judged = (
            None if parts.get(k) is None else marks_of(*parts[k], labels_of(net)) for k in ("rows", "held_out")
        )
        meta = {"params": _settings_of(net), "start": digest_of_state(start), "judged_on": part_of(judged)}
        meta["source"] = "skorch"
        name = f"run-{digest_of_state(state)}"

        def made() -> Member:
            last = member_of(net, name, score=float(score), meta=meta, rows=seen)
            return last.replace(state=state, meta={**last.meta, "epochs": epoch})

        self._put(made)

    def initialize(self) -> KeepTrials:
        """Return this object: it goes on to keep the runs of a net that is initialised anew.

        Returns
        -------
        KeepTrials
            This object.
        """
        return self

    # ---- what all share ----------------------------------------------------------------------
    def _put(self, made: Any) -> None:
        try:
            self.store.put(made())
        except Exception as error:  # a search of hours shall not end for one member
            warn_caller(f"A trial could not be kept in {self.store!r}: {type(error).__name__}: {error}")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, as skorch asks for them.

        Parameters
        ----------
        deep : bool, default=True
            Makes no difference.

        Returns
        -------
        dict
            The store and the epoch.
        """
        return {"store": self.store, "epoch": self.epoch}

    def __sklearn_clone__(self) -> KeepTrials:
        return self

    def __deepcopy__(self, memo: Any) -> KeepTrials:
        return self

    def __getstate__(self) -> dict[str, Any]:
        if isinstance(self.store, MemoryStore):
            raise TypeError(
                "KeepTrials(MemoryStore()) cannot be sent to another process or written to a file, as its members "
                "would stay behind. Give it a folder: KeepTrials('trials')."
            )
        return {"store": self.store, "epoch": self.epoch, "_pending": {}, "runs_": {}}

    def __repr__(self) -> str:
        return f"KeepTrials({self.store!r})"


def _unmarked(X: Any, y: Any) -> dict[str, Any]:
    """Return what a part is known by whose rows have no marks, such as sparse ones."""
    return {"n_rows": X.shape[0] if hasattr(X, "shape") else len(X), "digest": joblib.hash((X, y))[:16]}


def _settings_of(net: Any) -> dict[str, Any]:
    """Return the settings of a net that are numbers or names, without its callbacks."""
    params = net.get_params(deep=False)
    return {k: plain(v) for k, v in params.items() if isinstance(v, int | float | str | type) and "callbacks" not in k}
