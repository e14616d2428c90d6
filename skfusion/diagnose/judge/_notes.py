"""What to do in two sentences, and notes on what else one should know."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from skfusion.diagnose._words import begun, listed, number, span
from skfusion.diagnose.judge._advice import UNMEASURED
from skfusion.diagnose.judge._facts import (
    ALONE,
    Facts,
    Option,
    averaged,
    best_member,
    best_network,
    every,
    in_doubt,
    lagging,
)
from skfusion.diagnose.measure._lines import key_of

FEW_ROWS = 1000
"""With more rows, the uncertainty of an accuracy is below two points, and not reported."""
RARE = 5
"""With fewer rows that are right, or wrong, the interval of their share is not symmetric."""
LEAST_FIT = 30
"""Rows that statistics of BatchNorm should come from."""


class Recommendation(NamedTuple):
    """What to do, in one sentence each."""

    one_network: str  # for predictions that cost one network
    best_score: str  # for the highest score


def recommend(f: Facts) -> Recommendation:
    """Return what to do."""
    if not f.has_data:
        reason = "weights do not say whether a soup is good."
        if f.differ:
            reason = f"{f.differ}, so there is no soup of all."
        return Recommendation(
            f"For one network: {reason} Diagnose with rows that no member was trained on, to choose.",
            "For the best score: an ensemble of all is the safe choice; rows that no member was trained on show "
            "what it gains.",
        )
    one = best_network(f)
    return Recommendation(_one(f, one), _best(f, one))


def _one(f: Facts, one: Option) -> str:
    best = best_member(f)
    if one.score > best.score:
        made = f.recipes.recalibrated(one.members[0]) if one.how == ALONE else f.recipes.soup(one.members, one.how)
        return (
            f"For one network, take {one.words}: its {f.score_name} is {number(one.score)}, and {number(best.score)} "
            f"that of the best member, {best.words}.{in_doubt(f, one, best)} {made}"
        )
    text = f"For one network, keep {best.words}: its {f.score_name} is {number(best.score)}"
    if "soup" in f.pool:
        text += f", that of the uniform soup {number(f.pool['soup'])}"
        how = f.best_alignment()
        text += "" if how is None else f", and {number(f.pool[key_of(how)])} after alignment"
    return f"{text}."


def _best(f: Facts, one: Option) -> str:
    mean = averaged(f)
    if mean.score > one.score:
        return (
            f"For the best {f.score_name}, average the predictions of {every(f)}: {number(mean.score)}, "
            f"{number(mean.score - one.score)} above {one.words}, at the price of {len(f.members)} networks a "
            f"prediction.{in_doubt(f, mean, one)} {f.recipes.ensemble()}"
        )
    return (
        f"For the best {f.score_name}, one network is enough: the averaged predictions of {every(f)} score "
        f"{number(mean.score)}, and {one.words} {number(one.score)}.{f' {UNMEASURED}' if lagging(f) else ''}"
    )


def remarks(f: Facts) -> Iterator[str]:
    """Yield what else one should know, first what may make all of the advice wrong."""
    if f.n_seen:
        yield (
            f"{f.n_seen} of the {f.n_rows} rows used to diagnose the members are rows that members were trained on, so "
            "their scores are too good, and verdicts rest on them. Give rows that no member has seen."
        )
    yield from _equal(f)
    if not f.has_data:
        return
    yield from _statistics(f)
    yield from _lagging(f)
    yield from _batch_norm(f)
    yield from _greedy(f)
    yield from _weak(f)
    if f.score_name == "accuracy" and f.n_rows < FEW_ROWS:
        yield (
            f"On {f.n_rows} rows, an accuracy of {number(f.top)} is known to {_known(f.top, f.n_rows)}; the highest of "
            "the many scores here is flattered by choice."
        )


def _known(p: float, n: int) -> str:
    """Return within which bounds a share of rows is known: by Wilson's interval where one kind of row is rare."""
    if n * min(p, 1 - p) >= RARE:
        return f"about ± {number(2 * math.sqrt(p * (1 - p) / n))}"
    middle, half = (p + 2 / n) / (1 + 4 / n), 2 * math.sqrt(p * (1 - p) / n + 1 / n**2) / (1 + 4 / n)
    return f"lie between about {number(max(0.0, middle - half))} and {number(min(1.0, middle + half))}"


def _equal(f: Facts) -> Iterator[str]:
    for pair, share in f.apart.items():
        if share <= 1e-6:
            yield f"{listed(pair)} are the same network up to rounding: one of them adds nothing."
        elif share <= 1e-3:
            yield f"{listed(pair)} are nearly equal, {share:.1g} of their length apart: little can be gained."
        elif f.weights_apart[pair] <= 1e-6:
            yield (
                f"{listed(pair)} have the same weights and other statistics, as those of BatchNorm, or other buffers: "
                "they are not one network."
            )


