"""What it costs to serve a fitted ensemble or soup: by the estimator, as a module, and by ONNX Runtime.

An ensemble of 16 perceptrons 20-64-64-10 (``mlp_classifier``), one of 8 small convolutional networks with BatchNorm on
images of 28 x 28, and a soup of one perceptron; one thread each of torch and of ONNX Runtime. The baseline is the plain
loop that one writes by hand: each network in evaluation mode without gradients, a softmax, and the mean. Medians of the
wall clock of interleaved repeats, and the ratio of the loop to each way: above 1 is faster than the loop.

    python benchmarks/bench_serving.py [--repeats 15] [--quick]
"""

import argparse
import platform
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
import torch
from skorch import NeuralNetClassifier
from torch import nn

import skfusion
from skfusion import EnsembleClassifier, SoupClassifier
from skfusion.collect import Seeds
from skfusion.nets import mlp_classifier

ROWS = (1, 10, 1000)


class Convolutional(nn.Module):
    """A small network for images of 28 x 28."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(16 * 5 * 5, 10)),
        )

    def forward(self, X):
        return self.layers(X)


def fitted():
    """Return estimators by what they are, each with the shape of a row."""
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(500, 20)).astype(np.float32), rng.randint(10, size=500)
    images = rng.normal(size=(200, 1, 28, 28)).astype(np.float32)
    perceptron = mlp_classifier(max_epochs=2)
    convolutional = NeuralNetClassifier(
        Convolutional, criterion=nn.CrossEntropyLoss, max_epochs=1, train_split=None, verbose=0
    )
    several = {"random_state": 0, "n_jobs": 1}
    return {
        "16 perceptrons 20-64-64-10": EnsembleClassifier(perceptron, collect=Seeds(16), **several).fit(X, y),
        "8 convolutional networks, 28 x 28": EnsembleClassifier(convolutional, collect=Seeds(8), **several).fit(
            images, y[:200]
        ),
        "a soup, one perceptron 20-64-64-10": SoupClassifier(perceptron, **several).fit(X, y),
    }


def loop_of(estimator):
    """Return the plain loop over the networks."""
    modules = getattr(estimator, "estimators_", None) or [estimator.estimator_]
    modules = [net.module_.eval() for net in modules]

    def predict(X):
        with torch.inference_mode():
            x = torch.from_numpy(X)
            return torch.stack([module(x).softmax(1) for module in modules]).mean(0).numpy()

    return predict


def ways_of(estimator, folder, shape):
    """Return the ways to predict, by name; the loop is the first."""
    module, path = estimator.as_module(), Path(folder) / "model.onnx"
    estimator.to_onnx(path, np.random.RandomState(1).normal(size=(50, *shape)).astype(np.float32))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def by_module(X):
        with torch.inference_mode():
            return module(torch.from_numpy(X)).numpy()

    return {
        "loop": loop_of(estimator),
        "predict_proba": estimator.predict_proba,
        "as_module": by_module,
        "ONNX Runtime": lambda X: session.run(None, {"X": X})[0],
    }


def medians(ways, X, repeats):
    """Return the median seconds of each way; they take turns, and quick ones are run several times a turn."""
    found, loops = {name: [] for name in ways}, {}
    for name, way in ways.items():
        for _ in range(3):
            way(X)
        start = time.perf_counter()
        way(X)
        loops[name] = max(1, int(0.02 / (time.perf_counter() - start)))
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            for _ in range(loops[name]):
                way(X)
            found[name].append((time.perf_counter() - start) / loops[name])
    return {name: median(times) for name, times in found.items()}


def main():
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=15, help="rounds that count; the median is shown")
    parser.add_argument("--quick", action="store_true", help="one round of few rows: whether it runs")
    args = parser.parse_args()
    repeats, rows = (1, ROWS[:2]) if args.quick else (args.repeats, ROWS)
    torch.set_num_threads(1)
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}, "
        f"skfusion {skfusion.__version__}; {platform.processor() or platform.machine()}, 1 thread; median of {repeats} "
        "interleaved repeats; milliseconds, and the ratio of the loop to each.\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        for title, estimator in fitted().items():
            ways = ways_of(estimator, folder, estimator._shape_in)
            print(f"{title}\n\n| rows | " + " | ".join(ways) + " | largest difference |")
            print("|---" * (len(ways) + 2) + "|")
            for n in rows:
                X = np.random.RandomState(0).normal(size=(n, *estimator._shape_in)).astype(np.float32)
                found = medians(ways, X, repeats)
                cells = [f"{1e3 * t:.3f} ({found['loop'] / t:.2f}x)" for t in found.values()]
                expected = estimator.predict_proba(X)
                off = max(np.abs(way(X) - expected).max() for way in ways.values())
                print(f"| {n} | " + " | ".join(cells) + f" | {off:.0e} |")
            print()


if __name__ == "__main__":
    main()
