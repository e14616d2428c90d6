# ruff: noqa: E501
"""The page of results_reuse.py: what was found, the accuracies, and how they differ from those of learnware."""

import numpy as np
from results_one_run import half, with_half

PAIRS = {
    0: [("nearest model", "single"), ("mixture, averaged", "averaging"), ("mixture, routed", "job selector")],
    10: [
        (ours, theirs)
        for ours in ("mixture, labels choose", "Optuna")
        for theirs in ("feature augmentation", "ensemble pruning")
    ],
}
PAIRS[50] = PAIRS[10]
"""What is compared with what, by labels."""


def cells(kept, library):
    """Return the results of a library by method and by draw and task, each with its accuracy and seconds or an error."""
    found = {}
    for seed, draw in kept["draws"].items():
        for task, own in draw["ours"].items():
            methods = own["methods"] if library == "ours" else draw["learnware"]["tasks"][task]["methods"]
            for name, cell in methods.items():
                cell = dict(cell)
                if "labels" in cell:
                    cell["accuracy"] = float(np.mean(np.array(cell["labels"]) == np.array(own["truth"])))
                found.setdefault(name, {})[seed, task] = cell
            if library == "ours":
                found.setdefault("best model of the pool, 0", {})[seed, task] = {
                    "accuracy": max(own["alone"]),
                    "seconds": np.nan,
                }
    return found


def ranks(kept):
    """Return the rank of the first model of each search, by the accuracy on the test rows, of all draws and tasks."""
    found = {}
    for draw in kept["draws"].values():
        for task, own in draw["ours"].items():
            firsts = dict(own["first"])
            if task in draw.get("learnware", {}).get("tasks", {}):
                firsts["learnware, nearest, no labels"] = draw["learnware"]["tasks"][task]["single"][0]
            for name, first in firsts.items():
                n = name.partition(", ")[2].partition(" ")[0]
                values = np.array(own["probed"][n] if name.startswith("LogME") else own["alone"])
                found.setdefault(name, []).append(
                    (1 + int((values > values[first]).sum()), values.max() - values[first])
                )
    return found


def table_of_ranks(kept):
    """Return a table of the ranks."""
    lines = [
        "| search | the best is first, % | mean rank | accuracy behind the best, points |",
        "| --- | --- | --- | --- |",
    ]
    for name, values in ranks(kept).items():
        rank, behind = np.array(values).T
        lines.append(f"| {name} | {100 * np.mean(rank == 1):.0f} | {rank.mean():.1f} | {with_half(behind, 1, 100)} |")
    return "\n".join(lines)


def table_of_accuracies(kept, n_labels):
    """Return a table of the accuracies of all methods with so many labels, by task."""
    tasks = [*next(iter(kept["draws"].values()))["ours"]]
    lines = ["| method | " + " | ".join(tasks) + " | mean | s |", "| --- |" + " --- |" * (len(tasks) + 2)]
    libraries = [("", cells(kept, "ours"))]
    if all(len(draw.get("learnware", {}).get("tasks", ())) == len(draw["ours"]) for draw in kept["draws"].values()):
        libraries.append(("learnware: ", cells(kept, "learnware")))
    for prefix, of in libraries:
        for name, by in of.items():
            method, _, n = name.rpartition(", ")
            if int(n) != n_labels:
                continue
            row = []
            for task in tasks:
                values = [cell["accuracy"] for (_, own), cell in by.items() if own == task and "accuracy" in cell]
                row.append(f"{100 * np.mean(values):.1f}" if values else "fails")
            done = [cell for cell in by.values() if "accuracy" in cell]
            mean = (
                f"{100 * np.mean([c['accuracy'] for c in done]):.1f}"
                if len(done) == len(by)
                else f"{len(by) - len(done)} of {len(by)} fail"
            )
            seconds = np.median([c["seconds"] for c in done]) if done else np.nan
            lines.append(
                f"| {prefix}{method} | {' | '.join(row)} | {mean} | {'' if np.isnan(seconds) else f'{seconds:.2f}'} |"
            )
    return "\n".join(lines)


