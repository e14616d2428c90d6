"""Parts of a pool: members whose weights may be averaged, and the rows that none of them has seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from skfusion._keys import is_among
from skfusion._rows import inputs_of
from skfusion.pool._about import shapes_of
from skfusion.pool._marks import marks_of
from skfusion.pool._member import Member

if TYPE_CHECKING:
    from skfusion.pool._pool import ModelPool


class Groups(Sequence["ModelPool"]):
    """Members of a pool in groups that may be averaged, the best one first; print it for a report.

    Parameters
    ----------
    groups : sequence of ModelPool
        Each of two members or more.
    alone : dict of str
        Why each of the other members is in no group, by its name.
    """

    def __init__(self, groups: Sequence[ModelPool], alone: dict[str, str]) -> None:
        self.groups, self.alone = tuple(groups), alone

    def __len__(self) -> int:
        return len(self.groups)

    @overload
    def __getitem__(self, key: int) -> ModelPool: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[ModelPool, ...]: ...
    def __getitem__(self, key: int | slice) -> ModelPool | tuple[ModelPool, ...]:
        if not self.groups and isinstance(key, int):
            name, reason = next(iter(self.alone.items()))
            raise IndexError(
                f"No two members of the pool are of one architecture and one start, as {reason} (member {name!r}). "
                "Where all have one start, say so: grouped(one_start=True); else combine their predictions."
            )
        return self.groups[key]

    def __repr__(self) -> str:
        lines = []
        for place, group in enumerate(self.groups):
            known = [m.score for m in group if not math.isnan(m.score)]
            best = f", best score {max(known):.4g}" if known else ""
            lines.append(f"group {place}: {len(group)} members{best}: {', '.join(group.names)}")
        reasons: dict[str, list[str]] = {}
        for name, reason in self.alone.items():
            reasons.setdefault(reason, []).append(name)
        lines += [f"alone, as {reason}: {', '.join(names)}" for reason, names in reasons.items()]
        return "\n".join(lines)


class PoolParts:
    """Methods of a pool that look at which members belong together, and at what they were trained on."""

    members: tuple[Member, ...]
    classes: np.ndarray | None

    def replace(self, members: Iterable[Member] | None = None, **changes: Any) -> ModelPool:
        raise NotImplementedError

    def grouped(self, one_start: bool = False) -> Groups:
        """Return the members in groups of one architecture and one start, whose weights may be averaged.

        Networks that were trained apart from different random weights lie in different valleys of the loss, and their
        mean is no good network. Settings of the module that a search has tried, as ``module__activation``, are of the
        architecture, unless they are numbers with a fraction, as rates of dropout are.

        Parameters
        ----------
        one_start : bool, default=False
            Whether members whose start is not known have started from the same weights, as fine-tunes that were read
            from files may have.

        Returns
        -------
        Groups
            Pools, the one with the best member first. Printed, it says who is in which, and who is alone and why.

        Examples
        --------
        >>> import torch
        >>> from skfusion import ModelPool
        >>> from skfusion.pool import Member
        >>> widths = {"a": (3, "s"), "b": (3, "s"), "c": (4, "s")}
        >>> members = [Member(n, {"w": torch.ones(d)}, meta={"start": s}) for n, (d, s) in widths.items()]
        >>> ModelPool(members).grouped()
        group 0: 2 members: a, b
        alone, as no other one is of its architecture and start: c
        """
        by_key: dict[Any, list[Member]] = {}
        alone: dict[str, str] = {}
        for member in self.members:
            start = member.meta.get("start")
            if not member.is_network:
                alone[member.name] = "it is no network"
            elif start is None and not one_start:
                alone[member.name] = "it is not known from which weights it started"
            else:
                by_key.setdefault((shapes_of(member), start, _module_settings(member)), []).append(member)
        groups = [group for group in by_key.values() if len(group) > 1]
        ranked = sorted(groups, key=_best_score, reverse=True)
        singles = {m.name: "no other one is of its architecture and start" for g in by_key.values() for m in g}
        for member in (m for group in groups for m in group):
            del singles[member.name]
        return Groups([self.replace(group) for group in ranked], alone | singles)

    def unseen(self, X: Any, y: Any) -> np.ndarray:
        """Return the positions of the rows that no member was trained on, nor on a row of the same inputs.

        On these rows members may be judged: ``EnsembleClassifier(collect=pool).fit(X[rows], y[rows])``.

        Parameters
        ----------
        X, y : array-like
            Rows, such as those that a search was fitted on.

        Returns
        -------
        ndarray of int
            Positions, in their order.

        Raises
        ------
        ValueError
            If there are none, or a member does not know the rows that it was trained on.
        """
        unknown = [m.name for m in self.members if m.rows is None]
        if unknown:
            raise ValueError(
                f"The members {unknown[:5]} do not know which rows they were trained on, so it cannot be said which "
                "are new to them. Hold rows out yourself."
            )
        marks = marks_of(X, y, self.classes)
        if marks is None:
            raise ValueError("Give both X and y, as arrays or frames: a row is known by its inputs and its target.")
        seen = np.concatenate([inputs_of(m.rows) for m in self.members if m.rows is not None])
        positions = np.flatnonzero(~is_among(inputs_of(marks), seen))
        if not len(positions):
            raise ValueError(
                f"Each of the {len(marks)} rows was used to train some member, as in cross-validation. Take the "
                "members of one fold, ModelPool.from_search(search, fold=0), or judge on other rows."
            )
        return positions


def _module_settings(member: Member) -> frozenset[tuple[str, str]]:
    """Return by which settings modules of equal tensors may compute different things, such as activations.

    Rates, such as those of dropout, are none of them: they matter in training alone.
    """
    params = member.meta.get("params")
    settings = params if isinstance(params, Mapping) else {}
    of_module = {key: value for key, value in settings.items() if "module" in key.split("__")}
    return frozenset((key, repr(value)) for key, value in of_module.items() if not isinstance(value, float))


def _best_score(group: Sequence[Member]) -> float:
    return max(-math.inf if math.isnan(m.score) else m.score for m in group)
