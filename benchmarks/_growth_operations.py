"""The operations whose growth `bench_growth.py` measures: what each does at a size, and at which sizes."""

import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import EnsembleClassifier, SoupClassifier
from skfusion._rows import Rows
from skfusion.collect import Bootstrap, Seeds
from skfusion.combine import Average, EnsembleSelection
from skfusion.compare import compare_fusions
from skfusion.diagnose import diagnose, diversity, leaderboard, pairwise
from skfusion.merge import TIES, Greedy, TaskArithmetic, Uniform
from skfusion.nets import fingerprint
from skfusion.pool import DirectoryStore, Member, MemoryStore, ModelPool
from skfusion.select import Pick, TopK

MEMORY = Path("/dev/shm")
N_COLUMNS = 20
OPERATIONS = []


@dataclass(frozen=True)
class Operation:
    """What is done at some sizes; ``make(size)`` returns a function that does it, and the size to count by."""

    room: str
    name: str
    axis: str
    sizes: tuple[int, ...]
    quick: tuple[int, ...]
    make: Callable[[int], tuple[Callable[[], Any], int]]
    asked: float = 1.1
    note: str = ""


def operation(room, name, axis, first, quick=None, counted=None, **more):
    """Register what a function returns for a size as an operation; ``first`` is the least of four sizes."""

    def register(prepare):
        def make(size):
            return prepare(size), size if counted is None else counted(size)

        sizes, small = (tuple(n * 2**k for k in range(4)) for n in (first, quick or max(2, first // 64)))
        OPERATIONS.append(Operation(room, name, axis, sizes, small, make, **more))
        return prepare

    return register


# ---------------------------------------------------------------------------------------------------------------- data


class Perceptron(nn.Module):
    """Two hidden layers."""

    def __init__(self, hidden=16):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(N_COLUMNS, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 3))
        )

    def forward(self, X):
        return self.layers(X)


def net(hidden=16, **options):
    """Return a net that is trained for two epochs."""
    return NeuralNetClassifier(
        Perceptron, criterion=nn.CrossEntropyLoss, max_epochs=2, verbose=0, module__hidden=hidden, train_split=None,
        **options,
    )  # fmt: skip


@cache
def data(n_rows):
    """Return rows of three classes."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n_rows, N_COLUMNS)).astype(np.float32)
    return X, rng.permutation(np.arange(n_rows) % 3)


def n_parameters(hidden):
    """Return the number of weights of a perceptron."""
    return sum(p.numel() for p in Perceptron(hidden).parameters())


def state(k, d=64):
    """Return one tensor of d numbers."""
    return {"w": torch.full((d,), float(k))}


def members(n, d=64):
    """Return networks of d numbers with what a training leaves, the marks of their own rows among them."""
    history = [{"epoch": e, "train_loss": 1.0 / (e + 1)} for e in range(5)]
    marks = np.random.RandomState(0).randint(2**62, size=(n, 50)).astype(np.uint64)
    about = [{"seed": k, "history": history, "start": k % 4} for k in range(n)]
    return [Member(f"seed-{k}", state(k, d), (7919 * k % n) / n, about[k], marks[k]) for k in range(n)]


def networks(n, hidden=16):
    """Return a pool of n untrained perceptrons with their net."""
    torch.manual_seed(0)
    of = net(hidden)
    parts = [Member(f"m{k}", Perceptron(hidden).state_dict(), net=of, rows=np.arange(k, k + 9)) for k in range(n)]
    return ModelPool([m.replace(rows=m.rows.astype(np.uint64)) for m in parts], classes=np.arange(3))


def folder():
    """Return a folder that is removed in the end, in memory where that can be."""
    return tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)


def predictions(n_members, n_rows):
    """Return probabilities of members of different skill, and the classes."""
    rng = np.random.RandomState(0)
    y = rng.randint(3, size=n_rows)
    z = np.exp(rng.uniform(0.3, 2, size=(n_members, 1, 1)) * np.eye(3)[y] + rng.normal(size=(n_members, n_rows, 3)))
    return z / z.sum(axis=2, keepdims=True), y


# --------------------------------------------------------------------------------------------------------------- store


def _put_all(store, parts):
    for member in parts:
        store.put(member)


def _puts(parts):
    def act():
        with folder() as path:
            _put_all(DirectoryStore(path), parts)

    return act


@operation("store", "puts into a directory", "members", 125, 2)
def _(n):
    return _puts(members(n))


@operation("store", "puts by tasks, a pickled store each", "members", 125, 2)
def _(n):
    parts = members(n)

    def act():
        with folder() as path:
            DirectoryStore(path).put(parts[0])
            for member in parts:
                pickle.loads(pickle.dumps(DirectoryStore(path))).put(member)

    return act


@operation("store", "puts into a directory", "parameters", 2**20, 2**10)
def _(d):
    return _puts(members(2, d))


@operation("store", "puts into memory", "members", 1000)
def _(n):
    parts = members(n)
    return lambda: _put_all(MemoryStore(), parts)


@operation("store", "puts into memory", "parameters", 2**22, 2**10)
def _(d):
    parts = members(1, d)
    return lambda: _put_all(MemoryStore(), parts)


@operation("store", "save", "members", 125, 2)
def _(n):
    pool = ModelPool(members(n))

    def act():
        with folder() as path:
            pool.save(path)

    return act


def _saved(n, d=64):
    place = folder()
    ModelPool(members(n, d)).save(place.name)
    return place


@operation("store", "open", "members", 250)
def _(n):
    place = _saved(n)
    return lambda: ModelPool.load(place.name)


@operation("store", "load all", "members", 125)
def _(n):
    place = _saved(n)
    return lambda: ModelPool.load(place.name, lazy=False)


@operation("store", "load all", "parameters", 2**20, 2**10)
def _(d):
    place = _saved(2, d)
    return lambda: ModelPool.load(place.name, lazy=False)


@operation("store", "get each", "members", 125)
def _(n):
    place = _saved(n)

    def act():
        store = DirectoryStore(place.name)
        return [store.get(name).state for name in store.names()]

    return act


# ---------------------------------------------------------------------------------------------------------------- pool


@operation("pool", "ModelPool(members)", "members", 8000)
def _(n):
    parts = members(n)
    return lambda: ModelPool(parts)


@operation("pool", "ModelPool(members)", "parameters", 2**17, 2**10)
def _(d):
    parts = members(8, d)
    return lambda: ModelPool(parts)


def _of_pool(name, first, use, **more):
    @operation("pool", name, "members", first, **more)
    def _(n):
        pool = ModelPool(members(n))
        return lambda: use(pool)


_of_pool("slice and mask", 2000, lambda pool: (pool[::2], pool[np.arange(len(pool)) % 2 == 0]))
_of_pool("select by names", 2000, lambda pool: pool[pool.names[::2]])
_of_pool("each by its name", 2000, lambda pool: [pool[name] for name in pool.names])
_of_pool("new scores", 2000, lambda pool: pool.replace([m.replace(score=0.5) for m in pool]))
_of_pool("repr and HTML", 2000, lambda pool: (repr(pool), pool._repr_html_()))
_of_pool("to_frame", 500, lambda pool: pool.to_frame())
_of_pool("grouped", 500, lambda pool: pool.grouped())
_of_pool("check_compatible, check_finite", 500, lambda pool: (pool.check_compatible(), pool.check_finite()))
_of_pool("warn_of_leakage", 500, lambda pool: pool.warn_of_leakage(Rows(*data(100)), "to measure"))
_of_pool("unseen", 500, lambda pool: pool.unseen(*data(100)))
_of_pool("pickle", 500, lambda pool: pickle.loads(pickle.dumps(pool)))


@operation("pool", "grouped, in a folder", "members", 125)
def _(n):
    place = _saved(n)
    return lambda: ModelPool.load(place.name).grouped()


@operation("pool", "grouped, in a folder", "parameters", 2**18, 2**10)
def _(d):
    place = _saved(8, d)
    return lambda: ModelPool.load(place.name).grouped()


# -------------------------------------------------------------------------------------------------------------- select


@operation("select", "TopK by known scores", "members", 2000)
def _(n):
    pool = ModelPool(members(n))
    return lambda: TopK(n // 2)(pool)


@operation("select", "Pick by names", "members", 1000)
def _(n):
    pool = ModelPool(members(n))
    return lambda: Pick(pool.names[::2])(pool)


@operation("select", "EnsembleClassifier(select=TopK)", "members", 64, 2)
def _(n):
    pool = networks(n)
    return lambda: EnsembleClassifier(collect=pool, select=TopK(n // 2)).fit(*data(200))


def _selection(n_members, n_rows, n_rounds):
    P, y = predictions(n_members, n_rows)
    return lambda: EnsembleSelection(n_rounds).fit(P, y, "classification")


@operation("select", "EnsembleSelection", "members", 64)
def _(n):
    return _selection(n, 2000, 25)


@operation("select", "EnsembleSelection", "rows", 8000)
def _(n):
    return _selection(32, n, 25)


@operation("select", "EnsembleSelection", "rounds", 25, 2)
def _(n):
    return _selection(32, 2000, n)


# --------------------------------------------------------------------------------------------------------------- merge


def _merging(name, merger, axis):
    n, d = (128, 2**11) if axis == "members" else (4, 2**19)

    @operation("merge", name, axis, n if axis == "members" else d, 2 if axis == "members" else 2**8)
    def _(size):
        shape = (size, d) if axis == "members" else (n, size)
        states = [{"w": w} for w in torch.randn(*shape, generator=torch.Generator().manual_seed(0))]
        base = {"w": torch.zeros(shape[1])}
        return lambda: merger()(states, base=base)


for _name, _merger in (("Uniform", Uniform), ("TaskArithmetic", TaskArithmetic), ("TIES", TIES)):
    for _axis in ("members", "parameters"):
        _merging(_name, _merger, _axis)


@operation("merge", "SoupClassifier(merge=Greedy)", "members", 16, 2)
def _(n):
    pool = networks(n)
    return lambda: SoupClassifier(collect=pool, merge=Greedy()).fit(*data(200))


# ---------------------------------------------------------------------------------------------------------- estimators


def _training(n, hidden=16, n_rows=300):
    # A stack that must be cut in parts to fit into memory is another matter, and so is where one is chosen.
    collect = Seeds(n, vectorize=True)
    return lambda: EnsembleClassifier(net(hidden), collect=collect, random_state=0).fit(*data(n_rows))


@operation("estimators", "training by Seeds", "members", 16, 2)
def _(n):
    return _training(n)


@operation("estimators", "training by Seeds", "parameters", 128, 2, counted=n_parameters)
def _(hidden):
    return _training(4, hidden)


@operation("estimators", "training by Seeds", "rows", 8000)
def _(n):
    return _training(4, 16, n)


@operation("estimators", "training by Bootstrap", "members", 16, 2)
def _(n):
    return lambda: EnsembleClassifier(net(), collect=Bootstrap(n, vectorize=True), random_state=0).fit(*data(300))


@operation("estimators", "fit on a pool", "members", 64, 2)
def _(n):
    pool = networks(n)
    return lambda: EnsembleClassifier(collect=pool).fit(*data(200))


@operation("estimators", "fit on a pool", "rows", 8000)
def _(n):
    pool = networks(4)
    return lambda: EnsembleClassifier(collect=pool).fit(*data(n))


@operation("estimators", "fit a soup on a pool", "members", 64, 2)
def _(n):
    pool = networks(n)
    return lambda: SoupClassifier(collect=pool, merge=Uniform()).fit(*data(200))


def _fitted(n, hidden=16):
    return EnsembleClassifier(collect=networks(n, hidden), combine=Average()).fit(*data(60))


@operation("estimators", "predict_proba", "members", 16, 2)
def _(n):
    fitted = _fitted(n)
    return lambda: fitted.predict_proba(data(1000)[0])


@operation("estimators", "predict_proba of one row", "members", 256, 2)
def _(n):
    fitted = _fitted(n)
    return lambda: fitted.predict_proba(data(1)[0])


@operation("estimators", "predict_proba", "parameters", 128, 2, counted=n_parameters)
def _(hidden):
    fitted = _fitted(4, hidden)
    return lambda: fitted.predict_proba(data(300)[0])


@operation("estimators", "predict_proba", "rows", 8000)
def _(n):
    fitted = _fitted(8)
    return lambda: fitted.predict_proba(data(n)[0])


@operation("estimators", "clone and pickle", "members", 64, 2)
def _(n):
    fitted = _fitted(n)
    return lambda: (clone(fitted), pickle.loads(pickle.dumps(fitted)))


# ----------------------------------------------------------------------------------------------------- rows and compare


@operation("rows", "hashes and marks", "rows", 8000)
def _(n):
    return lambda: (Rows(*data(n)).keys, Rows(*data(n)).marks)


@operation("rows", "units that stay together", "rows", 8000)
def _(n):
    return lambda: Rows(*data(n)).units()


@operation("rows", "fingerprint of a training", "rows", 128_000, 200)
def _(n):
    return lambda: fingerprint(net(), Rows(*data(n)))


@operation("compare", "compare_fusions", "fusions", 2, 1)
def _(n):
    fusions = {f"f{k}": EnsembleClassifier(net(), collect=Seeds(2), combine=Average()) for k in range(n)}
    return lambda: compare_fusions(fusions, *data(90), cv=2, random_state=0)


@operation("compare", "compare_fusions", "rows", 8000)
def _(n):
    fusions = {"f": EnsembleClassifier(net(), collect=Seeds(2)), "g": SoupClassifier(net(), collect=Seeds(2))}
    return lambda: compare_fusions(fusions, *data(n), cv=2, random_state=0)


@operation("evaluate", "leaderboard", "members", 16, 2)
def _(n):
    pool = networks(n)
    return lambda: leaderboard(pool, *data(200))


@operation("evaluate", "leaderboard", "rows", 8000)
def _(n):
    pool = networks(4)
    return lambda: leaderboard(pool, *data(n), ["accuracy", "neg_log_loss"])


PAIRS = {"asked": 2.2, "note": "K (K - 1) / 2 pairs: 2 by its nature"}


@operation("evaluate", "diversity of all pairs", "members", 32, 2, **PAIRS)
def _(n):
    pool = networks(n)
    return lambda: diversity(pool, *data(200))


@operation("evaluate", "pairwise, weights only", "members", 32, 2, **PAIRS)
def _(n):
    pool = networks(n)
    return lambda: pairwise(pool)


@operation("diagnose", "diagnose, all pairs", "members", 2, **PAIRS)
def _(n):
    pool = networks(n)
    return lambda: diagnose(pool, *data(60), n_points=3)


@operation("diagnose", "diagnose, neighbours", "members", 2)
def _(n):
    pool = networks(n)
    return lambda: diagnose(pool, *data(60), n_points=3, pairs="neighbours")
