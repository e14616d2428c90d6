"""What averages of a run cost, one thread.

Post-hoc synthesis: averages of 20 lengths are made of 40 snapshots of a network with ten million parameters, all at
once, which reads each snapshot once, and one by one, as a search does. Times are of the processor: those of the wall
clock are as long where nothing else runs.

Running averages: a network is trained by itself, and with an average of all of its steps, as an estimator does it and
as the callback of a skorch loop, beside torch's own moving average in one. Nets without BatchNorm are taken, as
statistics cost one more pass, once.

Populations: one of 16 perceptrons that are pulled towards their mean every 10 steps, beside 16 independent ones,
both as one vectorized program. Ways take turns, and the least processor time of each is compared, which other programs
on the machine disturb least.

    python benchmarks/bench_average.py [--repeats 7] [--parameters 10000000] [--lengths 20] [--quick]
"""

import argparse
import platform
import time
from functools import partial

import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import skfusion
from skfusion.average import EMA, Mean
from skfusion.collect import PAPA, Averages, Seeds
from skfusion.merge import PostHocEMA
from skfusion.nets import AverageWeights, mlp_classifier
from skfusion.state import distance

ASKED_SYNTHESIS = 2.0
"""Seconds that the synthesis of 20 lengths is asked to take at most."""


def clocked(function):
    """Return what a function returns, and the seconds of the processor that it took."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def synthesis(n_parameters, n_lengths):
    """Print what it costs to make averages of many lengths of the snapshots of one run."""
    generator = torch.Generator().manual_seed(0)
    profiles = [(sigma, 50 * (i + 1)) for sigma in (0.05, 0.1) for i in range(20)]
    states = [{"w": torch.randn(n_parameters, generator=generator)} for _ in profiles]
    sigmas = np.linspace(0.04, 0.24, n_lengths).tolist()
    made, at_once = clocked(lambda: PostHocEMA(profiles=profiles).at_lengths(states, sigmas))
    one, alone = clocked(lambda: PostHocEMA(sigmas[1], profiles=profiles)(states))
    apart = distance(one, made[1]) / n_parameters**0.5
    print(f"| {n_lengths} lengths of {n_parameters:,} parameters, at once | {at_once:.2f} s |")
    print(f"| one length by itself | {alone:.2f} s |")
    print(f"root mean square difference of the two ways: {apart:.1e}")
    if n_parameters == 10**7 and n_lengths == 20:
        print(f"asked: at most {ASKED_SYNTHESIS} s at once: {'yes' if at_once <= ASKED_SYNTHESIS else 'NO'}")


MORE = 1.03
"""How much more a training may cost with an average of its steps."""


def taking_turns(ways, repeats):
    """Return the least processor time of each of some functions, after a first call that does not count."""
    times = {name: [] for name in ways}
    for repeat in range(-1, repeats):
        for name, way in ways.items():
            _, seconds = clocked(way)
            if repeat >= 0:
                times[name].append(seconds)
    return {name: min(of_way) for name, of_way in times.items()}


def running(repeats, quick=False):
    """Print what a training costs with averages of its steps, as a ratio to the training alone."""
    n_rows = 256 if quick else 4096
    rng = np.random.RandomState(0)
    y = rng.randint(2, size=n_rows).astype(np.int64)
    kinds = {
        "perceptron 20-64-64-2, batches of 32": ((20,), 32, perceptron(20, 64)),
        "perceptron 100-512-512-2, batches of 128": ((100,), 128, perceptron(100, 512)),
        "three convolutions of 16 on 16x16, batches of 32": ((1, 16, 16), 32, convolutional()),
    }
    averages = {"EMA": EMA(0.99), "SWA, of all steps": Mean(0.5), "SWA, of epochs": Mean(0.5, unit="epoch")}
    print(f"| training, 2 epochs of {n_rows} rows, SGD with momentum | way | seconds | ratio | at most {MORE} |")
    print("|---" * 5 + "|")
    for title, (shape, batch, module) in kinds.items():
        X = rng.normal(size=(n_rows, *shape)).astype(np.float32)

        def net(*callbacks, module=module, batch=batch):
            return NeuralNetClassifier(
                module, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.SGD, optimizer__momentum=0.9, lr=0.01,
                batch_size=batch, max_epochs=2, train_split=None, verbose=0, callbacks=[*callbacks],
            )  # fmt: skip

        def fit(callback=None, net=net, X=X):
            net(*([] if callback is None else [callback])).fit(X, y)

        def collect(collector, net=net, X=X):
            collector.collect(net(), X, y)

        ways = {
            "alone": fit,
            "callback, EMA of torch": partial(fit, TorchAverage()),
            "as a member": partial(collect, Seeds(1, vectorize=False)),
        }
        for name, average in averages.items():
            ways[f"callback, {name}"] = partial(fit, AverageWeights(average))
            ways[f"member, {name}"] = partial(collect, Averages(1, average=average))
        times = taking_turns(ways, repeats)
        for name, seconds in times.items():
            base = times["as a member" if "member" in name else "alone"]
            verdict = "" if seconds is base else "yes" if seconds <= MORE * base else "no"
            print(f"| {title} | {name} | {seconds:.3f} | {seconds / base:.3f} | {verdict} |", flush=True)


class TorchAverage(Callback):
    """The EMA that comes with torch, in the precision of the net, as the baseline."""

    def on_train_begin(self, net, **_):
        self.average = AveragedModel(net.module_, multi_avg_fn=get_ema_multi_avg_fn(0.99))

    def on_batch_end(self, net, training=False, **_):
        if training:
            self.average.update_parameters(net.module_)


def perceptron(n_in, width):
    """Return a perceptron of two hidden layers and two classes."""
    return nn.Sequential(nn.Linear(n_in, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))


def convolutional():
    """Return a small network of images of one channel."""
    layers = [m for n in (1, 16, 16) for m in (nn.Conv2d(n, 16, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))


MOST = 1.15
"""How much more a population may cost than independent members."""


def papa(repeats, quick=False):
    """Print what a population of 16 perceptrons costs, as a ratio to 16 independent ones."""
    rng = np.random.RandomState(0)
    n_rows, n_members = (200, 4) if quick else (2000, 16)
    X = rng.normal(size=(n_rows, 20)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)
    net = mlp_classifier(max_epochs=5, module__hidden=(64, 64), batch_size=64)
    ways = {"independent": Seeds(n_members, vectorize=True), "PAPA": PAPA(n_members, vectorize=True)}
    times = taking_turns({name: partial(way.collect, net, X, y) for name, way in ways.items()}, repeats)
    alone, together = times.values()
    met = "yes" if together <= MOST * alone else "no"
    print(f"| {n_members} perceptrons 20-64-64-2, {n_rows} rows | independent | PAPA | ratio | at most {MOST}x |")
    print("|---" * 5 + "|")
    print(f"| seconds | {alone:.3f} | {together:.3f} | {together / alone:.3f}x | {met} |", flush=True)


def main():
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parameters", type=int, default=10**7)
    parser.add_argument("--lengths", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="few parameters and rows: whether it runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"skfusion {skfusion.__version__}, torch {torch.__version__}, {platform.processor() or platform.machine()}")
    synthesis(10**5 if args.quick else args.parameters, args.lengths)
    running(1 if args.quick else args.repeats, args.quick)
    papa(1 if args.quick else args.repeats, args.quick)


if __name__ == "__main__":
    main()
