"""What stands in a search of scikit-learn in the place of its estimator and its score, so that fits are kept."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Mapping
from inspect import signature
from typing import Any

from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import get_routing_for_object

from skfusion.nets import is_net, starts_of
from skfusion.pool import DirectoryStore
from skfusion.pool.importers import digest_of_state, labels_of, marks_of, start_of


class Kept:
    """An estimator that says what it was fitted on, and else behaves as the one that it wraps.

    Parameters, attributes and tags are those of the wrapped one, so that a search names them as before. A search copies
    its estimator when it is fitted, and this copy once for each trial and fold, in their order. So a copy that knows
    whose copy it is, and which one, knows its fit of the search, its trial and its fold.
    """

    def __init__(self, wrapped: Any, keep: Any, kept_run: str, params: Mapping[str, Any] | None = None):
        self.wrapped, self.keep, self.kept_run = wrapped, keep, kept_run
        self.trial_params = dict(params or {})
        self.start, self.rows, self.is_fitted, self.is_judged = None, None, False, False
        self.token, self.copies = secrets.token_hex(6), []  # the tokens of its copies
        self.origin, self.number = "", 0

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
        self.is_judged = False
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
        copied = Kept(clone(self.wrapped), self.keep, self.kept_run, self.trial_params)
        copied.origin, copied.number = self.token, len(self.copies)
        self.copies.append(copied.token)
        return copied

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

    def __init__(self, estimator: Any, scoring: Any, main: str | None, error_score: Any):
        self.scoring, self.main, self.error_score = scoring, main, error_score
        self.scorer = check_scoring(estimator, scoring, raise_exc=error_score == "raise")
        self.is_many = scoring is not None and not isinstance(scoring, str) and not callable(scoring)

    def __call__(self, estimator: Any, X: Any, y: Any = None, **params: Any) -> Any:
        if not isinstance(estimator, Kept):
            return self._score(estimator, X, y, params)
        score = self._score(estimator.wrapped, X, y, params)
        # A search judges a fit on its training rows after the held-out ones, where it is asked for both.
        if not estimator.is_judged:
            estimator.is_judged = True
            estimator.keep._keep_fit(estimator, X, y, score, self.main)
        return score

    def _score(self, fitted: Any, X: Any, y: Any, params: Mapping[str, Any]) -> Any:
        given = (X,) if y is None else (X, y)
        scores = self.scorer(fitted, *given, **params)
        if self.is_many:
            for name, score in scores.items():
                if isinstance(score, str):  # the traceback of one of several scores, which fails alone
                    scores[name] = self.error_score
                    warnings.warn(f"Scoring failed: {name} is set to {self.error_score}. {score}", stacklevel=2)
        return scores

    def get_metadata_routing(self) -> Any:
        return get_routing_for_object(self.scorer)

    def _accept_sample_weight(self) -> bool:
        """Return whether the score takes weights, which a search asks by this name where metadata is not routed."""
        asked = getattr(self.scorer, "_accept_sample_weight", None)
        return asked() if asked is not None else "sample_weight" in signature(self.scorer).parameters

    def __repr__(self) -> str:
        return f"KeepingScorer({self.scoring!r})"


def check_kept(search: Any, scorer: KeepingScorer, store: Any) -> None:
    """Refuse, before anything is trained, what would fail after the fits of a search."""
    names = [*search.scoring, False] if scorer.is_many else []
    if names and not callable(search.refit) and search.refit not in names:
        raise ValueError(f"There are several scores, so refit must be one of {names}; got {search.refit!r}.")
    if not isinstance(store, DirectoryStore) or is_net(search.estimator) or hasattr(search.estimator, "fuse"):
        return  # which are stored as states
    if inside := [name for name, part in search.estimator.get_params().items() if is_net(part)]:
        raise ValueError(
            f"The search trains a net inside another estimator: it is {inside[0]!r} of a "
            f"{type(search.estimator).__name__}, which a folder cannot hold without pickles. Keep its fits in memory, "
            "KeepTrials(MemoryStore()), or search over the net alone, on inputs that are prepared before."
        )
