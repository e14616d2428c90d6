# ruff: noqa: E501
"""Write docs/results/few_labels.md: what unlabelled rows bring, by consistency and by distillation.

python benchmarks/results_few_labels.py run      # a quarter of an hour; goes on where it stopped
python benchmarks/results_few_labels.py write
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import sklearn
import torch
from results_one_run import half, with_half
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss

import skfusion
from skfusion import DistillClassifier, EnsembleClassifier, PiModelClassifier, TemporalEnsemblingClassifier
from skfusion.collect import Seeds
from skfusion.nets import mlp_classifier

OUT = Path(__file__).parents[1] / "docs" / "results"
SEEDS, N_TEST = range(5), 500
LABELS, LABELLED, MEMBERS, WIDTH = 50, 300, 10, 32
EPOCHS = (30, 200)


def parts(seed):
    """Return the digits with the positions of training and of test rows."""
    X, y = load_digits(return_X_y=True)
    order = np.random.RandomState(seed).permutation(len(y))
    return X, y, order[:-N_TEST], order[-N_TEST:]


def consistency(seed, epochs):
    """Yield the classifiers that see few labels, fitted, and the test rows."""
    X, y, train, test = parts(seed)
    kept = np.concatenate([train[y[train] == c][: LABELS // 10] for c in range(10)])
    few = np.full(len(y), -1)
    few[kept] = y[kept]
    net = mlp_classifier(max_epochs=epochs)
    supervised = TemporalEnsemblingClassifier(net, max_weight=0, random_state=seed)
    fits = {
        "supervised, labelled rows alone": (supervised, kept, y),
        "supervised, as many steps": (supervised, train, few),
        "temporal ensembling": (TemporalEnsemblingClassifier(net, random_state=seed), train, few),
        "Pi-model": (PiModelClassifier(net, random_state=seed), train, few),
    }
    for name, (model, rows, labels) in fits.items():
        yield name, lambda model=model, rows=rows, labels=labels: model.fit(X[rows], labels[rows]), X[test], y[test]


def distillation(seed, _):
    """Yield a teacher, its students and a student without one, fitted, and the test rows."""
    X, y, train, test = parts(seed)
    rows, more = train[:LABELLED], train[LABELLED:]
    start = time.process_time()
    teacher = EnsembleClassifier(mlp_classifier(), collect=Seeds(MEMBERS), random_state=seed).fit(X[rows], y[rows])
    print("  the teacher took", round(time.process_time() - start, 1), "s", flush=True)
    student = mlp_classifier(module__hidden=(WIDTH,))
    yield "teacher", lambda: teacher, X[test], y[test]
    for name, alpha, unlabelled in (
        ("student by itself", 1.0, None),
        ("distilled", 0.5, None),
        ("distilled, with unlabelled rows", 0.5, X[more]),
        ("distilled without labels, with unlabelled rows", 0.0, X[more]),
    ):
        model = DistillClassifier(student, teacher=teacher, alpha=alpha, random_state=seed)
        yield name, lambda model=model, un=unlabelled: model.fit(X[rows], y[rows], X_unlabelled=un), X[test], y[test]


EXPERIMENTS = {f"{LABELS} labels, {e} epochs": (consistency, e) for e in EPOCHS} | {
    "distillation": (distillation, None)
}


def measured(fit, X, y):
    """Return the numbers of one fit."""
    start = time.process_time()
    model = fit()
    seconds = time.process_time() - start
    p = model.predict_proba(X).astype(np.float64)
    p /= p.sum(axis=1, keepdims=True)
    return {"accuracy": accuracy_score(y, p.argmax(1)), "log_loss": log_loss(y, p), "seconds": seconds}


def run(args):
    """Fit what is not there yet, and keep the numbers after every seed."""
    path = args.out / "few_labels.json"
    kept = json.loads(path.read_text()) if path.exists() else {"fits": {}}
    kept["versions"] = (
        f"Python {platform.python_version()}, torch {torch.__version__}, scikit-learn {sklearn.__version__}, skfusion "
        f"{skfusion.__version__}; {os.cpu_count()} {platform.machine()} cores"
    )
    for name, (make, epochs) in EXPERIMENTS.items():
        for seed in SEEDS:
            known = kept["fits"].setdefault(name, {})
            if str(seed) not in known:
                known[str(seed)] = {label: measured(fit, X, y) for label, fit, X, y in make(seed, epochs)}
                print(name, seed, {k: round(v["accuracy"], 4) for k, v in known[str(seed)].items()}, flush=True)
                path.write_text(json.dumps(kept, indent=1) + "\n")


def table(fits, reference):
    """Return a table of one experiment, with paired differences from one of its rows."""
    lines = [
        f"| | accuracy, % | against *{reference}*, points | log-loss | against it | s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in fits[0]:
        column = {k: np.array([fit[name][k] for fit in fits]) for k in fits[0][name]}
        gain = {k: column[k] - np.array([fit[reference][k] for fit in fits]) for k in ("accuracy", "log_loss")}
        against = (
            ("", "")
            if name == reference
            else (with_half(gain["accuracy"], 1, 100, True), with_half(gain["log_loss"], 3, 1, True))
        )
        lines.append(
            f"| {name} | {with_half(column['accuracy'], 1, 100)} | {against[0]} | {column['log_loss'].mean():.3f} | "
            f"{against[1]} | {'' if name == 'teacher' else format(np.median(column['seconds']), '.1f')} |"
        )
    return "\n".join([*lines, "", verdicts(fits, reference)])


def verdicts(fits, reference):
    """Return in words whether the intervals of the differences in accuracy leave out 0."""
    found = []
    for name in fits[0]:
        values = [fit[name]["accuracy"] - fit[reference]["accuracy"] for fit in fits]
        mean, width = float(np.mean(values)), half(values)
        kind = "is better than" if mean > width else "is worse than" if mean < -width else "is not told apart from"
        found += [] if name == reference else [f"*{name}* {kind} it"]
    return f"In accuracy, against *{reference}*: {'; '.join(found)}."


def page(kept):
    """Return the text of the page."""
    fits = {name: [kept["fits"][name][str(s)] for s in SEEDS] for name in EXPERIMENTS}
    few = "\n\n".join(
        f"### {e} epochs\n\n{table(fits[f'{LABELS} labels, {e} epochs'], 'supervised, as many steps')}" for e in EPOCHS
    )
    return f"""# Few labels: consistency, and distillation

