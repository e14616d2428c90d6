"""Collectors whose stacks fail, are too small, or hold what members share."""

import subprocess
import sys
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from looped import CLASSES, X, check_same_history, check_same_state, classifier, collect, same_bits
from skorch.callbacks import Callback, EarlyStopping, EpochScoring
from skorch.dataset import ValidSplit
from torch import nn

from skfusion import nets
from skfusion.collect import Bootstrap, Seeds
from skfusion.collect._recorders import Checkpoints
from skfusion.collect._train_runs import train
from skfusion.nets import Run
from skfusion.nets.vectorized import _fit_many

R = nn.ReLU


class Replaces(Callback):
    """Gives a layer other parameters after the second epoch, which a stack sees in the third."""

    def on_epoch_end(self, net, **_):
        if len(net.history) == 2:
            net.module_.body[0].weight = nn.Parameter(net.module_.body[0].weight.detach() / 2)


class Listener:
    """Writes down the epochs that it is told of, and may end a run."""

    def __init__(self, last=None):
        self.told, self.last = [], last

    def start(self, n_runs):
        self.told.append("start")

    def begin(self, name, n_epochs):
        return lambda epoch, net: self.told.append((name, epoch)) or (name, epoch) == self.last

    def end(self, name, members):
        self.told.append(("end", name))

    def finish(self):
        self.told.append("finish")


@pytest.mark.parametrize("last", [None, ("seed-1", 2), ("seed-1", 3)])
def test_a_stack_that_fails_late_tells_of_each_epoch_once(last):
    progress, alone = Listener(last), Listener(last)
    net = classifier(R, callbacks=[Replaces()], max_epochs=4)
    with pytest.warns(UserWarning, match="one of its callbacks replaced or froze parameters"):
        found = collect(Seeds(3, vectorize=True), net, progress=progress)
    expected = collect(Seeds(3, vectorize=False), net, progress=alone)
    assert sorted(map(str, progress.told)) == sorted(map(str, alone.told))
    for a, b in zip(found, expected, strict=True):
        assert same_bits(a.state, b.state)
        assert a.meta["epoch"] == b.meta["epoch"]


def test_a_stack_that_fails_late_leaves_no_states():
    net = nets.sized(classifier(R, callbacks=[Replaces()], max_epochs=4), CLASSES, 3)
    runs = [Run("a", 1, recorder=partial(Checkpoints, (1, 3))), Run("b", 2, recorder=partial(Checkpoints, (2, 4)))]
    with pytest.warns(UserWarning, match="replaced or froze"):
        found = train(net, CLASSES, runs, vectorize=True)
    assert found.names == ["a-epoch-1", "a-epoch-3", "b-epoch-2", "b-epoch-4"]
    expected = train(net, CLASSES, runs, vectorize=False)
    assert all(same_bits(a.state, b.state) for a, b in zip(found, expected, strict=True))


def stacks(monkeypatch):
    sizes, fit_many = [], nets.fit_many
    monkeypatch.setattr(nets, "fit_many", lambda *args: sizes.append(len(args[2])) or fit_many(*args))
    return sizes


def test_a_chunk_of_one_member_is_looped(monkeypatch):
    sizes = stacks(monkeypatch)
    monkeypatch.setattr(nets, "plan", lambda *args: nets.Plan([2, 1], True))
    found, expected = collect(Seeds(3, vectorize=True), classifier(R)), collect(Seeds(3, vectorize=True), classifier(R))
    assert sizes == [2, 2]
    assert same_bits(found[2].state, expected[2].state)
    monkeypatch.undo()
    assert same_bits(found[2].state, collect(Seeds(3, vectorize=False), classifier(R))[2].state)


@pytest.mark.parametrize(("n_members", "n_jobs", "sizes"), [(3, 1, []), (4, 1, [4]), (4, 2, [4]), (7, 2, [7])])
def test_few_members_are_stacked_only_where_asked(n_members, n_jobs, sizes, monkeypatch):
    found = stacks(monkeypatch)
    collect(Seeds(n_members), classifier(R), n_jobs=n_jobs)
    assert found == sizes


