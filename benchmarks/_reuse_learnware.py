"""Search and reuse a pool of models by the package learnware, in the environment of that library.

    PYTHON benchmarks/_reuse_learnware.py DRAW.npz RESULT.json

``DRAW.npz`` holds arrays only, so that environments need not agree on versions: the weights of the models, with the
rows that they were trained on, and the rows of each task. ``RESULT.json`` has the predictions for the test rows, which
models were found, and the times.
"""

import argparse
import json
import platform
import random
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from learnware.learnware import Learnware
from learnware.market.base import BaseUserInfo
from learnware.market.easy import EasyStatSearcher
from learnware.model import BaseModel
from learnware.reuse import AveragingReuser, EnsemblePruningReuser, FeatureAugmentReuser, JobSelectorReuser
from learnware.specification import Specification, generate_rkme_table_spec

KIND = "RKMETableSpecification"
N_HERDED = 100
"""Rows that the job selector herds; the default of 1 000, at a cubic cost, takes more than a minute a task."""

ABSENT = -30.0
"""Logarithm of the probability of a digit that a model does not know."""


class Network(BaseModel):
    """A perceptron of one hidden layer, which gives logarithms of the probabilities of all ten digits."""

    def __init__(self, weights, digits):
        super().__init__(input_shape=(64,), output_shape=(10,))
        self.weights, self.digits = weights, digits

    def predict(self, X):
        """Return log-probabilities, of shape (n_samples, 10)."""
        W1, b1, W2, b2 = self.weights
        out = np.maximum(X @ W1.T + b1, 0) @ W2.T + b2
        out = out - np.logaddexp.reduce(out, axis=1, keepdims=True)
        P = np.full((len(X), 10), ABSENT)
        P[:, self.digits] = np.maximum(out, ABSENT)
        return P

    def fit(self, X, y):
        """Do nothing."""

    def finetune(self, X, y):
        """Do nothing."""


def market(draw):
    """Return the models with specifications, and the seconds that one of these took."""
    models, start = [], time.process_time()
    for i in range(int(draw["n_models"])):
        spec = generate_rkme_table_spec(draw[f"rows_{i}"].astype(np.float32), cuda_idx=-1)
        network = Network([draw[f"weights_{i}_{j}"] for j in range(4)], draw[f"digits_{i}"])
        models.append(Learnware(str(i), network, Specification(stat_spec={KIND: spec}), ""))
    return models, (time.process_time() - start) / len(models)


def labels_of(P, known):
    """Return the most probable of a task's digits, of log-probabilities, or of labels as they are."""
    P = np.asarray(P)
    return P.astype(int).ravel() if P.ndim == 1 or P.shape[1] == 1 else known[P[:, known].argmax(axis=1)]


def search(models, X):
    """Return the best models by distance, the best first, and those of the best mixture."""
    info = BaseUserInfo(stat_info={KIND: generate_rkme_table_spec(X.astype(np.float32), reduce=False, cuda_idx=-1)})
    found = EasyStatSearcher(organizer=None)(models, info)
    single = [item.learnware for item in found.get_single_results()]
    several = found.get_multiple_results()
    return single, several[0].learnwares if several else single[:1]


def timed(ask):
    """Return a result and the seconds of the processor that it took."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002, which is what the library draws from
    random.seed(0)
    start = time.process_time()
    result = ask()
    return result, time.process_time() - start


def reused(kind, models, X, y, test, known):
    """Return the labels of test rows by one of the reusers; what needs labels is fitted to the few rows."""
    if kind == "averaging":
        return labels_of(AveragingReuser(models, mode="vote_by_prob").predict(test), known)
    if kind == "job selector":
        return labels_of(JobSelectorReuser(models, herding_num=N_HERDED, use_herding=True).predict(test), known)
    reuser = (EnsemblePruningReuser if kind == "ensemble pruning" else FeatureAugmentReuser)(
        models, mode="classification"
    )
    reuser.fit(X, y)
    return labels_of(reuser.predict(test), known)


def done_for(models, draw, task):
    """Return what is found for a task, and the predictions and seconds of each way to reuse it."""
    X, y, test, known = (draw[f"{task}_{part}"] for part in ("X", "y", "test", "known"))
    (single, mixture), searching = timed(lambda: search(models, X))
    methods = {}

    def keep(name, ask):
        try:
            labels, seconds = timed(ask)
            methods[name] = {"labels": labels.tolist(), "seconds": seconds + searching}
        except Exception as error:
            methods[name] = {"error": f"{type(error).__name__}: {error}"}

    keep("single, 0", lambda: labels_of(single[0].predict(test), known))
    keep("averaging, 0", lambda: reused("averaging", mixture, None, None, test, known))
    keep("job selector, 0", lambda: reused("job selector", mixture, None, None, test, known))
    for n in (10, 50):
        few = X[draw[f"{task}_few_{n}"]], y[draw[f"{task}_few_{n}"]]
        keep(f"ensemble pruning, {n}", lambda few=few: reused("ensemble pruning", models, *few, test, known))
        keep(f"feature augmentation, {n}", lambda few=few: reused("feature augmentation", mixture, *few, test, known))
    return {"single": [int(m.id) for m in single], "mixture": [int(m.id) for m in mixture], "methods": methods}


def main():
    """Do all tasks of a draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("draw", type=Path)
    parser.add_argument("result", type=Path)
    args = parser.parse_args()
    draw = np.load(args.draw)
    models, seconds = market(draw)
    versions = f"learnware {version('learnware')}, Python {platform.python_version()}, numpy {np.__version__}"
    done = json.loads(args.result.read_text())["tasks"] if args.result.exists() else {}
    out = {"versions": versions, "specification": seconds, "tasks": done}
    for task in [str(task) for task in draw["tasks"] if task not in done]:
        out["tasks"][task] = done_for(models, draw, task)
        args.result.write_text(json.dumps(out))


if __name__ == "__main__":
    main()
