"""Pools of models with specifications: immutable, searched by those who have a new task."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from skfusion._rows import Task
from skfusion.pool import Member, ModelPool
from skfusion.reuse._base import Found, Search
from skfusion.reuse._mixture_mmd import MixtureMMD
from skfusion.reuse._offer import Offer, labels_of
from skfusion.reuse._offered import check_labels, member_of, offers_of
from skfusion.reuse._specification import Specification, check_comparable
from skfusion.reuse._storage import read_offers, write_offers


class ReusePool(Sequence[Offer]):
    """An immutable sequence of models of any kind, each with its specification and the labels of its outputs.

    A slice of a pool is a pool, and so is ``pool[["a", "b"]]``; ``pool["a"]`` and ``pool[0]`` are offers.

    Parameters
    ----------
    offers : ModelPool, or iterable of Offer, default=()
        The models. They may have different architectures, classes and kinds, and one task: classification or
        regression.
    specifications : dict of Specification by name, or list of Specification, optional
        Those of the members of a ``ModelPool``.
    labels : dict of array-like by name, optional
        The label of each output of the members of a ``ModelPool``, or new names by the label that they have, ``{own:
        new}``, where those of the pool, or of the estimator, are not what users call them.

    Attributes
    ----------
    offers : tuple of Offer
        The models.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skfusion.reuse import ReusePool
    >>> X, y = load_digits(return_X_y=True)
    >>> pool = ReusePool()
    >>> for name, digits in [("low", y < 5), ("high", y >= 5)]:
    ...     model = LogisticRegression(max_iter=500).fit(X[digits] / 16, y[digits])
    ...     pool = pool.add(model, X[digits] / 16, name=name)
    >>> pool.search(X[y == 7] / 16).names[0]
    'high'
    """

    offers: tuple[Offer, ...]
    _places: dict[str, int]

    def __init__(
        self,
        offers: ModelPool | Iterable[Offer] = (),
        specifications: Mapping[str, Specification] | Sequence[Specification] | None = None,
        labels: Mapping[str, Any] | None = None,
    ):
        if isinstance(offers, ModelPool):
            offers = offers_of(offers, specifications, labels or {})
        elif specifications is not None or labels is not None:
            raise ValueError("Give specifications and labels with a ModelPool; offers have theirs.")
        offers = tuple(offers)
        _check(offers)
        vars(self).update(offers=offers, _places={offer.name: place for place, offer in enumerate(offers)})

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"A ReusePool is immutable: make another one instead of setting {name!r}.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"A ReusePool is immutable: {name!r} cannot be deleted.")

    def __sklearn_clone__(self) -> ReusePool:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return ReusePool, (self.offers,)

    def __len__(self) -> int:
        return len(self.offers)

    @overload
    def __getitem__(self, key: int | str) -> Offer: ...
    @overload
    def __getitem__(self, key: slice | list[Any]) -> ReusePool: ...
    def __getitem__(self, key: int | str | slice | list[Any]) -> Offer | ReusePool:
        if isinstance(key, slice):
            return ReusePool(self.offers[key])
        if isinstance(key, str):
            if key not in self._places:
                raise KeyError(f"No model {key!r} in the pool; there are {self.names}.")
            return self.offers[self._places[key]]
        if isinstance(key, (list, tuple, np.ndarray)):
            return ReusePool([self[k if isinstance(k, str) else int(k)] for k in key])
        return self.offers[key]

    def __repr__(self) -> str:
        shown = self.names if len(self) <= 6 else [*self.names[:3], "...", self.names[-1]]
        return f"ReusePool({len(self)} models: {', '.join(shown)})"

    @property
    def names(self) -> list[str]:
        """Names of the models."""
        return [offer.name for offer in self.offers]

    @property
    def members(self) -> tuple[Member, ...]:
        """The members."""
        return tuple(offer.member for offer in self.offers)

    @property
    def specifications(self) -> list[Specification]:
        """The specifications."""
        return [offer.specification for offer in self.offers]

    @property
    def gamma(self) -> float | None:
        """That of the kernel of all specifications, which is the first one's; None where there is none yet."""
        return self.offers[0].specification.gamma_ if self.offers else None

    @property
    def task(self) -> Task | None:
        """What the models predict: classes or values; None where there is none yet."""
        return self.offers[0].task if self.offers else None

    @property
    def classes(self) -> np.ndarray | None:
        """The sorted labels that one of the models knows, in classification."""
        if self.task != "classification":
            return None
        return np.unique(np.array([label for offer in self.offers for label in offer.labels or ()]))

    def add(
        self,
        model: Any,
        X: Any = None,
        *,
        spec: Specification | None = None,
        labels: Any = None,
        name: str | None = None,
    ) -> ReusePool:
        """Return a pool with one more model.

        Parameters
        ----------
        model : Member, fitted skorch net or fitted estimator
            The model; the pool keeps a copy of a net or estimator.
        X : array-like of shape (n_samples, ...), optional
            Its training inputs, of which the specification is made; they are not kept.
        spec : Specification, optional
            A fitted specification in the place of ``X``; or beside it, one to fit, whose ``gamma``, if it has none, is
            that of the pool.
        labels : array-like or dict, optional
            The user's label of each output, or new names by the label that the model has itself, ``{own: new}``.
        name : str, optional
            Unique in the pool; that of a member, or the model's class and a number, when omitted.

        Returns
        -------
        ReusePool
            The models of this one, and the new one.
        """
        name = name or (model.name if isinstance(model, Member) else f"{type(model).__name__.lower()}-{len(self)}")
        member, own = member_of(model, name)
        return ReusePool([*self.offers, Offer(member, self._specified(X, spec, name), labels_of(own, labels, name))])

    def _specified(self, X: Any, spec: Specification | None, name: str) -> Specification:
        if X is None:
            if spec is None or not hasattr(spec, "points_"):
                raise ValueError(f"Model {name!r} needs X, its training inputs, or spec, a fitted Specification.")
            return spec
        if spec is not None and hasattr(spec, "points_"):
            raise ValueError("Give X or a fitted spec, not both: a specification is fitted to X anew.")
        first = self.offers[0].specification if self.offers else None
        params = (Specification() if spec is None else spec).get_params(deep=False)
        if first is not None:
            params["gamma"] = first.gamma_ if params["gamma"] is None else params["gamma"]
            params["transform"] = first.transform if params["transform"] is None else params["transform"]
        return Specification(**params).fit(X)

    def search(self, X: Any, y: Any = None, search: Search | None = None) -> Found:
        """Find the models that fit a new task.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Its inputs, as the models take them.
        y : array-like of shape (n_samples,), optional
            Labels or values, where the search asks for them.
        search : Search, optional
            How; ``MixtureMMD()`` when omitted.

        Returns
        -------
        Found
            Weights and scores of the models, and whether they fit.
        """
        if not len(self):
            raise ValueError("The pool is empty: add models by pool.add(model, X).")
        search = MixtureMMD() if search is None else search
        if not isinstance(search, Search):
            raise TypeError(f"search must be a Search, such as MixtureMMD(); got {search!r}.")
        if search.needs_labels and y is None:
            raise ValueError(f"{type(search).__name__} ranks models by labels: give y. MixtureMMD() needs none.")
        return search(self, X, y)

    def save(self, path: Any) -> None:
        """Write the pool into a folder: the members as a pool, and the specifications as another one beside it.

        Parameters
        ----------
        path : path-like
            The folder.
        """
        write_offers(self.offers, Path(path))

    @classmethod
    def load(cls, path: Any, net: Any = None, transform: Any = None, trusted: Collection[Any] = ()) -> ReusePool:
        """Read a pool from a folder.

        Parameters
        ----------
        path : path-like
            A folder written by :meth:`save`.
        net : object or dict of objects, optional
            The unfitted nets of members that are networks, by name, or one for all; files hold no code.
        transform : callable or fitted transformer, optional
            That of the specifications, where they were made with one; files do not hold it.
        trusted : iterable of str or type, default=()
            Types of estimators that may be built of a file, as for :meth:`ModelPool.load`.

        Returns
        -------
        ReusePool
            The pool.
        """
        return cls(read_offers(Path(path), net, transform, trusted))


def _check(offers: tuple[Any, ...]) -> None:
    for place, offer in enumerate(offers):
        if not isinstance(offer, Offer):
            raise TypeError(
                f"Item {place} of a ReusePool must be an Offer; got a {type(offer).__name__}. Models are added by "
                "ReusePool().add(model, X)."
            )
        if not hasattr(offer.specification, "points_"):
            raise ValueError(f"The specification of {offer.name!r} is not fitted: call its fit(X), or give add the X.")
    names = [offer.name for offer in offers]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Names must be unique in a pool; these occur more than once: {twice}.")
    check_labels(offers)
    for offer in offers[1:]:
        first = offers[0]
        if offer.task != first.task:
            raise ValueError(
                f"{first.name!r} is for {first.task}, and {offer.name!r} for {offer.task}: make a pool for each task. "
                "A network that classifies needs labels=."
            )
        try:
            check_comparable(first.specification, offer.specification)
        except ValueError as error:
            raise ValueError(f"{first.name!r} and {offer.name!r} do not go together: {error}") from error
