"""The ways in which a pool is made of the trials of a search that were kept while it ran."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from skfusion.pool import importers
from skfusion.pool._member import Member
from skfusion.state import State


class PoolTrials:
    """Class methods that make a pool of trials by its constructor."""

    def __init__(self, members: Iterable[Member], base: State | None = None, classes: Any = None) -> None:
        raise NotImplementedError

    @classmethod
    def from_search(cls, search: Any, store: Any = None, *, fold: int | None = None) -> Self:
        """Make a pool of the trials of a finished search of scikit-learn.

        Parameters
        ----------
        search : GridSearchCV, RandomizedSearchCV or another search of scikit-learn
            Fitted, and wrapped before by :meth:`skfusion.KeepTrials.wrap`, as a search throws its fits away.
        store : path-like or Store, optional
            Where they were kept; what the search was wrapped with when omitted.
        fold : int, optional
            The members of this fold of the search only, which were all trained on the same rows. When omitted, those of
            all folds: with more than one, each row was seen by most of them.

        Returns
        -------
        ModelPool
            A member for each fit, called ``"trial-3"``, or ``"trial-3-fold-0"`` where there are several folds, and
            numbered as in ``cv_results_``. Its score is that on the fold's held-out rows. Fits that failed are left
            out, and a warning names them.

        Raises
        ------
        ValueError
            If the search is not fitted, was not wrapped, or all its fits have failed.

        Notes
        -----
        Members are to be chosen and combined on rows that none of them has seen. Of the rows of a search with one
        split, ``cv=ShuffleSplit(1)``, and of the members of one fold, these are the held-out ones, and
        ``pool.unseen(X, y)`` finds them. A search has chosen settings by their scores on these rows: judge what you
        make of the pool on rows that the search was not given.
        """
        members, classes = importers.from_search(search, store, fold)
        return cls(members, classes=classes)

    @classmethod
    def from_study(cls, study: Any, store: Any, *, net: Any = None) -> Self:
        """Make a pool of the complete trials of a study of Optuna.

        Parameters
        ----------
        study : optuna.Study
            Whose objective has called :meth:`skfusion.KeepTrials.member`.
        store : path-like, Store or KeepTrials
            Where the members were kept; those of other studies in it are left aside.
        net : object, optional
            The unfitted net that the states belong to, which a folder does not keep.

        Returns
        -------
        ModelPool
            A member for each trial, called ``"trial-3"``. Its score is the value of the trial, negative where the study
            minimises, and NaN where it has several values. A warning says which trials are left out: those that
            failed, were pruned, or have handed over nothing.

        Raises
        ------
        ValueError
            If the store has no member of the study.
        """
        members, classes = importers.from_study(study, store, net)
        return cls(members, classes=classes)
