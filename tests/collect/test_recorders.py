"""Recorders of runs: the same states, whether a run is trained alone or vectorized with others."""

import os
import pickle
import signal
import time
from functools import partial

import numpy as np
import pytest
import torch
from looped import CLASSES, check_same_state, classifier, same_bits
from looped import collect as collect_members
from skorch import NeuralNet
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit
from torch import nn

import skfusion as sf
from skfusion import nets
from skfusion.average import Average, Mean, Running, burn_in_of
from skfusion.collect import Collector
from skfusion.collect._recorders import Averaged, BestState, Checkpoints, LastStates
from skfusion.collect._train_runs import train
from skfusion.nets import LastState, Recorder, Run
from skfusion.pool import Member
from skfusion.testing import _problems as problems

NORM = partial(nn.BatchNorm1d, 8)
SPLIT = {"train_split": ValidSplit(3), "lr": 0.3}
MEANS = [partial(Averaged, Mean(0.5)), partial(Averaged, Mean(0.5, unit="epoch"))]
RECORDERS = [
    LastState,
    partial(Checkpoints, (1, 3)),
    partial(LastStates, 2),
    partial(LastStates, 2, 3),
    BestState,
    *MEANS,
]


class EverySeen(Recorder):
    """Writes down all that it sees, and leaves as members the states after all steps."""

    by_step = True

    def __init__(self):
        self.steps, self.epochs = [], []

    def after_step(self, step, n_steps, state):
        self.steps.append((step, n_steps, {k: v.clone() for k, v in state.items()}))

    def after_epoch(self, epoch, net):
        self.epochs.append((epoch, nets.state_of(net)))

    def members(self, name, net=None):
        steps = [Member(f"{name}-step-{i}", s, meta={"epoch": 1, "n_steps": n}) for i, n, s in self.steps]
        return steps + [Member(f"{name}-epoch-{i}", s, meta={"epoch": i}) for i, s in self.epochs]


def trained(recorder, vectorize, n=3, **params):
    net = nets.sized(classifier(NORM, nn.ReLU, max_epochs=4, **params), CLASSES, 3)
    return train(
        net, CLASSES, [Run(name, k, recorder=recorder) for k, name in enumerate("abc"[:n])], vectorize=vectorize
    )


@pytest.mark.parametrize("recorder", [EverySeen, *RECORDERS], ids=repr)
def test_a_recorder_sees_the_same_in_vectorized_training(recorder):
    alone, together = (trained(recorder, vectorize, **SPLIT) for vectorize in (False, True))
    assert alone.names == together.names
    for one, other in zip(alone, together, strict=True):
        check_same_state(one.state, other.state, 1e-5)
        assert one.meta.keys() == other.meta.keys()
        assert one.meta["epoch"] == other.meta["epoch"]


def test_steps_are_counted_from_the_start_of_the_run():
    pool = trained(EverySeen, False, n=1)  # four epochs of four batches
    assert pool.names[:17] == [f"a-step-{i}" for i in range(17)]
    assert {m.meta["n_steps"] for m in pool[:17]} == {16}
    for epoch in range(1, 5):
        assert same_bits(pool[f"a-epoch-{epoch}"].state, pool[f"a-step-{4 * epoch}"].state)


@pytest.mark.parametrize("recorder", RECORDERS, ids=repr)
def test_a_recorder_can_be_sent_to_another_process(recorder):
    assert isinstance(pickle.loads(pickle.dumps(recorder))(), Recorder)


def test_the_best_state_is_that_of_the_lowest_validation_loss():
    rising = {**SPLIT, "lr": 3.0}
    every, best = trained(EverySeen, False, **rising), trained(BestState, False, **rising)
    for member in best:
        whole = every[f"{member.name}-epoch-4"].meta["history"]
        losses = [row["valid_loss"] for row in whole]
        assert member.meta["epoch"] == 1 + int(np.argmin(losses))
        assert member.meta["valid_loss"] == min(losses)
        assert len(member.meta["history"]) == member.meta["epoch"]
        assert same_bits(member.state, every[f"{member.name}-epoch-{member.meta['epoch']}"].state)
    assert {m.meta["epoch"] for m in best} != {4}


def test_the_best_state_asks_for_a_number_that_is_logged():
    with pytest.raises(ValueError, match="lowest 'valid_loss', which the net does not log; it logs .*'train_loss'"):
        trained(BestState, False)
    assert trained(partial(BestState, "train_loss"), False).names == ["a", "b", "c"]


@pytest.mark.parametrize(("make", "places"), [(MEANS[0], range(8, 17)), (MEANS[1], (12, 16))], ids=["steps", "epochs"])
def test_a_mean_is_over_steps_or_over_epochs(make, places):
    every, mean = trained(EverySeen, False, n=1), trained(make, False, n=1)
    states = [every[f"a-step-{i}"].state for i in places]
    assert mean[0].meta["n_averaged"] == len(places)
    for key, value in mean[0].state.items():
        if value.is_floating_point():
            expected = torch.stack([s[key].double() for s in states]).mean(0)
            torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-7)