<!-- Written by benchmarks/results_few_labels.py. Do not edit: run it again. -->

What rows without labels bring on the digits of scikit-learn. Made by

    OMP_NUM_THREADS=1 python benchmarks/results_few_labels.py run
    OMP_NUM_THREADS=1 python benchmarks/results_few_labels.py write

on one thread ({kept["versions"]}). {len(SEEDS)} draws of {N_TEST} test rows, of the labels and of the initial weights. After each ± stands half of the 95 % interval of the mean over
draws, Student's; of differences it is that of paired ones. *s* is the processor's time for a fit. Draws overlap, so the intervals are too short for
a statement about other data; they tell what chance does here.

## Temporal ensembling and the Pi-model

{LABELS} labelled rows, {LABELS // 10} a class, and {1797 - N_TEST - LABELS} rows without labels. The network and all else is this library's default but for the epochs, of which
30 is the default. *As many steps* trains on the same batches with the consistency's weight at 0, so the labels count as often as in the two methods.

{few}

## Distillation

{LABELLED} labelled rows, and {1797 - N_TEST - LABELLED} without labels. The teacher is an ensemble of {MEMBERS} networks with two hidden layers of 64 units; the student has one of {WIDTH}, so it costs a small part
of the teacher. Students have the default temperature. Their time is without the teacher's.

{table(fits["distillation"], "student by itself")}
"""


def main():
    """Run or write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "run":
        run(args)
    else:
        (args.out / "few_labels.md").write_text(
            page(json.loads((args.out / "few_labels.json").read_text())), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