def table_against(kept):
    """Return a table of paired differences from learnware, and of how many times its seconds ours are."""
    ours, theirs = cells(kept, "ours"), cells(kept, "learnware")
    lines = [
        "| labels | ours | learnware | difference in accuracy, points | | our time over its |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for n, pairs in PAIRS.items():
        for mine, other in pairs:
            a, b = ours[f"{mine}, {n}"], theirs[f"{other}, {n}"]
            both = [key for key in a if "accuracy" in a[key] and "accuracy" in b.get(key, {})]
            if len(both) < 3:
                lines.append(f"| {n} | {mine} | {other} | it fails | | |")
                continue
            gain = np.array([a[key]["accuracy"] - b[key]["accuracy"] for key in both])
            ratio = np.median([a[key]["seconds"] for key in both]) / np.median([b[key]["seconds"] for key in both])
            kind = "better" if gain.mean() > half(gain) else "worse" if gain.mean() < -half(gain) else "not told apart"
            some = "" if len(both) == len(a) else f" ({len(both)} of {len(a)})"
            lines.append(f"| {n} | {mine} | {other} | {with_half(gain, 1, 100, True)}{some} | {kind} | {ratio:.2g} |")
    return "\n".join(lines)


def table_of_gains(kept):
    """Return a table of paired differences from training anew, from the plainest candidates, and by labels."""
    ours = cells(kept, "ours")
    lines = [
        "| labels | method | against training anew, points | against *mixture, routed* without labels, points |",
        "| --- | --- | --- | --- |",
    ]
    for n in (10, 50):
        for mine in (
            "LEEP's first",
            "LogME's first, probed",
            "Optuna, obvious candidates",
            "Optuna",
            "mixture, labels choose",
        ):
            row = [f"{n}", mine]
            for other in (f"trained anew, {n}", "mixture, routed, 0"):
                a, b = ours[f"{mine}, {n}"], ours[other]
                row.append(with_half([a[key]["accuracy"] - b[key]["accuracy"] for key in a], 1, 100, True))
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def errors(kept):
    """Return each error of learnware once, with how often it came."""
    counts = {}
    for name, by in cells(kept, "learnware").items():
        for cell in by.values():
            if "error" in cell:
                counts[name, cell["error"][:160]] = counts.get((name, cell["error"][:160]), 0) + 1
    return (
        "\n".join(f"- *{name}* fails in {n} tasks: `{error}`" for (name, error), n in counts.items())
        or "None of its methods failed."
    )


def beside_learnware(shared, kept):
    """Return the section of what the package learnware makes of the draws and tasks that it has done."""
    draws = shared["draws"].values()
    done, n = (sum(len(draw["ours"]) for draw in each["draws"].values()) for each in (shared, kept))
    ours = 1000 * np.mean([draw["seconds"]["specification"] for draw in draws])
    its = 1000 * np.mean([draw["learnware"]["specification"] for draw in draws])
    tables = ""
    if done < n:
        tables = "\n\n".join(
            f"### {k or 'No'} labels, in the shared pairs\n\n{table_of_accuracies(shared, k)}" for k in PAIRS
        )
    return f"""## Beside learnware

In {done} of the {n} pairs of draw and task. Differences are paired, of the same models, tasks and rows; after each ± stands half of the 95 % interval, Student's, over the pairs
of draw and task. Tasks of one draw share models, so that the intervals are too short for a statement about other models. Its job selector herds 100 rows instead of 1 000, as the cost of its herding is cubic
and the default took more than a minute a task; ours herds 1 000. It averages and routes the best mixture that its search gives, prunes all 20 models by the labelled rows, and
fits a logistic regression to inputs and predictions (feature augmentation). A specification of 250 rows took {ours:.0f} ms, and {its:.0f} ms there.

{table_against(shared)}

{errors(shared)}

{tables}
"""


def page(kept):
    """Return the text of the page."""
    n = len(kept["draws"])
    shared = {"draws": {}}
    for seed, draw in kept["draws"].items():
        if "learnware" in draw:
            both = {task: own for task, own in draw["ours"].items() if task in draw["learnware"]["tasks"]}
            shared["draws"][seed] = {**draw, "ours": both}
    peers = [draw["learnware"]["versions"] for draw in shared["draws"].values()]
    return f"""# Reuse of models: found, combined, or trained anew

<!-- Written by benchmarks/results_reuse.py. Do not edit: run it again. -->

What a pool of 20 networks brings for new tasks with no labels, 10 and 50. Made by

    OMP_NUM_THREADS=1 python benchmarks/results_reuse.py run --learnware ENVIRONMENT/bin/python
    OMP_NUM_THREADS=1 python benchmarks/results_reuse.py write

on one thread ({kept["versions"]}; {peers[0] if peers else "without learnware"}). {n} draw{"s" if n > 1 else ""} of the images, of the labelled rows and of the networks' weights.

**The pool**: networks with one hidden layer of 32 units, each trained on 250 images of the digits of scikit-learn from one of four domains (upright, turned
by 90°, inverted, mirrored) and one of five subsets of the digits (0-4, 5-9, even, odd, all). **The tasks** have images that no network saw: *one model's*, turned
5-9; *two models'*, upright, all digits; *two domains*, inverted even ones and mirrored odd ones; *other digits*, mirrored 0, 1, 5 and 6; *near domain*, blurred
even ones; *far domain*, 0-4 upside down. Half of a task's rows are the user's, of which 0, 10 or 50 have labels, and half are tested on. All know which digits are possible.
Seconds are the processor's, for search, fit and prediction, in the median.

Methods without fallback: what a search finds, reused in one way. *Mixture, labels choose* is `ModelReuseClassifier` as it is: it also trains a logistic regression anew, and
takes it where that is better out of fold. *Optuna* is `TunedReuse()`, and *obvious candidates* are those that it begins with, `TunedReuse(0)`. *Trained anew* is that logistic regression on the labelled rows alone.

## Is the best model found?

Of the models by themselves the best has rank 1. For LogME, which ranks features, that is by a linear model of the features, fitted to the same labels.

{table_of_ranks(kept)}

## Accuracy after reuse, %

### No labels

{table_of_accuracies(kept, 0)}

### 10 labels

{table_of_accuracies(kept, 10)}

### 50 labels

{table_of_accuracies(kept, 50)}

## What labels and the pool bring

{table_of_gains(kept)}

{beside_learnware(shared, kept) if peers else ""}"""