class Newest(Average):
    """An average that is the latest state alone."""

    def begin(self, total):
        return OneState()

    def coefficients(self, n):
        return [0.0] * (n - 1) + [1.0]


class OneState(Running):
    def update(self, number, state):
        self.n, self.state = 1, {k: v.clone() for k, v in state.items() if v.is_floating_point()}

    def result(self):
        return self.state


@pytest.mark.parametrize("vectorize", [False, True])
def test_another_average_needs_no_more_than_begin_and_coefficients(vectorize):
    latest, last = trained(partial(Averaged, Newest()), vectorize), trained(LastState, vectorize)
    assert all(same_bits(a.state, b.state) for a, b in zip(latest, last, strict=True))


@pytest.mark.parametrize(
    ("burn_in", "expected"),
    [(0.75, 6), (0.99, 7), (0, 0), (0.0, 0), (1.0, 8), (1, 0), (3, 2)],
)
def test_burn_in_is_a_share_or_the_first_that_counts(burn_in, expected):
    assert burn_in_of(burn_in, 8) == expected


def test_a_net_is_sized_once_and_initialised_once_a_member(monkeypatch):
    made, initialize_module = [], NeuralNet.initialize_module
    monkeypatch.setattr(NeuralNet, "initialize_module", lambda net: made.append(net) or initialize_module(net))
    sizings, sized = [], nets.sized
    monkeypatch.setattr(nets, "sized", lambda *given: sizings.append(given) or sized(*given))
    net = nets.mlp_classifier(max_epochs=2)
    fitted = sf.SoupClassifier(net, collect=sf.collect.Seeds(5), random_state=0).fit(CLASSES.X, CLASSES.y)
    assert len(fitted.pool_) == 5
    assert len(sizings) == 1
    assert len(made) == 5 + 3  # to check its size, to plan how members are trained, and to predict


def test_a_collector_by_itself_gives_the_members_that_it_gives_an_estimator():
    net = nets.mlp_regressor(max_epochs=2)
    y = CLASSES.X[:, 0] - CLASSES.X[:, 1]
    pool = sf.collect.Seeds(2).collect(net, CLASSES.X, y, random_state=3)
    sized = nets.sized(net, pool_rows := sf._rows.Rows(CLASSES.X, y[:, None], task="regression"), 1)
    same = sf.collect.Seeds(2)(sized, pool_rows, np.random.RandomState(3))
    assert all(same_bits(a.state, b.state) for a, b in zip(pool, same, strict=True))


class Fragile(nets.Recorder):
    """Knows its members only after an epoch."""

    def after_epoch(self, epoch, net):
        self.member = Member("fragile", nets.state_of(net), meta={"epoch": epoch})

    def members(self, name, net=None):
        return [self.member]


class Interrupting(Callback):
    """The user presses Ctrl-C in the first batch."""

    def on_batch_end(self, net, **_):
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
        signal.signal(signal.SIGINT, before)


class OneRun(Collector):
    def __init__(self, recorder=LastState, n=1, net=None):
        self.recorder, self.n, self.net = recorder, n, net

    def runs(self, net, rows, rng):
        return [Run(f"run-{i}", i, recorder=self.recorder, net=self.net if i else None) for i in range(self.n)]


def test_an_error_of_a_recorder_does_not_hide_an_interrupt():
    net = problems.net(callbacks=[("stop", Interrupting())], max_epochs=2)
    with pytest.raises(KeyboardInterrupt):
        collect_members(OneRun(Fragile), net, CLASSES)


def test_a_collector_without_runs_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"OneRun\(n=0\) has no runs"):
        collect_members(OneRun(n=0), problems.net(max_epochs=2), CLASSES)


def test_runs_with_another_net_predict_in_it():
    rows = problems.rows()
    wide = nets.sized(problems.net(max_epochs=2, module__hidden=(7,)), rows, 3)
    ensemble = sf.EnsembleClassifier(problems.net(max_epochs=2), collect=OneRun(n=2, net=wide))
    ensemble.fit(rows.X, rows.y)
    assert [len(member.state["layers.0.weight"]) for member in ensemble.pool_] == [4, 7]
    mean = ensemble.predict_members(rows.X).mean(axis=0)
    np.testing.assert_allclose(ensemble.predict_proba(rows.X), mean, atol=1e-6)


class BatchSizes(Collector):
    vectorize = "auto"

    def runs(self, net, rows, rng):
        return [Run(f"batch-{n}", n, params={"batch_size": n}) for n in range(4, 12)]


def test_runs_that_take_other_steps_are_not_tried_together():
    pool = collect_members(BatchSizes(), problems.net(max_epochs=1), problems.rows())  # a warning would be an error
    assert len(pool) == 8