def test_members_do_not_depend_on_the_processes():
    one, two = (collect(Seeds(8), classifier(R), n_jobs=n) for n in (1, 2))
    assert all(same_bits(a.state, b.state) for a, b in zip(one, two, strict=True))


class Counts(Callback):
    begun = ended = 0

    def on_train_begin(self, net, **_):
        Counts.begun += 1

    def on_train_end(self, net, **_):
        Counts.ended += 1


@pytest.mark.parametrize("vectorize", ["auto", True, False])
def test_no_callback_is_told_of_a_plan(vectorize):
    Counts.begun = Counts.ended = 0
    collect(Seeds(4, vectorize=vectorize), classifier(R, callbacks=[Counts()]))
    assert (Counts.begun, Counts.ended) == (4, 4)


# ---- memory ------------------------------------------------------------------------------------------------------


def test_members_on_bootstrap_samples_share_the_rows(monkeypatch):
    held = []

    class Watched(_fit_many.SharedRows):
        def __init__(self, loaders, device):
            super().__init__(loaders, device)
            held.append((self.x, {loader.dataset.X.data_ptr() for loader in loaders}))

    monkeypatch.setattr(_fit_many, "SharedRows", Watched)
    collect(Bootstrap(5, vectorize=True), classifier(R))
    ((rows, places),) = held
    assert rows.shape == X.shape
    assert places == {rows.data_ptr()}


@pytest.mark.parametrize(
    "params", [{}, {"train_split": ValidSplit(4)}, {"train_split": ValidSplit(3, stratified=True)}]
)
@pytest.mark.parametrize("named", [False, True])
def test_samples_that_are_only_indexed_are_those_of_the_loop(params, named):
    score = EpochScoring("f1_macro", lower_is_better=False, name="f1", use_caching=False)
    net = classifier(R, **params)
    if params:
        net.set_params(callbacks=[score])
    weight = np.random.RandomState(1).uniform(0.1, 3, size=53)
    data = {"X": X} if named else X
    pools = [  # bags differ in how many rows they validate
        Bootstrap(4, max_samples=0.9, bootstrap=not params, vectorize=vectorize).collect(
            net, data, CLASSES.y, random_state=0, sample_weight=weight / weight.mean()
        )
        for vectorize in (False, True)
    ]
    for a, b in zip(*pools, strict=True):
        check_same_state(a.state, b.state, 1e-5)
        check_same_history(a.meta["history"], b.meta["history"], 1e-5)
        assert np.array_equal(a.rows, b.rows)


def test_best_states_are_copies_of_one_member():
    held = []

    class Weighs(Callback):
        def on_epoch_end(self, net, **_):
            stopping = next(c for _, c in net.callbacks_ if isinstance(c, EarlyStopping))
            found = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in best(stopping)}
            held.append(sum(found.values()) / sum(t.nbytes for t in best(stopping)))

    def best(stopping):
        return (stopping.best_model_weights_ or {"": torch.ones(1)}).values()

    callbacks = [("stop", EarlyStopping(patience=9, load_best=True)), ("weigh", Weighs())]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collect(Seeds(8, vectorize=True), classifier(R, callbacks=callbacks, train_split=ValidSplit(3)))
    assert {*held} == {1.0}


PEAK = """
import sys, numpy as np, torch
from skorch import NeuralNetClassifier
from torch import nn
from skfusion.collect import Bootstrap
def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
X = np.random.RandomState(0).normal(size=(60_000, 50)).astype(np.float32)
y = (X[:, 0] > 0).astype(np.int64)
net = NeuralNetClassifier(
    nn.Linear(50, 2), criterion=nn.CrossEntropyLoss, max_epochs=1, batch_size=2048, train_split=None, verbose=0
)
Bootstrap(2, max_samples=0.01, vectorize=True).collect(net, X, y)
before = peak()
Bootstrap(16, vectorize=True, max_bytes=int(sys.argv[1])).collect(net, X, y)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_a_stack_keeps_to_its_memory():
    size = 80_000_000
    found = subprocess.run([sys.executable, "-c", PEAK, str(size)], capture_output=True, text=True, check=True)
    assert int(found.stdout) <= 1.3 * size
