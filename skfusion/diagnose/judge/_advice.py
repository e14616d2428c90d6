"""Whether to average, align, connect, ensemble or distil: verdicts from what was measured, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from skfusion.diagnose._words import begun, listed, number, span
from skfusion.diagnose.judge._facts import (
    ALONE,
    Facts,
    averaged,
    best_member,
    best_network,
    every,
    in_doubt,
    is_beyond,
    lagging,
    of_pool,
    recalibrated,
    words_for,
)
from skfusion.diagnose.judge._recipes import ALIKE
from skfusion.diagnose.measure._lines import key_of

UNKNOWN = "Weights alone do not decide it: on rows that no member was trained on,"
UNMEASURED = "Predictions of members with recalibrated statistics were not averaged; they may be better."


class Verdict(NamedTuple):
    """Whether to fuse in one way: yes, no or maybe, with the numbers that say so."""

    verdict: str
    why: str


def soup(f: Facts) -> Verdict:
    """Whether the weights of the members can be averaged as they are."""
    if f.differ:
        return Verdict("maybe" if f.good_basins else "no", f"{begun(f.differ)}. {_partial(f)}")
    if f.is_equal:
        return Verdict("no", "The members are one network, up to rounding: an average of them is that network.")
    if not f.has_data:
        return Verdict("maybe", f"{UNKNOWN} the score along the lines between members does.{_by_angle(f)}")
    falls = f.pairs["fall_line"]
    why = (
        f"On the line between two members, the {f.score_name} falls by {span(falls)}; the uniform soup scores "
        f"{number(f.pool['soup'])}, and the best member, {f.best!r}, {number(f.top)}."
    )
    if f.recipes.batch_norm and abs(f.pool["soup_raw"] - f.pool["soup"]) > f.tolerance:
        why += f" Without recalibrated BatchNorm statistics the soup would score {number(f.pool['soup_raw'])}."
    if f.works("line"):
        return _works(f, "line", why)
    if f.is_flat("line"):
        return Verdict("maybe", f"{why} There is no barrier, but some members are weak: choose by Greedy().")
    if f.pool["soup"] >= f.top - f.tolerance:
        return Verdict("maybe", f"{why} There are barriers, though the mean of all lies well.")
    if f.good_basins:
        return Verdict("maybe", f"{why} {_partial(f)}")
    return Verdict("no", why)


def _works(f: Facts, how: str, why: str) -> Verdict:
    """Say yes to a soup, unless a member with recalibrated statistics is better alone."""
    mean = of_pool(f, key_of(how), "the soup", how)
    alone = max((after for _, after in recalibrated(f)), key=lambda option: option.score, default=None)
    if alone is None or not is_beyond(f, alone, mean):
        return Verdict("yes", why)
    return Verdict("maybe", f"{why} {alone.words} scores {number(alone.score)} alone, which is more.")


def _partial(f: Facts) -> str:
    if not f.good_basins:
        return "Only their predictions can be averaged." if f.differ else ""
    parts = (
        f"a soup of {listed(b.members)} scores {number(b.soup)}, and the best of these {number(b.best)}"
        for b in f.good_basins
    )
    return f"Some members share a basin: {'; '.join(parts)}."


def _by_angle(f: Facts) -> str:
    cosine = f.pairs["cosine"].dropna()
    if cosine.empty:
        return ""
    return f" They have a common start, which speaks for it; the cosines of their task vectors are {span(cosine)}."


def align(f: Facts) -> Verdict:
    """Whether they can be averaged after their units are matched."""
    if f.differ:
        return Verdict("no", "Units are matched between networks of one architecture that see the same columns.")
    if f.unmatched:
        return Verdict("no", f"{begun(f.unmatched)}.")
    if f.is_equal:
        return Verdict("no", "The members are one network already.")
    how = f.best_alignment()
    if how is None:
        return Verdict("maybe", f"{UNKNOWN} the score along the lines with matched units does.")
    score = f.pool[key_of(how)]
    why = (
        f"{begun(words_for(how))}, each unit to the one {ALIKE[how.partition('_')[0]]}, the "
        f"{f.score_name} falls by "
        f"{span(f.pairs[f'fall_{how}'])} on the line between two members, {span(f.pairs['fall_line'])} before; "
        f"the uniform soup scores {number(score)}, {number(f.pool['soup'])} before."
    )
    if f.is_flat("line") and score <= f.pool["soup"] + f.tolerance:
        return Verdict("no", f"It is not needed, as there is no barrier. {why}")
    if f.works(how):
        return _works(f, how, why)
    closed = f.pairs.index[(f.pairs[f"fall_{how}"] <= f.tolerance) & (f.pairs["fall_line"] > f.tolerance)]
    if len(closed):
        between = "; ".join(listed(pair) for pair in closed[:5]) + ("; ..." if len(closed) > 5 else "")
        return Verdict("maybe", f"{why} The barrier is closed between {between}.")
    return Verdict("maybe" if score >= f.top - f.tolerance else "no", why)


def connect(f: Facts) -> Verdict:
    """Whether a curve of low loss is worth its training."""
    if f.differ:
        return Verdict("no", "A curve joins networks of one architecture that see the same columns.")
    if f.is_equal:
        return Verdict("no", "There is nothing to join.")
    if not f.has_data:
        return Verdict("maybe", "It pays where a barrier is left after alignment, which weights alone do not show.")
    if f.is_flat("line"):
        return Verdict("no", "There is no barrier: the line serves, and needs no training.")
    how = f.best_alignment()
    if how is not None and f.is_flat(how):
        return Verdict("no", f"There is no barrier {words_for(how)}: the line serves, and needs no training.")
    before = f.pairs["fall_line"]
    left = before if how is None else f.pairs[["fall_line", f"fall_{how}"]].min(axis=1)
    if (left >= before).all():  # matching helps no pair
        how = None
    why = f"On the line the {f.score_name} falls by {span(left)}{'' if how is None else f' even {words_for(how)}'}. "
    why += (
        f"{f.recipes.curve(how)} trains {_curves(f)} around it, on rows to learn from, and predicts with one or many "
        "of the networks there. How well is not measured."
    )
    few = len(f.members) == 2
    return Verdict("yes" if few else "maybe", why if few else f"{why} It pays most with few members.")


def _curves(f: Facts) -> str:
    n = len(f.members) - 1
    return "1 curve" if n == 1 else f"{n} curves"


def ensemble(f: Facts) -> Verdict:
    """Whether averaged predictions are better than the best member."""
    if not f.has_data:
        return Verdict("maybe", f"{UNKNOWN} the gain over the best member does.")
    mean, best, one = averaged(f), best_member(f), best_network(f)
    gain = mean.score - best.score
    beside = f"{number(abs(gain))} {'above' if gain > 0 else 'below'}" if gain else "as much as"
    why = f"The averaged predictions of {every(f)} score {number(mean.score)}, {beside} the best member, {best.words}."
    if one.score > best.score:
        why += f" The best one network is {one.words}, {number(one.score)}."
    if mean.score <= one.score:
        if lagging(f) and not f.is_equal:
            return Verdict("maybe", f"{why} {UNMEASURED}")
        return Verdict("no", why)
    for other in (best, one):
        if doubt := in_doubt(f, mean, other):
            return Verdict("maybe", f"{why}{doubt}")
    return Verdict("yes", why)


def distill(f: Facts) -> Verdict:
    """Whether a network trained on the predictions of the ensemble has something to gain."""
    if not f.has_data:
        return Verdict("maybe", "It pays where an ensemble gains and no soup does, which weights alone do not show.")
    mean, one = averaged(f), best_network(f)
    gain = mean.score - one.score
    why = (
        f"The averaged predictions score {number(mean.score)}, and the best one network is {one.words}, "
        f"{number(one.score)}"
    )
    if gain <= 0:
        return Verdict("no", f"{why}: there is nothing to gain.")
    why += ": train one network on the predictions of the ensemble to come nearer to it. How near is not measured."
    doubt = in_doubt(f, mean, one)
    return Verdict("yes" if gain > f.tolerance and not doubt else "maybe", f"{why}{doubt}")


def keep(f: Facts) -> Verdict:
    """Whether the best member alone is all that one network can be; never where an average of weights is a yes."""
    if not f.has_data:
        return Verdict("maybe", f"{UNKNOWN} the score of each member does.")
    best, one = best_member(f), best_network(f)
    why = f"{best.words} scores {number(best.score)}."
    if one.score > best.score:
        why += f" {begun(one.words)} scores {number(one.score)}."
        if one.how == ALONE:
            return Verdict("maybe", f"{why} Recalibrate it, and keep that.")
        doubt = in_doubt(f, one, best)
        return Verdict("maybe" if doubt else "no", f"{why}{doubt}")
    if rivals := [way for way, rule in (("soup", soup), ("align then soup", align)) if rule(f).verdict == "yes"]:
        return Verdict("maybe", f"{why} {rivals[0]!r} is a yes: it loses no more than the tolerance.")
    return Verdict("yes", f"{why} No average of weights that was tried scores more." if f.averageable else why)


RULES: dict[str, Callable[[Facts], Verdict]] = {
    "soup": soup,
    "align then soup": align,
    "connect": connect,
    "ensemble": ensemble,
    "distill": distill,
    "keep the best": keep,
}


def advice(f: Facts) -> pd.DataFrame:
    """Return a verdict, its price and its reason for each way to fuse: networks at prediction, and further training."""
    prices = {
        "connect": ("1 or more", _curves(f)),
        "ensemble": (str(len(f.members)), "none"),
        "distill": ("1", "one network"),
    }
    verdicts = {way: rule(f) for way, rule in RULES.items()}
    rows = [(v.verdict, *prices.get(way, ("1", "none")), v.why.strip()) for way, v in verdicts.items()]
    return pd.DataFrame(rows, pd.Index(RULES, name="way"), ["verdict", "networks", "training", "why"])
