"""A pool as a table, as a leaderboard, and as notebooks show it."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from skfusion._html import number, page, text
from skfusion.pool._about import About, about, groups, letter
from skfusion.pool._member import Member

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 20
_KNOWN = "source", "seed", "epoch", "params", "history"


class PoolViews:
    """What shows a pool; none of it reads weights but ``leaderboard``."""

    if TYPE_CHECKING:
        classes: Any

        def __iter__(self) -> Iterator[Member]: ...
        def __len__(self) -> int: ...

    def to_frame(self) -> pd.DataFrame:
        """Return what is known of the members as a table.

        No weights are read: of a pool in a folder, only the beginnings of its files are.

        Returns
        -------
        DataFrame
            A row a member, by name: ``score``; ``kind``, which is network or the class of an estimator; ``n_numbers``
            in its tensors; ``architecture``, a letter that members share whose tensors have the same names, shapes and
            dtypes; ``source``, ``seed`` and ``epoch`` where they are known; its settings as ``params.<name>``; and what
            else its ``meta`` has of numbers, texts and truth values, as ``meta.<name>`` where a name is taken. What is
            not known is missing.

        Examples
        --------
        >>> import torch
        >>> from skfusion import ModelPool
        >>> from skfusion.pool import Member
        >>> members = [Member(f"m{k}", {"w": torch.ones(k + 1)}, meta={"params": {"lr": k}}) for k in range(2)]
        >>> frame = ModelPool(members).to_frame()
        >>> frame["n_numbers"].tolist(), frame["params.lr"].tolist()
        ([1, 2], [0, 1])
        """
        import pandas as pd  # only where a table is asked for

        members = [about(m) for m in self]
        rows = [_row(m, group) for m, group in zip(members, groups(members), strict=True)]
        frame = pd.DataFrame(rows, index=pd.Index([m.name for m in members], name="name"))
        for column in ("n_numbers", "seed", "epoch"):  # whole numbers stay so where some are missing
            values = [row[column] for row in rows]
            if all(value is None or _is_whole(value) for value in values):
                frame[column] = pd.array(values, dtype="Int64")
        nothing = [c for c in ("source", "seed", "epoch") if frame[c].isna().all()]
        return frame.drop(columns=nothing)

    def leaderboard(self, X: Any, y: Any, scoring: Any = None, *, estimator: Any = None) -> pd.DataFrame:
        """Score each member on some rows; see :func:`skfusion.diagnose.leaderboard`.

        Parameters
        ----------
        X, y : array-like
            Rows that no member was trained on.
        scoring : str, callable, or list of these, optional
            Scores, of which the first ranks; accuracy, or R2, when omitted.
        estimator : skorch net, optional
            The net that runs members that carry none.

        Returns
        -------
        DataFrame
            A row a member, the best first, with each score and the ends of its 95 % interval.
        """
        # A pool stands below the estimators that predict with it, so what scores it is looked up when it is asked for.
        table: pd.DataFrame = importlib.import_module("skfusion.evaluate").leaderboard(
            self, X, y, scoring, estimator=estimator
        )
        return table

    def _repr_html_(self) -> str:
        shown = [about(m) for m in islice(self, MOST_ROWS)]  # of others no file is asked what is in it
        return page([_head(shown, len(self), self.classes), _table(shown, [m.score for m in self])])


def _row(member: About, group: int | None) -> dict[str, Any]:
    params = member.meta.get("params")
    settings = params if isinstance(params, dict) else {}
    row = {
        "score": member.score,
        "kind": member.kind,
        "n_numbers": member.n_numbers,
        "architecture": None if group is None else letter(group),
        "source": member.source,
        "seed": member.meta.get("seed"),
        "epoch": member.meta.get("epoch", member.meta.get("epochs")),
        **{f"params.{key}": value for key, value in settings.items()},
    }
    others = {key: value for key, value in member.meta.items() if key not in _KNOWN and _is_plain(value)}
    return row | {f"meta.{key}" if key in row else key: value for key, value in others.items()}


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and abs(value) < 2**63


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)


def _head(shown: list[About], n_members: int, classes: Any) -> str:
    count = "1 member" if n_members == 1 else f"{n_members:,} members"
    n_groups = len({g for g in groups(shown) if g is not None})
    known = f", {n_groups} architectures" if n_groups > 1 and n_members == len(shown) else ""
    labels = "" if classes is None else f", {len(classes)} classes"
    return f'<div class="head">ModelPool of {count}{known}{labels}</div>'


def _table(shown: list[About], scores: list[float]) -> str:
    """Return members as a table, with a bar for each score between the lowest and the highest of all scores."""
    finite = [score for score in scores if math.isfinite(score)]
    has_source, n_more = any(m.source for m in shown), len(scores) - len(shown)
    rows = "".join(
        f'<tr><td class="name">{text(m.name)}</td>'
        + (f'<td class="n">{number(m.score)}{_bar(m.score, finite)}</td>' if finite else "")
        + f"<td>{text(m.kind if group is None else f'{m.kind} {letter(group)}', 60)}</td>"
        + f'<td class="n wide">{number(m.n_numbers)}</td>'
        + (f'<td class="long wide">{text(m.source or "–")}</td>' if has_source else "")
        + "</tr>"
        for m, group in zip(shown, groups(shown), strict=True)
    )
    head = "<th>member</th>" + ('<th class="n">score</th>' if finite else "") + "<th>kind</th>"
    head += '<th class="n wide">numbers</th>' + ('<th class="wide">source</th>' if has_source else "")
    notes = [f"and {n_more:,} more"] if n_more else []
    if finite and min(finite) < max(finite):
        notes.append(f"bars from the lowest score, {min(finite):.4g}, to the highest, {max(finite):.4g}")
    if finite and (n_absent := len(scores) - len(finite)):
        notes.append(f"{n_absent:,} {'has' if n_absent == 1 else 'have'} no finite score")
    more = f'<div class="more">{"; ".join(notes)}</div>' if notes else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}"


def _bar(score: float, finite: list[float]) -> str:
    low, high = min(finite), max(finite)
    if not low < high:
        return ""
    if not math.isfinite(score):
        return '<span class="bar" style="visibility:hidden"></span>'
    return f'<span class="bar"><i style="width:{100 * (score - low) / (high - low):.0f}%"></i></span>'
