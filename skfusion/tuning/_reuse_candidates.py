"""Candidates of a search for models to reuse: a few models, a way to combine them, and what that is worth."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import column_or_1d

from skfusion._caller import warn_caller
from skfusion._rows import Rows
from skfusion.combine import WeightedAverage
from skfusion.data import Fold, columns_of, encode_values
from skfusion.pool import Member
from skfusion.reuse import (
    AllMixtureMMD,
    AverageFound,
    Found,
    LogME,
    MixtureMMD,
    Offer,
    Probe,
    ReusePool,
    Reuser,
    Route,
    StackFound,
)

Candidate = tuple[tuple[int, ...], str]
"""Ranks of models, and the way to combine them."""

WAYS: dict[str, type[Reuser]] = {
    "average": AverageFound,
    "mixture": AverageFound,
    "weighted": AverageFound,
    "route": Route,
    "stack": StackFound,
    "probe": Probe,
}
"""All alike, by the distance of their mixture, by the likelihood of the labels, row by row, or by linear models of
predictions or features."""

LINEAR = ("stack", "probe")
"""Ways that need no model that knows the labels."""

LEARNING = ("weighted", *LINEAR)
"""Ways that learn from labels, and are judged out of fold."""


def labelled_rows(pool: ReusePool, X: Any, y: Any) -> tuple[Rows, np.ndarray | None]:
    """Return rows with codes of the labels, or values, and the labels: those in y, and those of models that share one.

    Models may know labels that few rows lack; those would be predicted, so that they are judged with them.
    """
    if pool.task == "regression":
        return Rows(X, encode_values(np.asarray(y)), task="regression", columns=columns_of(X)), None
    y = column_or_1d(y)
    own = set(np.unique(y).tolist())
    related = [label for offer in pool if own.intersection(offer.labels or ()) for label in offer.labels or ()]
    classes = np.unique(np.array([*own, *related]))
    codes = np.searchsorted(classes, y).astype(np.int64)
    return Rows(X, codes, task="classification", columns=columns_of(X)), classes


class Candidates:
    """What models and ways to combine them are worth on labelled rows; nothing is computed twice.

    Parameters
    ----------
    pool : ReusePool
        The models.
    rows : Rows
        The labelled rows, with codes of the classes.
    classes : ndarray of shape (n_classes,) or None
        The labels by their codes; None in regression.
    parts : list of Fold
        By which ways that learn from labels are judged.
    score : callable
        ``score(prediction, rows)``, higher is better.
    seed : int
        Of the linear models.

    Attributes
    ----------
    pool : ReusePool
        Those that predict something, the best first.
    ways : list of str
        In which they can be combined.
    """

    def __init__(
        self,
        pool: ReusePool,
        rows: Rows,
        classes: np.ndarray | None,
        parts: Sequence[Fold],
        score: Callable[[np.ndarray, Rows], float],
        seed: int,
    ):
        self.given, self.rows, self.classes, self.parts, self.score, self.seed = pool, rows, classes, parts, score, seed
        self._own: list[np.ndarray] = []
        self._features: dict[int, np.ndarray] = {}
        self._values: dict[Candidate, float | Exception] = {}
        self._rank()

    def _rank(self) -> None:
        """Order models by what they are worth alone, those that do not know the labels last, and leave out the rest."""
        outputs, failures = dict[str, np.ndarray](), dict[str, str]()
        for offer in self.given:
            try:
                outputs[offer.name] = np.asarray(offer.predictions(self.rows.X), np.float64)
                if not np.isfinite(outputs[offer.name]).all():
                    raise ValueError("it predicts NaN or infinite values")
            except Exception as error:  # one failure loses one model
                outputs.pop(offer.name, None)
                failures[offer.name] = f"{type(error).__name__}: {error}".rstrip(".")
        if failures:
            name, why = next(iter(failures.items()))
            if not outputs:
                raise ValueError(f"None of the models predicts these inputs; {name!r} raises {why}.")
            warn_caller(f"TunedReuse leaves out {len(failures)} of {len(self.given)} models. {name!r} raises {why}.")
        alone = {name: self._alone(name, P) for name, P in outputs.items()}
        self.score_name = "score alone"
        if np.isnan([*alone.values()]).all():
            found = self.given[[*outputs]].search(self.rows.X, self._labels(), LogME())
            alone, self.score_name = dict(zip(outputs, found.scores.tolist(), strict=True)), found.score_name
            self.ways = [*LINEAR]
        else:
            self.ways = [*WAYS]
        names = sorted(alone, key=lambda name: (np.isnan(alone[name]), -np.nan_to_num(alone[name]), name))
        self.pool, self.alone = self.given[names], alone
        self._own = [outputs[name] for name in names]

    def _alone(self, name: str, P: np.ndarray) -> float:
        offer = self.given[name]
        return self.score(offer.for_classes(P, self.classes), self.rows) if self._knows(offer) else np.nan

    def _knows(self, offer: Offer) -> bool:
        return self.classes is None or bool(set(offer.labels or ()).intersection(self._labels().tolist()))

    def _labels(self) -> np.ndarray:
        """Return the labels of the rows, as the user gave them, or values."""
        return self.rows.y if self.classes is None else self.classes[self.rows.y]

    def obvious(self, max_members: int) -> list[Candidate]:
        """Return what comes to mind first: the best model, mixtures, the best few in all ways, and all of them."""
        all_of_them = tuple(range(len(self.pool)))
        best = all_of_them[:max_members]
        linear = [(best, "stack"), (best[:1], "probe"), (best, "probe")]
        if self.ways == [*LINEAR]:
            return linear
        known = tuple(place for place in all_of_them if self._knows(self.pool[place]))
        best = known[:max_members]
        mixed = self.pool[[*known]].search(self.rows.X, search=MixtureMMD(max_members)).weights
        mixture = tuple(known[i] for i in np.flatnonzero(mixed))
        first: list[Candidate] = [(known[:1], "average"), (mixture, "mixture"), (mixture, "route"), (best, "average")]
        return [*first, (best, "weighted"), *linear, (known, "average")]

    def value(self, candidate: Candidate) -> float:
        """Return what a candidate is worth; it raises where its models cannot be combined so."""
        key = self.key(candidate)
        if key not in self._values:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)  # of few rows, and the value says it
                    self._values[key] = self._value(*key)
            except Exception as error:  # one failure loses one candidate
                self._values[key] = error
        value = self._values[key]
        if isinstance(value, Exception):
            raise value
        return value

    def key(self, candidate: Candidate) -> Candidate:
        """Return the same candidate in the one form that there is of it: all ways to average one model are one."""
        places, way = tuple(sorted(set(candidate[0]))), candidate[1]
        return places, "average" if len(places) == 1 and way not in LINEAR else way

    def found(self, candidate: Candidate) -> Found:
        """Return a candidate as what is found, with weights from all rows and the way to combine the models."""
        places, way = self.key(candidate)
        weights = np.zeros(len(self.given))
        by_rank = self._weights(places, way, np.arange(len(self.rows)))
        for name, weight in zip(self.pool.names, by_rank, strict=True):
            weights[self.given.names.index(name)] = weight
        scores = np.array([self.alone.get(name, np.nan) for name in self.given.names])
        return Found(self.given, weights, scores, self.score_name, reuse=WAYS[way]())

    def _value(self, places: tuple[int, ...], way: str) -> float:
        if way not in LEARNING:
            everything = np.arange(len(self.rows))
            value = self.score(self._predicted(places, way, everything, everything), self.rows)
        else:
            tested = np.concatenate([test for _, test in self.parts])
            P = [self._predicted(places, way, train, test) for train, test in self.parts]
            value = self.score(np.concatenate(P), self.rows.take(tested))
        if np.isnan(value):
            raise ValueError("the score is NaN")
        return float(value)

    def _predicted(self, places: tuple[int, ...], way: str, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        """Return the predictions for some rows by models that are combined as others teach."""
        if way in LINEAR:
            return self._learned(places, way, train, test)
        weights = self._weights(places, way, train)
        if way != "route":
            mean: np.ndarray = np.tensordot(weights[[*places]], np.stack([self._known(i)[test] for i in places]), 1)
            return mean
        route = Route().fit(Found(self.pool, weights, weights, "weight"), self.rows.X, None, None, self.seed)
        chosen = [self.pool.names.index(offer.name) for offer in route.offers_]
        rows = zip(route.places(self.rows.take(test).X), test, strict=True)
        return np.stack([self._known(chosen[place])[row] for place, row in rows])

    def _weights(self, places: tuple[int, ...], way: str, train: np.ndarray) -> np.ndarray:
        """Return the weight of each model of the pool, as some rows teach."""
        weights, chosen = np.zeros(len(self.pool)), [*places]
        if way == "weighted":
            P = np.stack([self._known(i)[train] for i in places])
            part = self.rows.take(train)
            weights[chosen] = WeightedAverage().fit(P, part.y, self.rows.task or "classification").weights_
        elif way in ("mixture", "route"):
            weights[chosen] = self.pool[chosen].search(self.rows.X, search=AllMixtureMMD(1.0)).weights
        else:
            weights[chosen] = 1 / len(chosen)
        return weights

    def _learned(self, places: tuple[int, ...], way: str, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        """Return the predictions of a linear model, fitted to what models give for other rows."""
        offers = [self.pool[i].replace(member=self._remembered(i, way)) for i in places]
        found = Found(ReusePool(offers), np.full(len(offers), 1 / len(offers)), -np.arange(len(offers)), "rank")
        fitted = WAYS[way]().fit(found, train[:, None], self.rows.y[train], self.classes, self.seed)
        return fitted(test[:, None])

    def _remembered(self, place: int, way: str) -> Member:
        """Return a member that knows what a model gives for each row, by the row's position."""
        if way == "probe" and place not in self._features:
            self._features[place] = self.pool[place].features(self.rows.X)
        given = self._features[place] if way == "probe" else self._own[place]
        return Member(self.pool.names[place], estimator=_Remembered(given))

    def _known(self, place: int) -> np.ndarray:
        """Return what a model predicts for all rows, of the user's classes."""
        offer = self.pool[place]
        if not self._knows(offer):
            raise ValueError(f"model {offer.name!r} predicts none of the labels")
        return self._own[place] if self.classes is None else offer.for_classes(self._own[place], self.classes)


class _Remembered:
    """What a model gives for rows, by their positions, as an estimator."""

    def __init__(self, given: np.ndarray):
        self.given = given

    def decision_function(self, positions: np.ndarray) -> np.ndarray:
        """Return features, where the way asks for them."""
        return self.given[positions[:, 0]]

    predict = predict_proba = decision_function
