"""The results on tables as numbers: which splits are compared, scores of methods over them, and paired differences."""

from collections import Counter
from dataclasses import dataclass
from statistics import median

import numpy as np
from scipy.stats import rankdata
from scipy.stats import t as student

REFERENCE = "gradient boosting"

COMMON = 0.75
"""Share of the splits of the method that ran on most: whoever ran on fewer would take the others' splits away."""


@dataclass(frozen=True)
class Compared:
    """Methods and the splits that all of them have run on: ``{table: {split: {method: numbers}}}``."""

    cells: dict
    names: list

    @property
    def n_splits(self):
        """Splits of all tables."""
        return sum(map(len, self.cells.values()))


def fits_of(lines, chosen=None):
    """Return the numbers of all fits, those of the chosen methods, as ``{table: {split: {method: numbers}}}``.

    A method whose fit failed has run.
    """
    fits = {}
    for line in lines:
        if "table" in line and (chosen is None or line["method"] in chosen):
            fits.setdefault(line["table"], {}).setdefault(line["split"], {})[line["method"]] = line
    return fits


def common_and_rare(fits):
    """Return the methods that ran on most splits, and those that ran on few, for instance because they are slow."""
    ran = Counter(name for splits in fits.values() for methods in splits.values() for name in methods)
    most = max(ran.values(), default=0)
    return [n for n in ran if ran[n] >= COMMON * most], [n for n in ran if ran[n] < COMMON * most]


def compared(fits, names):
    """Return the methods on the splits that all of them have run on."""
    cells = {
        table: {s: {n: ran[n] for n in names} for s, ran in sorted(splits.items()) if set(names) <= set(ran)}
        for table, splits in fits.items()
    }
    return Compared({table: splits for table, splits in cells.items() if splits}, names)


def column(splits, name, key):
    """Return a number of all splits; NaN where the fit failed."""
    return np.array([methods[name].get(key, np.nan) for methods in splits.values()], float)


def mean_of(values):
    """Return the mean of the splits; NaN where one of them failed."""
    return float(np.mean(values))


def corrected(differences, splits):
    """Return the mean and half of its 95 % interval, by the corrected resampled t-test of Nadeau and Bengio (2003)."""
    k = len(differences)
    if k < 2:
        return float(np.mean(differences)), np.nan
    ratio = np.mean([one["n_test"] / one["n_train"] for one in (next(iter(m.values())) for m in splits.values())])
    return float(np.mean(differences)), float(
        student.ppf(0.975, k - 1) * np.sqrt((1 / k + ratio) * np.var(differences, ddof=1))
    )


def over_tables(values):
    """Return the mean over tables and half of its 95 % interval, Student's."""
    k = len(values)
    half = student.ppf(0.975, k - 1) * np.std(values, ddof=1) / np.sqrt(k) if k > 1 else np.nan
    return float(np.mean(values)), float(half)


def normalised(table, names, key, sign):
    """Return the normalised scores of a table: 1 for the best method, 0 for the worst and for those that failed."""
    values = np.array([sign * mean_of(column(table, name, key)) for name in names])
    if not np.isfinite(values).any():
        return np.zeros(len(names))
    low, high = np.nanmin(values), np.nanmax(values)
    return np.nan_to_num((values - low) / (high - low) if high > low else np.ones_like(values), nan=0.0)


def ranks(table, names, key, sign):
    """Return the ranks of the methods on a table, 1 for the best; those that failed share the last one."""
    values = np.array([sign * mean_of(column(table, name, key)) for name in names])
    return rankdata(-np.nan_to_num(values, nan=-np.inf))


def summary(cells, names):
    """Return the numbers of each method over all tables."""
    tables = [*cells.values()]
    score = np.array([normalised(t, names, "score", 1) for t in tables])
    loss = np.array([normalised(t, names, "loss", -1) for t in tables])
    rank = np.array([ranks(t, names, "score", 1) for t in tables])
    loss_rank = np.array([ranks(t, names, "loss", -1) for t in tables])
    found = {}
    for i, name in enumerate(names):
        times = {k: [np.nanmedian(column(t, name, k)) for t in tables] for k in ("processor", "us_per_row")}
        against = {}
        if REFERENCE in names:
            j = names.index(REFERENCE)
            against = {
                "gain": over_tables(score[:, i] - score[:, j]),
                "loss_gain": over_tables(loss[:, i] - loss[:, j]),
                "verdicts": verdicts(tables, name),
            }
        found[name] = {
            "score": float(score[:, i].mean()),
            "scores": score[:, i].tolist(),
            "loss": float(loss[:, i].mean()),
            "rank": float(rank[:, i].mean()),
            "loss_rank": float(loss_rank[:, i].mean()),
            **against,
            **{k: float(median(v)) for k, v in times.items()},
            "failed": int(sum(np.isnan(column(t, name, "score")).sum() for t in tables)),
        }
    return found


def verdicts(tables, name):
    """Return on how many tables a method is better than the reference, not told apart, and worse; NaN is worse.

    A table of one split has no interval, and is not counted.
    """
    count = [0, 0, 0]
    for table in (table for table in tables if len(table) > 1):
        mean, half = corrected(column(table, name, "score") - column(table, REFERENCE, "score"), table)
        count[0 if mean > half else 2 if mean < -half or np.isnan(mean) else 1] += 1
    return count
