# ruff: noqa: E501
"""The page of the results on tables: its tables, its figures and its text."""

import matplotlib
import numpy as np
from _table_numbers import REFERENCE, column, common_and_rare, compared, corrected, fits_of, mean_of, summary
from _tables import MOST
from matplotlib import pyplot as plt

# ---------------------------------------------------------------------------------------------------------- the tables


def signed(pair, digits, scale=1.0):
    """Return a difference with half of its interval."""
    mean, half = (scale * number for number in pair)
    return f"{mean:+.{digits}f}".replace("-", "−") + (f" ± {half:.{digits}f}" if np.isfinite(half) else "")


def overview(found):
    """Return the table of all methods, the best first."""
    lines = [
        f"| method | normalised score | of the loss | mean rank | of the loss | score against {REFERENCE} | "
        "better, even, worse | s to train | µs a row | failed fits |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in sorted(found.items(), key=lambda item: -item[1]["score"]):
        against = ["", ""]
        if name != REFERENCE and "gain" in one:
            against = [signed(one["gain"], 3), " / ".join(map(str, one["verdicts"]))]
        lines.append(
            f"| {name} | {one['score']:.3f} | {one['loss']:.3f} | {one['rank']:.1f} | {one['loss_rank']:.1f} | {against[0]} "
            f"| {against[1]} | {one['processor']:.1f} | {one['us_per_row']:.1f} | {one['failed'] or ''} |"
        )
    return "\n".join(lines)


def section(table, splits, names):
    """Return the heading, and the table of the methods on one table, the best first."""
    first = next(iter(splits.values()))[names[0]]
    score, loss = ("accuracy, %", "log-loss") if first["task"] == "classification" else ("R² x 100", "RMSE")
    has_auc = any("auc" in one for one in next(iter(splits.values())).values())
    lines = [
        f"## {table}\n",
        f"{first['n_train'] + first['n_test']} rows; means over splits, of which there are {len(splits)}.\n",
        f"| method | {score} | against {REFERENCE} | {loss} | against it |{' AUC, % |' if has_auc else ''} s | µs a row |",
        f"| --- | --- | --- | --- | --- |{' --- |' if has_auc else ''} --- | --- |",
    ]
    for name in sorted(names, key=lambda n: -np.nan_to_num(mean_of(column(splits, n, "score")), nan=-np.inf)):
        value = {k: column(splits, name, k) for k in ("score", "loss", "auc", "processor", "us_per_row")}
        if np.isnan(value["score"]).any():
            lines.append(f"| {name} | failed on {np.isnan(value['score']).sum()} |{' |' * (6 if has_auc else 5)}")
            continue
        against = ["", ""]
        if REFERENCE in names and name != REFERENCE:
            base = {k: column(splits, REFERENCE, k) for k in ("score", "loss")}
            against = [
                signed(corrected(value["score"] - base["score"], splits), 2, 100),
                signed(corrected(value["loss"] - base["loss"], splits), 4),
            ]
        lines.append(
            f"| {name} | {100 * value['score'].mean():.2f} | {against[0]} | {value['loss'].mean():.4f} | {against[1]} |"
            + (f" {100 * value['auc'].mean():.2f} |" if has_auc else "")
            + f" {np.median(value['processor']):.1f} | {np.median(value['us_per_row']):.1f} |"
        )
    return "\n".join(lines)


# --------------------------------------------------------------------------------------------------------- the figures


def draw_scores(found, path):
    """Draw the normalised score of each method, and a point for each table."""
    names = sorted(found, key=lambda name: found[name]["score"])
    figure, ax = plt.subplots(figsize=(7, 0.32 * len(names) + 1), layout="constrained")
    for i, name in enumerate(names):
        ax.plot(found[name]["scores"], np.full(len(found[name]["scores"]), i), ".", color="0.7")
        ax.plot(found[name]["score"], i, "D", color="C0")
    ax.set(yticks=range(len(names)), yticklabels=names, xlabel="normalised score: a table (dots) and their mean")
    save(figure, path)


def draw_times(found, path):
    """Draw the normalised score of each method over the time of a fit."""
    figure, ax = plt.subplots(figsize=(7, 5), layout="constrained")
    above = []
    for name, one in sorted(found.items(), key=lambda item: -item[1]["score"]):
        point = np.log10(one["processor"]), one["score"]
        left = sum(abs(x - point[0]) < 0.5 and y - point[1] < 0.02 for x, y in above) % 2  # beside a label that is near
        above.append(point)
        ax.plot(one["processor"], one["score"], "o", color="C0")
        side = {"xytext": (-5, -2), "ha": "right"} if left else {"xytext": (5, -2)}
        ax.annotate(name, (one["processor"], one["score"]), textcoords="offset points", fontsize=7, **side)
    ax.set(xscale="log", xlabel="seconds of the processor for a fit, median of tables", ylabel="mean normalised score")
    ax.margins(x=0.3)
    save(figure, path)


def save(figure, path):
    """Save a figure, the same bytes for the same numbers."""
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


# ------------------------------------------------------------------------------------------------------------ the page


def setting(lines):
    """Return in words what it ran on: machines, limits, and versions of other libraries."""
    runs = [line for line in lines if "machine" in line]
    machines = "; ".join(dict.fromkeys(run["machine"] for run in runs))
    limits = " or ".join(dict.fromkeys(f"{run['limit']:g}" for run in runs))
    peers = "; ".join(dict.fromkeys(line["versions"] for line in lines if "versions" in line))
    return machines, limits, peers


def on_all_splits(fits, common, rare):
    """Return the second overview, with the methods that ran on few splits: all methods, on the splits of all."""
    if not rare:
        return ""
    everyone = compared(fits, [*common.names, *rare])
    who = f"{listed(rare)} ran on fewer splits than the others, and {'is' if len(rare) == 1 else 'are'} left out above."
    if not everyone.cells:
        return f"\n## On the splits that all methods ran on\n\n{who} There is no split that all methods ran on.\n"
    return f"""
## On the splits that all methods ran on

{who} Here all {len(everyone.names)} methods are compared on the {counted(everyone.n_splits, "split")} of
{counted(len(everyone.cells), "table")} that every one of them ran on. A table of one split has no interval.

{overview(summary(everyone.cells, everyone.names))}
"""


def listed(names):
    """Return names as a list in a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def counted(n, noun):
    """Return a number with its noun."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def text(lines, chosen):
    """Return the page, and the numbers of the methods of its first overview."""
    fits = fits_of(lines, chosen)
    names, rare = common_and_rare(fits)
    common = compared(fits, names)
    cells = common.cells
    if not cells:
        raise SystemExit("There is no split that all methods ran on yet: run more, or name fewer --methods.")
    found = summary(cells, names)
    machines, limits, peers = setting(lines)
    n_splits = common.n_splits
    left_out = sum(map(len, fits.values())) - n_splits
    partial = (
        f" {counted(left_out, 'split')} that some of these methods have not run on {'is' if left_out == 1 else 'are'} left out."
        if left_out
        else ""
    )
    sections = "\n\n".join(section(table, splits, names) for table, splits in sorted(cells.items()))
    failed = [line for line in lines if "error" in line and line["method"] in (*names, *rare)]
    errors = "".join(f"\n- {e['table']}, split {e['split']}, {e['method']}: `{brief(e['error'])}`" for e in failed)
    return (
        f"""# Tables: default networks and fusions beside other learners

<!-- Written by benchmarks/results_tables.py. Do not edit: run it again. -->

{counted(len(cells), "table")}, {counted(n_splits, "split")} in training and test rows, {counted(len(names), "method")}, all with their defaults. Made by

    python benchmarks/_tables.py fetch FOLDER
    python benchmarks/results_tables.py run --data FOLDER --pytabkit PYTHON --autogluon PYTHON
    python benchmarks/results_tables.py page

each fit on one thread ({machines}{"; " + peers if peers else ""}). The numbers of each fit are in [tables.jsonl](tables.jsonl).

**Tables.** No default of this library was chosen on these tables; those that they were chosen on stand in `benchmarks/_tables.py`, and no result
is reported on them. A first run on some of these tables did show two faults. The weight decay of the net for tables underfitted the table `letter`, which is a development table
since, and was chosen anew on these. And on `fifa`, which is sorted by value, out-of-fold predictions were made on folds that were not shuffled. Of tables of more than {MOST:,} rows
as many are drawn at random. A table has 5 folds, stratified by class and shuffled, or 10 repeated splits with a fifth of the rows for the test if it
has fewer than 3000 rows; {counted(n_splits, "split")} of these have been run on by all methods of the first overview. All methods have the same rows.{partial} Prices and values are logarithms.

**Preparation.** Networks, forests and linear models have the median of the training rows where a number misses, and an indicator of it; categories are ordinal codes
for the nets for tables and indicators for the others. Logistic and ridge regression and scikit-learn's perceptron have standardised columns, and
that perceptron standardised targets too. Gradient boosting is scikit-learn's over histograms, with categories and missing values as they are, as
AutoGluon has them. The portfolio and AutoGluon may take {limits} seconds a fit.

**Columns.** *Score* is accuracy or R²; *loss* is log-loss or the root of the mean squared error. The *normalised score* of a table is (score − worst) / (best − worst) over the methods
of an overview, from means over splits: 0 for the worst and 1 for the best; means over tables are shown. A method that failed on a split has 0 for the table, and the last rank. *Against {REFERENCE}* is the paired
difference with half of its 95 % interval: over tables, Student's; over the splits of a table, that of the corrected resampled t-test (Nadeau and Bengio, 2003).
*Better, even, worse* counts the tables where that interval lies above 0, covers it, and lies below. Times are of the processor, medians.

## All tables

{overview(found)}

![Normalised score of each method on each table](tables-scores.svg)

![Normalised score over the time of a fit](tables-times.svg)
{on_all_splits(fits, common, rare)}
{sections}
"""
        + (f"\n## Failed fits\n{errors}\n" if errors else ""),
        found,
    )


def brief(error):
    """Return the last line of an error."""
    return error.strip().splitlines()[-1][:200].replace("`", "'")


def write(lines, out, chosen=None):
    """Write the page and its figures."""
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "skfusion", "svg.fonttype": "path"})
    page, found = text(lines, chosen)
    (out / "tables.md").write_text(page, encoding="utf-8")
    draw_scores(found, out / "tables-scores.svg")
    draw_times(found, out / "tables-times.svg")
