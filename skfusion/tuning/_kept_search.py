"""What stands in a search of scikit-learn in the place of its estimator and its score, so that fits are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.base import clone
from sklearn.metrics import get_scorer
from sklearn.utils import get_tags

from skfusion.nets import is_net, starts_of
from skfusion.pool.importers import digest_of_state, labels_of, marks_of, start_of


class Kept:
    """An estimator that says what it was fitted on, and else behaves as the one that it wraps.

    Parameters, attributes and tags are those of the wrapped one, so that a search names them as before.
    """

    def __init__(self, wrapped: Any, keep: Any, kept_run: str, params: Mapping[str, Any] | None = None):
        self.wrapped, self.keep, self.kept_run = wrapped, keep, kept_run
        self.trial_params = dict(params or {})
        self.start, self.rows, self.is_fitted = None, None, False

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return self.wrapped.get_params(deep)

    def set_params(self, **params: Any) -> Kept:
        self.wrapped.set_params(**params)
        self.trial_params |= params
        return self

    def fit(self, X: Any, y: Any = None, **params: Any) -> Kept:
        if is_net(self.wrapped):
            with starts_of(self.wrapped) as starts:
                self.wrapped.fit(X, y, **params)
            self.start = digest_of_state(starts[0]) if starts else None
        else:
            self.wrapped.fit(X, y, **params)
            self.start = start_of(self.wrapped)
        self.rows, self.is_fitted = marks_of(X, y, labels_of(self.wrapped)), True
        return self

    def get_metadata_routing(self) -> Any:
        return self.wrapped.get_metadata_routing()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "wrapped":  # which is not there yet while this is unpickled
            raise AttributeError(name)
        return getattr(self.wrapped, name)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "rows": None}

    def __sklearn_clone__(self) -> Kept:
        return Kept(clone(self.wrapped), self.keep, self.kept_run, self.trial_params)

    def __sklearn_tags__(self) -> Any:
        return get_tags(self.wrapped)

    def __sklearn_is_fitted__(self) -> bool:
        return self.is_fitted

    def __repr__(self) -> str:
        return f"Kept({self.wrapped!r})"


class KeepingScorer:
    """A score of a search that hands the estimator which it has judged over to what keeps it.

    A search judges each fit right after it, on the rows that it holds out, so that both are known here, in the process
    where the fit was.
    """

    def __init__(self, scoring: Any, main: str | None):
        self.scoring, self.main = scoring, main

    def __call__(self, estimator: Any, X: Any, y: Any = None, **params: Any) -> Any:
        if not isinstance(estimator, Kept):
            return self._score(estimator, X, y, params)
        score = self._score(estimator.wrapped, X, y, params)
        estimator.keep._keep_fit(estimator, X, y, score, self.main)
        return score

    def _score(self, fitted: Any, X: Any, y: Any, params: Mapping[str, Any]) -> Any:
        scoring = self.scoring
        if scoring is None:
            return fitted.score(X, y, **params)
        if isinstance(scoring, list | tuple | set):
            scoring = {name: name for name in scoring}
        if isinstance(scoring, Mapping):
            return {name: get_scorer(s)(fitted, X, y, **params) for name, s in scoring.items()}
        return get_scorer(scoring)(fitted, X, y, **params)

    def __repr__(self) -> str:
        return f"KeepingScorer({self.scoring!r})"
