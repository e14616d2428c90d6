"""What to do in two sentences, and what is worth to know beside."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from skfusion.diagnose._advice import best_network
from skfusion.diagnose._facts import Facts, every, key_of, listed, span, told

FEW_ROWS = 1000
"""With more rows, the uncertainty of an accuracy is below two points and not told."""


class Recommendation(NamedTuple):
    """What to do.

    Parameters
    ----------
    one_network : str
        For predictions that cost one network.
    best_score : str
        For the highest score.
    """

    one_network: str
    best_score: str


def recommend(f: Facts) -> Recommendation:
    """Return what to do."""
    if not f.has_data:
        reason = f"The members differ in architecture, so no soup is possible: {f.unlike}" if f.unlike else ""
        return Recommendation(
            f"For one network: {reason or 'weights do not tell whether a soup is good.'} Diagnose with rows that no "
            "member was trained on, to choose.",
            "For the best score: an ensemble of all is the safe choice; what it gains is told by rows that no member "
            "was trained on.",
        )
    name, score = best_network(f)
    return Recommendation(_one(f, name, score), _best(f, name, score))


def _one(f: Facts, name: str, score: float) -> str:
    if score > f.top:
        text = f"For one network, take {name}: its {f.score_name} is {told(score)}, and {told(f.top)} that of the best "
        return f"{text}member, {f.best!r}. {_code(f, name)}"
    text = f"For one network, keep {f.best!r}: its {f.score_name} is {told(f.top)}"
    if "soup" in f.pool:
        text += f", that of the uniform soup {told(f.pool['soup'])}"
        how = f.best_frame()
        text += "" if how is None else f", and {told(f.pool[key_of(how)])} after alignment"
    return f"{text}."


def _code(f: Facts, name: str) -> str:
    how = f.best_frame()
    if name.startswith("the soup of"):
        members = max(f.good_basins, key=lambda basin: basin.soup).members
        return f"Soup{f.kind}(collect=pool[{[*members]!r}], merge=Uniform()) makes it."
    if name == "the uniform soup" or how is None:
        return f"Soup{f.kind}(collect=pool, merge=Uniform()) makes it."
    matched = "ActivationMatching()" if how.startswith("activations") else "MergeMany()"
    repair = ", repair=Repair()" if how.endswith("_repair") else ""
    return f"Soup{f.kind}(collect=pool, align={matched}, merge=Uniform(){repair}) makes it."


def _best(f: Facts, name: str, score: float) -> str:
    n, found = len(f.members), float(f.pool["ensemble"])
    if found > score:
        return (
            f"For the best {f.score_name}, average the predictions of {every(f)}: {told(found)}, {told(found - score)} "
            f"above {name}, at the price of {n} networks a prediction. Ensemble{f.kind}(collect=pool) makes it."
        )
    return (
        f"For the best {f.score_name}, one network is enough: the averaged predictions of {every(f)} score "
        f"{told(found)}, and {name} {told(score)}."
    )


def remarks(f: Facts, n_rows: int) -> Iterator[str]:
    """Yield what is worth to know beside the advice."""
    yield from _equal(f)
    if not f.has_data:
        return
    yield from _batch_norm(f)
    yield from _greedy(f)
    yield from _weak(f)
    p = f.top
    if f.score_name == "accuracy" and n_rows < FEW_ROWS and 0 < p < 1:
        error = 2 * math.sqrt(p * (1 - p) / n_rows)
        yield (
            f"On {n_rows} rows, an accuracy of {told(p)} is known to about ± {told(error)}; the highest of the many "
            "scores here is flattered by choice."
        )


def _equal(f: Facts) -> Iterator[str]:
    for pair, share in f.apart.items():
        if share <= 1e-6:
            yield f"{listed(pair)} are the same network up to rounding: one of them adds nothing."
        elif share <= 1e-3:
            yield f"{listed(pair)} are nearly equal, {share:.1g} of their length apart: little can be gained."


def _batch_norm(f: Facts) -> Iterator[str]:
    if not f.batch_norm or "fall_raw" not in f.pairs:
        return
    raw, line = f.pairs["fall_raw"], f.pairs["fall_line"]
    guilty = (raw > f.tolerance) & (line <= f.tolerance)
    if guilty.any():
        yield (
            f"BatchNorm was the culprit between {int(guilty.sum())} of {len(raw)} pairs: with averaged statistics the "
            f"{f.score_name} falls by {span(raw[guilty])}, with recalibrated ones by {span(line[guilty])}. Recalibrate "
            "after averaging: soups of skfusion do so, plain averaging of state dicts does not."
        )


def _greedy(f: Facts) -> Iterator[str]:
    if "midpoint_line" not in f.pairs or f.is_equal:
        return
    own = f.pairs[[f.best in pair for pair in f.pairs.index]]
    middles = own["midpoint_line"].dropna()
    if len(middles) and (middles < f.top).all():
        yield (
            f"A greedy soup of these members is {f.best!r} alone: it scores {told(f.top)}, its averages with others "
            f"{span(middles)}, and Greedy() adds only what does no harm. That is no fault of the search: no mean of it "
            "and another member is better."
        )


def _weak(f: Facts) -> Iterator[str]:
    score = f.members["score"]
    for name, own in score.items():
        rest = float(score.drop(name).median())
        if own < rest - 5 * f.tolerance:
            yield (
                f"{name!r} scores {told(own)}, {told(rest - own)} below the median of the others: leave it out of a "
                "uniform soup, and see whether the rest are better without it."
            )
