"""The clients of a federation: whose rows are whose, and what each of them holds out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from skfusion._caller import warn_caller
from skfusion._rows import Rows
from skfusion.data import hold_out
from skfusion.pool import MOST_BY_CHANCE, LeakageWarning


@dataclass(frozen=True, eq=False)
class Client:
    """A client with its rows, as they came, those to train on as networks learn them, and those it holds out."""

    name: Any
    rows: Rows
    fit_rows: Rows
    held_out: Rows | None
    held_places: np.ndarray  # where the rows that it holds out stood in the data of the fit
    fit_places: np.ndarray

    @property
    def weight(self) -> float:
        """What the rows to train on count for: their number, or the sum of their weights."""
        return float(len(self.rows)) if self.rows.weight is None else float(self.rows.weight.sum())

    def class_counts(self, n_classes: int) -> list[float] | None:
        """Return what the rows of each class, or with each label, count for; None where they have values."""
        y, weight = self.rows.y, self.rows.weight
        if self.rows.task == "regression":
            return None
        if self.rows.task == "multilabel":
            return np.asarray((y if weight is None else y * weight[:, None]).sum(axis=0), float).tolist()
        return np.bincount(y, weight, minlength=n_classes).astype(float).tolist()


def parts_of(rows: Rows, groups: Any, n_clients: int, seed: int) -> list[tuple[Any, Rows]]:
    """Return the name and the rows of each client: of each group, or of so many random parts where there are none."""
    if rows.groups is None:
        return [(k, rows.take(index)) for k, index in enumerate(_at_random(rows, n_clients, seed))]
    names, codes = np.unique(np.asarray(groups)).tolist(), rows.groups
    if empty := [name for k, name in enumerate(names) if not (codes == k).any()]:
        warn_caller(f"The clients {empty} have no rows of positive weight, and take no part.")
    alone, order = replace(rows, groups=None), np.arange(len(rows))
    if len(names) - len(empty) > 1:  # so that the order in which rows come has no influence, nor have other clients
        order = np.argsort(rows.keys, kind="stable")
    return [(name, alone.take(order[codes[order] == k])) for k, name in enumerate(names) if name not in empty]


def _at_random(rows: Rows, n_clients: int, seed: int) -> list[np.ndarray]:
    """Return the rows of clients that are drawn: copies of a row are at one, and the order of rows does not count."""
    if n_clients == 1:
        return [np.arange(len(rows))]
    unit = rows.units()[1]
    owner = np.random.RandomState(seed).permutation(int(unit.max()) + 1) % n_clients
    order = np.lexsort((rows.keys, unit))
    return [part for k in range(n_clients) if len(part := order[owner[unit[order]] == k])]


def clients_of(
    parts: Sequence[tuple[Any, Rows]],
    fraction: float | None,
    seed: int,
    learnt: Callable[[Rows], Rows],
) -> list[Client]:
    """Return the clients, each of which holds out a fraction of its own rows where it has two that differ.

    ``learnt`` makes rows to train on of those of a client.
    """
    seeds = np.random.RandomState(seed).randint(np.iinfo(np.int32).max, size=len(parts))
    clients = []
    for (name, rows), own in zip(parts, seeds, strict=True):
        places = np.arange(len(rows)) if rows.position is None else rows.position
        rows = replace(rows, position=None)
        fit, held, held_rows = np.arange(len(rows)), np.zeros(0, np.int64), None
        if fraction is not None and len(np.unique(rows.input_keys)) > 1:
            fit, held = hold_out(rows, fraction, int(own), rows.task)
            rows, held_rows = rows.take(fit), replace(rows.take(held).expanded(), position=None)
        clients.append(Client(name, rows, learnt(rows.expanded()), held_rows, places[held], places[fit]))
    return clients


def warn_of_copies(rows: Rows, clients: Sequence[Client]) -> None:
    """Warn where clients hold out copies of rows that others train on, which no client can know of.

    Equal inputs that are categories are no copies; see :meth:`~skfusion._rows.Rows.units`.
    """
    held = np.concatenate([client.held_places for client in clients])
    if not len(held):
        return
    place = np.arange(len(rows)) if rows.position is None else rows.position
    unit, trained_on = rows.units()[1], np.concatenate([client.fit_places for client in clients])
    count = int(np.isin(unit[np.searchsorted(place, held)], unit[np.searchsorted(place, trained_on)]).sum())
    if count > MOST_BY_CHANCE * len(held):
        warn_caller(
            f"{count} of the {len(held)} rows that clients hold out ({100 * count / len(held):.3g} %) have the inputs "
            "of rows that other clients train on, so the held-out scores are too good. Score on rows that no client "
            "has, or make a client of those that share rows.",
            LeakageWarning,
        )


def joined(parts: Sequence[Rows]) -> tuple[Rows, list[np.ndarray]]:
    """Return the rows of several parts one after another, and the positions of each part."""
    starts = np.cumsum([0, *map(len, parts)])
    first = parts[0]
    X = (
        {name: np.concatenate([p.X[name] for p in parts]) for name in first.X}
        if isinstance(first.X, dict)
        else np.concatenate([p.X for p in parts])
    )
    weight = groups = None
    if any(p.weight is not None for p in parts):
        weight = np.concatenate([np.ones(len(p)) if p.weight is None else p.weight for p in parts])
    if any(p.groups is not None for p in parts):
        own = [np.arange(len(p)) if p.groups is None else p.groups for p in parts]
        groups = np.concatenate(
            [start + np.unique(g, return_inverse=True)[1] for start, g in zip(starts[:-1], own, strict=True)]
        )
    y = np.concatenate([p.y for p in parts])
    return Rows(X, y, weight, groups, task=first.task), [np.arange(a, b) for a, b in pairwise(starts)]
