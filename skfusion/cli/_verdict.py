"""What a comparison says in a sentence: whether a fusion beats the row that it is compared with, and what to use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from skfusion.compare import simultaneous

TUNED = "tuned"
"""The row that is no fusion, but one network after a search."""


@dataclass(frozen=True)
class Verdict:
    """Whether fusion pays, and the sentences that say so."""

    pays: bool | None  # None where nothing can be said
    headline: str
    details: Sequence[str]
    use: str | None  # the row to use


def verdict_of(table: pd.DataFrame, baselines: Sequence[str]) -> Verdict:
    """Return the verdict on the table of ``compare_fusions``, whose differences are those to ``attrs["reference"]``.

    A fusion beats the reference where the interval of its difference lies above zero. The intervals hold together with
    95 %: that of each of m fusions has a level of 1 - 0.05 / m (Bonferroni), so that one of many fusions that differ
    from the reference by chance alone is seldom called better.
    """
    score, reference = table.attrs["scores"][0], table.attrs.get("reference")
    fusions = [name for name in table.index if name not in (*baselines, reference, TUNED)]
    if not fusions or reference is None:
        return Verdict(None, f"No fusion is compared with {reference or 'another row'}.", [], None)
    gains = simultaneous(table.attrs["folds"], fusions, score, reference)
    known = gains.dropna().sort_values("difference", ascending=False, kind="stable")
    if known.empty:
        return Verdict(None, f"Whether a fusion beats {reference} cannot be said: there are no intervals.", [], None)
    better, worse = known[known["low"] > 0], known[known["high"] < 0]
    details = []
    if better.empty:
        best = known.iloc[0]
        headline = f"No fusion beats {reference} here."
        which = f"The best of {len(fusions)} fusions by its mean {score}" if len(fusions) > 1 else "The only fusion"
        details.append(f"{which} is {best.name}: {_gain(best)}.")
    else:
        best = better.iloc[0]
        headline = f"Fusion pays here: {best.name} gains {_gain(best)} {score} over {reference}."
        if len(better) > 1:
            details.append(f"So do others: {_listed(better.iloc[1:])}.")
    if len(worse):
        details.append(f"Worse than {reference}: {_listed(worse)}.")
    others = [n for n in (TUNED, *baselines) if n in table.index and n != reference]
    details += _against(table, str(best.name), others, len(fusions))
    use = reference if better.empty else _cheapest(table.loc[better.index])
    above = _above(table, use, others, len(fusions))
    details.append(_advice(table, use, str(best.name), reference) if above is None else _instead(above, use))
    use = use if above is None else str(above.name)
    return Verdict(not better.empty, headline, details, use)


def _gain(row: Any) -> str:
    """Return a difference with its interval."""
    difference, low, high = (_signed(row[column]) for column in ("difference", "low", "high"))
    return f"{difference} [{low}, {high}]"


def _signed(x: float) -> str:
    """Return a number with its sign and three decimals."""
    return f"{x:+.3f}".replace("-", "−")


def _listed(rows: pd.DataFrame) -> str:
    """Return the names of rows, with the difference of each."""
    return ", ".join(f"{name} {_gain(row)}" for name, row in rows.iterrows())


def _against(table: pd.DataFrame, best: str, others: Sequence[str], n_fusions: int) -> list[str]:
    """Return which other rows than fusions the best fusion, one of so many, beats, and which it does not."""
    if not others:
        return []
    gains = simultaneous(table.attrs["folds"], others, table.attrs["scores"][0], best, n_fusions)
    below = [name for name in others if gains.loc[name, "high"] < 0]
    above = [name for name in others if gains.loc[name, "low"] > 0]
    tied = [name for name in others if name not in (*below, *above) and gains.loc[name].notna().all()]
    says = {f"{best} is better than {_and(below)}": below, f"{best} is not told apart from {_and(tied)}": tied}
    says[f"{best} is worse than {_and(above)}"] = above
    return [f"{sentence}." for sentence, names in says.items() if names]


def _above(table: pd.DataFrame, use: str, others: Sequence[str], n_fusions: int) -> Any:
    """Return, of the rows that are no fusions, the best that beats ``use``, as its difference; None where none does."""
    if not others:
        return None
    gains = simultaneous(table.attrs["folds"], others, table.attrs["scores"][0], use, n_fusions)
    above = gains[gains["low"] > 0]
    return None if above.empty else above.loc[above["difference"].idxmax()]


def _instead(above: Any, use: str) -> str:
    """Return the advice where a row that is no fusion beats the one that would be used."""
    return f"To use: {above.name}, which is no fusion and gains {_gain(above)} over {use}."


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _cheapest(rows: pd.DataFrame) -> str:
    """Return, of the rows that are not told apart from the best of all, that of the cheapest prediction."""
    tied = rows[rows["tied_with_best"].fillna(False).astype(bool)]
    costs = (tied if len(tied) else rows).assign(unknown=lambda r: r["n_parameters"].isna())
    return str(costs.sort_values(["unknown", "n_parameters", "collect_seconds"], kind="stable").index[0])


def _advice(table: pd.DataFrame, use: str, best: str, reference: str) -> str:
    """Return what to use, and why."""
    if use == reference:
        return f"To use: {use}, as no row is shown to beat it."
    n = table.loc[use, "n_members"]
    nets = "" if pd.isna(n) else f", {n:.0f} network{'' if n == 1 else 's'} in prediction"
    why = "" if use == best else ": of the fusions not told apart from the best row, its prediction costs least"
    return f"To use: {use}{nets}{why}."
