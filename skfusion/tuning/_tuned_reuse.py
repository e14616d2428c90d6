"""Search for models to reuse, and for how to combine them, by Optuna (Akiba et al., 2019)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from skfusion.data import folds, score_function
from skfusion.reuse import Found, ReusePool, Search
from skfusion.tuning._reuse_candidates import Candidate, Candidates, labelled_rows
from skfusion.tuning._study import quiet, sampler_of


@dataclass(eq=False, repr=False)
class TunedReuse(Search):
    """Let Optuna choose which models are reused, and how they are combined, on a few labelled rows.

    A trial takes up to ``max_members`` models, and one of six ways to combine them: the mean of their predictions, the
    mean weighted by the distance of their mixture from the inputs or by the likelihood of the labels, the model that a
    row is routed to, and a linear model of their predictions or of their features. What learns from labels is judged
    out of fold.

    Parameters
    ----------
    n_trials : int, default=50
        Candidates that the sampler proposes, beside the obvious ones. More find better scores, and fit the labelled
        rows more closely.
    max_members : int, default=5
        Most models that a trial takes. More cost more at prediction.
    cv : int, splitter or iterable, default=5
        Folds by which the ways that learn from labels are judged.
    scoring : str or callable, optional
        As in ``GridSearchCV``, one score of all predictions together; accuracy or R2 when omitted.
    sampler : sampler of Optuna, or callable, optional
        ``TPESampler`` when omitted. A callable, such as the class ``RandomSampler``, is called with
        ``seed=random_state``; an instance is copied for each search and keeps its own seed.
    random_state : int, default=0
        Seed of the sampler, of the folds and of the linear models.

    Attributes
    ----------
    study_ : optuna.Study
        The trials of the last search; ``members`` and ``way`` in their ``user_attrs`` say what was tried.
    best_score_ : float
        The score of what is found. It is the best of many, and so too good: score it on other rows, or by
        ``ModelReuseClassifier(pool, search=TunedReuse())``, which searches anew in each fold, and whose ``report_`` has
        the score of rows that the choice did not see. It leaves this object as it is; its ``search_`` has the study.

    Notes
    -----
    The obvious candidates come first: the best single model, the mixture that is closest to the inputs, averaged and
    routed, the best models averaged, weighted, stacked and probed, and all models averaged. Of equal scores the first
    one wins. So by its own score, on these rows, the result is never worse than any of them. Models are named by rank
    in the trials, so that their order has no influence; where none knows the labels they are ranked by
    :class:`skfusion.reuse.LogME`, and combined by what learns from labels.

    On the 20 networks and six tasks of ``benchmarks/results_reuse.py``, with 10 and 50 labels, 50 proposals were no
    better on other rows than the obvious candidates alone, ``n_trials=0``.

    Each model predicts the rows once. After that a trial costs some milliseconds; routing costs its job selector.

    References
    ----------
    Akiba et al., "Optuna: a next-generation hyperparameter optimization framework", KDD 2019,
    doi:10.1145/3292500.3330701. Zhou and Tan, "Learnware: small models do big", Science China Information Sciences 67,
    2024, doi:10.1007/s11432-023-3823-6.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skfusion.reuse import ReusePool
    >>> from skfusion.tuning import TunedReuse
    >>> X, y = load_digits(return_X_y=True)
    >>> X, pool = X / 16, ReusePool()
    >>> for name, rows in [("low", y[:900] < 5), ("high", y[:900] >= 5), ("few", slice(20))]:
    ...     pool = pool.add(
    ...         LogisticRegression().fit(X[:900][rows], y[:900][rows]), X[:900][rows], name=name
    ...     )
    >>> found = pool.search(X[900:940], y[900:940], TunedReuse(n_trials=10))
    >>> sorted(found.names)[:2], type(found.reuse).__name__
    (['high', 'low'], 'Route')
    """

    n_trials: int = 50
    max_members: int = 5
    cv: Any = 5
    scoring: Any = None
    sampler: Any = None
    random_state: int = 0

    needs_labels: ClassVar[bool] = True

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_trials": 10}
        yield {"n_trials": 0, "max_members": 2}

    def __call__(self, pool: ReusePool, X: Any, y: Any = None) -> Found:
        """Search a pool; see :meth:`Search.__call__`."""
        self._check(y)
        rows, classes = labelled_rows(pool, X, y)
        task = rows.task or "classification"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Classes of fewer different rows")  # few rows are the rule here
            parts = list(folds(rows, self.cv, task, self.random_state))
        candidates = Candidates(pool, rows, classes, parts, score_function(self.scoring, task), self.random_state)
        study = _Study(self, candidates)
        for candidate in candidates.obvious(self.max_members):
            study.know(candidate)
        for _ in range(self.n_trials if len(candidates.pool) > 1 else 0):
            study.propose()
        self.study_, self.best_score_ = study.study, study.score
        return candidates.found(study.best())

    def _check(self, y: Any) -> None:
        if y is None:
            raise ValueError("TunedReuse judges models by labels: give y. MixtureMMD() needs none.")
        for name, least in (("n_trials", 0), ("max_members", 1)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < least:
                raise ValueError(f"{name} of TunedReuse must be a whole number, {least} or more; got {value!r}.")


class _Study:
    """A study over candidates, which remembers the best of them."""

    def __init__(self, search: TunedReuse, candidates: Candidates):
        self.candidates, self.most = candidates, min(search.max_members, len(candidates.pool))
        self.score, self._best = float("-inf"), None
        self._why: list[str] = []
        with quiet():
            sampler = sampler_of(TPESampler if search.sampler is None else search.sampler, search.random_state)
            self.study = optuna.create_study(direction="maximize", sampler=sampler)

    def know(self, candidate: Candidate) -> None:
        """Judge a candidate that the sampler has not proposed."""
        places, way = candidate
        if len(places) > self.most:  # outside of the space: the sampler does not learn from it
            value = self._value(candidate)
            attrs = self._attrs(candidate)
            state = TrialState.FAIL if value is None else TrialState.COMPLETE
            with quiet():
                self.study.add_trial(create_trial(state=state, value=value, user_attrs=attrs))
            return
        picks = {f"rank-{j}": place for j, place in enumerate(places)}
        with quiet():
            self.study.enqueue_trial({"n_members": len(places), "way": way, **picks})
        self.propose()

    def propose(self) -> None:
        """Judge the next candidate of the sampler."""
        with quiet():
            trial = self.study.ask()
            n_members = trial.suggest_int("n_members", 1, self.most)
            way = trial.suggest_categorical("way", self.candidates.ways)
            last = len(self.candidates.pool) - 1
            candidate = tuple(trial.suggest_int(f"rank-{j}", 0, last) for j in range(n_members)), way
        value = self._value(candidate)
        with quiet():
            for name, attr in self._attrs(candidate).items():
                trial.set_user_attr(name, attr)
            self.study.tell(trial, value, TrialState.FAIL if value is None else TrialState.COMPLETE)

    def best(self) -> Candidate:
        """Return the best candidate, the first one of equals."""
        if self._best is None:
            raise ValueError(f"TunedReuse has no score for any way to reuse these models: {self._why[0]}.")
        return self._best

    def _value(self, candidate: Candidate) -> float | None:
        try:
            value = self.candidates.value(candidate)
        except Exception as error:  # one failure loses one candidate
            self._why.append(f"{type(error).__name__}: {error}".rstrip("."))
            return None
        if value > self.score or self._best is None:
            self.score, self._best = value, candidate
        return value

    def _attrs(self, candidate: Candidate) -> dict[str, Any]:
        places, way = self.candidates.key(candidate)
        return {"members": [self.candidates.pool.names[place] for place in places], "way": way}