def _statistics(f: Facts) -> Iterator[str]:
    """Yield which rows statistics come from, and whether these are too few."""
    matched = "fall_activations" in f.pairs and f.pairs["fall_activations"].notna().any()
    whose = "averages" if f.averageable else "single members"
    used = [f"BatchNorm statistics of {whose} were estimated"] if f.recipes.batch_norm else []
    used += ["activations were matched"] if matched else []
    if not used:
        return
    text = f"{begun(' and '.join(used))} on "
    same = " Fit what is recommended on the same rows, and it has the score reported here."
    if f.has_fit_rows:
        yield f"{text}{f.n_fit} rows of their own ({f.recipes.fit_data}), and scores are of {f.n_rows} others."
    else:
        yield (
            f"{text}the {f.n_fit} rows that are judged, without a look at their labels; {f.recipes.fit_data} takes "
            f"others, such as those of training.{same if f.averageable else ''}"
        )
    if f.recipes.batch_norm and f.n_fit < LEAST_FIT:
        yield (
            f"The statistics of BatchNorm come from {f.n_fit} rows only: they are uncertain, and so are all scores "
            "with recalibrated statistics."
        )


def _lagging(f: Facts) -> Iterator[str]:
    behind = lagging(f)
    if not behind:
        return
    parts = [
        f"{before.words} alone scores {number(after.score)}, and {number(before.score)} with its own"
        for before, after in behind
    ]
    rows = f"rows of {f.recipes.fit_data}" if f.has_fit_rows else "these rows"
    text = f"With statistics of BatchNorm recalibrated on {rows}, {'; '.join(parts[:5])}{'; ...' * (len(parts) > 5)}: "
    text += f"{'its' if len(parts) == 1 else 'their'} running statistics lag behind. "
    if f.averageable:
        text += (
            "Averages have recalibrated statistics, and the ends of lines the networks' own: falls look smaller than "
            "they are. "
        )
    yield f"{text}{f.recipes.recalibrate()}"


def _batch_norm(f: Facts) -> Iterator[str]:
    if not f.recipes.batch_norm or "fall_raw" not in f.pairs:
        return
    raw, line = f.pairs["fall_raw"], f.pairs["fall_line"]
    guilty = (raw > f.tolerance) & (line <= f.tolerance)
    if guilty.any():
        yield (
            f"BatchNorm was the culprit between {int(guilty.sum())} of {len(raw)} pairs: with averaged statistics the "
            f"{f.score_name} falls by {span(raw[guilty])}, with recalibrated ones by {span(line[guilty])}. Recalibrate "
            "after averaging: soups of skfusion do so, plain averaging of state dicts does not."
        )
    spoilt = (line > f.tolerance) & (raw <= f.tolerance)
    harmed = "soup" in f.pool and f.pool["soup_raw"] > f.pool["soup"] + f.tolerance
    if spoilt.any() or harmed:
        parts = []
        if harmed:
            parts.append(f"the uniform soup scores {number(f.pool['soup'])}, and {number(f.pool['soup_raw'])} without")
        if spoilt.any():
            parts.append(
                f"between {int(spoilt.sum())} of {len(raw)} pairs the {f.score_name} falls by {span(line[spoilt])}, "
                f"and by {span(raw[spoilt])} without"
            )
        yield (
            f"Recalibrated statistics of BatchNorm did harm: with them {'; '.join(parts)}. The {f.n_fit} rows that "
            "they were estimated on are too few, or different from those of training: give others by "
            f"{f.recipes.fit_data}."
        )


def _greedy(f: Facts) -> Iterator[str]:
    if "midpoint_line" not in f.pairs or f.is_equal:
        return
    of_best = f.pairs[[f.best in pair for pair in f.pairs.index]]
    middles = of_best["midpoint_line"].dropna()
    if len(middles) and (middles < f.top).all():
        yield (
            f"A greedy soup of these members is {f.best!r} alone: it scores {number(f.top)}, its averages with others "
            f"{span(middles)}, and Greedy() adds only what does no harm. That is no fault of the search: no mean of it "
            "and another member is better."
        )


def _weak(f: Facts) -> Iterator[str]:
    scores = f.members["score"]
    for name, score in scores.items():
        rest = float(scores.drop(name).median())
        if score < rest - 5 * f.tolerance:
            where = "a uniform soup" if any(name in pair for pair in f.averageable) else "the ensemble"
            yield (
                f"{name!r} scores {number(score)}, {number(rest - score)} below the median of the others: leave it out "
                f"of {where}, and see whether the rest are better without it."
            )
