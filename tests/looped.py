"""Members of vectorized training beside those that are trained one after another."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import nets
from skfusion._rows import Rows
from skfusion.collect import Seeds
from skfusion.collect._given_rows import rows_for
from skfusion.nets import DivergedError, Run, Watch

RNG = np.random.RandomState(0)
X = RNG.normal(size=(53, 6)).astype(np.float32)  # three batches of 16, and one of 5
CLASSES = Rows(X, (X[:, 0] > X[:, 1]).astype(np.int64) + (X[:, 2] > 0.5))
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


class Net(nn.Module):
    """A perceptron with layers between its two linear ones, in single or double precision."""

    def __init__(self, *layers, n_out=3, dtype=torch.float32, end=None):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), *(layer() for layer in layers), nn.Linear(8, n_out))
        self.end = end
        self.to(dtype)

    def forward(self, X):
        z = self.body(X)
        return z if self.end is None else self.end(z)


def made_of(*layers, **settings):
    """A class of modules with these layers: each member draws its own weights."""

    class Made(Net):
        def __init__(self, dtype=torch.float32):
            super().__init__(*layers, dtype=dtype, **settings)

    return Made


def classifier(*layers, module=None, **params):
    given = {"criterion": nn.CrossEntropyLoss, "max_epochs": 3, "batch_size": 16, "lr": 0.05, "verbose": 0}
    given |= {"iterator_train__shuffle": True, "train_split": None, **params}
    return NeuralNetClassifier(made_of(*layers) if module is None else module, **given)


@dataclass
class Job:
    """A run, and the rows and the hook of its training."""

    rows: Rows
    seed: int
    params: dict = field(default_factory=dict)
    schedule: Callable | None = None
    on_epoch: Callable | None = None
    index: np.ndarray | None = None
    state: dict | None = None

    @property
    def run(self):
        return Run(f"run-{self.seed}", self.seed, self.index, self.schedule, params=self.params, state=self.state)


def jobs_of(rows=CLASSES, n=3, **settings):
    return [Job(rows, seed, **settings) for seed in range(3, 3 + n)]


def looped(net, jobs):
    """The fitted net of each job, or why there is none; trained one after another."""
    found = []
    for job in jobs:
        own = clone(net).set_params(**job.params)
        try:
            found.append(nets.fit(own, job.rows, job.seed, Watch(job.schedule, None, job.on_epoch)))
        except DivergedError as error:
            found.append(error)
    return found


def vectorized(net, jobs):
    """The same, trained together; rows that differ are parts of all rows."""
    every = [*{id(job.rows): job.rows for job in jobs}.values()]
    rows, runs = every[0], [job.run for job in jobs]
    if len(every) > 1:
        weight = None if rows.weight is None else np.concatenate([part.weight for part in every])
        rows = Rows(np.concatenate([part.X for part in every]), np.concatenate([part.y for part in every]), weight)
        ends = np.cumsum([0, *map(len, every)])
        places = {id(part): np.arange(a, b) for part, a, b in zip(every, ends, ends[1:], strict=False)}
        runs = [replace(run, index=places[id(job.rows)]) for run, job in zip(runs, jobs, strict=True)]
    return nets.fit_many(net, rows, runs, [Watch(job.schedule, None, job.on_epoch) for job in jobs])


def states(fitted):
    return [net.module_.state_dict() for net in fitted]


def same_bits(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def check_same(net, jobs, dtype=torch.float32):
    """Raise where a stack gives other members, or other histories, than the loop; return the members of the stack."""
    one, many = looped(net, jobs), vectorized(net, jobs)
    tolerance = TOLERANCE[dtype]
    for a, b in zip(one, many, strict=True):
        check_same_state(a.module_.state_dict(), b.module_.state_dict(), tolerance)
        check_same_history(nets.history_of(a), nets.history_of(b), tolerance)
        assert not b.module_.training
    first = states(one)
    assert all(not same_bits(first[0], other) for other in first[1:]), "The members are all alike: they show nothing."
    return many


def check_same_state(a, b, tolerance):
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert value.shape == b[key].shape
        assert value.dtype == b[key].dtype
        torch.testing.assert_close(b[key], value, rtol=0, atol=tolerance, msg=lambda text, key=key: f"{key}: {text}")


def check_same_history(a, b, tolerance):
    assert len(a) == len(b)
    for i, (row, other) in enumerate(zip(a, b, strict=True)):
        assert row.keys() == other.keys()
        for name in row.keys() - {"dur"}:
            assert abs(row[name] - other[name]) <= tolerance, f"{name} of epoch {i + 1}: {row[name]} and {other[name]}"


def collect(collector, net, rows=CLASSES, seed=0, n_jobs=None, progress=None, **given):
    """The members of a collector, as an estimator asks for them: with progress."""
    rows = rows_for(net, rows.X, rows.y, **given)
    net = collector._sized(net, rows)
    return collector(net, rows, np.random.RandomState(seed), n_jobs=n_jobs, progress=progress)


def same_pools(a, b):
    histories = [[{k: v for k, v in row.items() if k != "dur"} for m in p for row in m.meta["history"]] for p in (a, b)]
    alike = all(same_bits(m.state, o.state) for m, o in zip(a, b, strict=True))
    return a.names == b.names and alike and histories[0] == histories[1]


def check_falls_back(net, name, collector=Seeds, **params):
    with pytest.warns(UserWarning, match="one after another") as caught:
        found = collect(collector(3, vectorize=True, **params), net)
    texts = [str(w.message) for w in caught]
    assert len(texts) == 1, texts
    assert texts[0].startswith("The members are trained one after another and not vectorized: ")
    assert name in texts[0]
    assert "vectorize=False" in texts[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = collect(collector(3, vectorize=False), net)
    assert same_pools(found, expected)
    assert not same_bits(found[0].state, found[1].state)
    return found


def module_that(forward, **attributes):
    """A class of modules that do something else with their output."""
    return type("Odd", (Net,), {"forward": lambda self, X: forward(self, Net.forward(self, X)), **attributes})
