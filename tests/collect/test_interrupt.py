"""Ctrl-C ends a collection with what is trained in the interrupt's pool, and is never taken for a callback's stop."""

import os
import signal
import time

import looped
import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from skfusion import EnsembleClassifier
from skfusion.collect import Boosting, FineTunes, Seeds, Snapshots, Tasks
from skfusion.testing import _problems as problems

ROWS = problems.rows()


def send():
    os.kill(os.getpid(), signal.SIGINT)


class Interrupts(Callback):
    """The user presses Ctrl-C while this callback works, in the training that is the n-th of all."""

    trainings = 0

    def __init__(self, training=2, epoch=2, how="busy"):
        self.training, self.epoch, self.how = training, epoch, how

    def on_train_begin(self, net, **_):
        Interrupts.trainings += 1

    def on_epoch_end(self, net, **_):
        if Interrupts.trainings != self.training or len(net.history) != self.epoch:
            return
        if self.how == "busy":
            send()
            while True:
                pass
        if self.how == "asleep":
            send()
            time.sleep(60)
        raise KeyboardInterrupt  # the way of a callback to end the training


@pytest.fixture(autouse=True)
def _count():
    Interrupts.trainings = 0


@pytest.fixture(autouse=True)
def _ctrl_c_works():
    """Let SIGINT interrupt, as it does at a terminal: a process that a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def collect(collector, net, **params):
    return looped.collect(collector, net, ROWS, **params)


def interrupted(collector, training=2, epoch=2, how="busy", **params):
    net = problems.net(callbacks=[("stop", Interrupts(training, epoch, how))], max_epochs=4)
    with pytest.raises(KeyboardInterrupt) as caught:
        collect(collector, net, **params)
    return caught.value


@pytest.mark.parametrize("how", ["busy", "asleep"])
def test_members_that_are_trained_are_kept(how, untouched_rng):
    stop = interrupted(Seeds(3, vectorize=False), training=3, how=how)
    whole = collect(Seeds(3, vectorize=False), problems.net(max_epochs=4))
    assert stop.pool.names == ["seed-0", "seed-1"]
    assert "The 2 members that are trained can be fused: fuse(error.pool, X, y)" in str(stop)
    for kept, member in zip(stop.pool, whole, strict=False):
        assert all(torch.equal(kept.state[k], member.state[k]) for k in member.state)
        assert np.array_equal(kept.rows, member.rows)
        assert kept.meta["history"]
    EnsembleClassifier().fuse(stop.pool, ROWS.X, ROWS.y)


def test_where_nothing_is_trained_there_is_no_pool():
    stop = interrupted(Seeds(2, vectorize=False), training=1)
    assert stop.pool is None
    assert str(stop) == ""


def test_a_handler_of_the_users_may_be_called_as_callbacks_are():
    def on_signal(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        assert interrupted(Seeds(2, vectorize=False)).pool.names == ["seed-0"]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_callback_still_ends_a_training():
    net = problems.net(callbacks=[("stop", Interrupts(2, 2, "raise"))], max_epochs=4)
    assert [m.meta["epoch"] for m in collect(Seeds(3, vectorize=False), net)] == [4, 2, 4]


def test_states_that_a_run_has_kept_are_members():
    stop = interrupted(Snapshots(2), training=1, epoch=3)
    assert stop.pool.names == ["snapshot-epoch-2"]
    assert stop.pool[0].meta["epoch"] == 2
    assert "The member that is trained" in str(stop)


def test_a_stack_that_is_interrupted_has_no_members():
    send_once = []

    def schedule(epoch, net):
        if epoch == 2 and not send_once:
            send_once.append(1)
            send()
            while True:
                pass

    class Hooks:
        start = finish = end = staticmethod(lambda *_: False)
        begin = staticmethod(lambda *_: schedule)

    with pytest.raises(KeyboardInterrupt) as caught:
        collect(Seeds(3, vectorize=True), problems.net(max_epochs=4), progress=Hooks())
    assert caught.value.pool is None


@pytest.mark.parametrize(
    ("collector", "names"),
    [
        (FineTunes(n_members=3, init=1, vectorize=False), ["fine-tune-0"]),
        (Tasks(by=lambda X, y: (X[:, 0] > 0).astype(int), init=1), ["task-0"]),
    ],
)
def test_fine_tunes_keep_their_start(collector, names):
    stop = interrupted(collector, training=3)  # the first is that of the start
    assert stop.pool.names == names
    assert stop.pool.base is not None
    whole = collect(collector, problems.net(max_epochs=4))
    assert all(torch.equal(stop.pool.base[k], t) for k, t in whole.base.items())


def test_boosting_keeps_its_members():
    assert interrupted(Boosting(3), training=3).pool.names == ["boost-0", "boost-1"]


def test_what_other_processes_have_trained_is_kept(monkeypatch):
    def in_order(jobs, n_jobs):
        train, args, kwargs = jobs[0]
        yield train(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr("skfusion.nets.in_order", in_order)
    with pytest.raises(KeyboardInterrupt) as caught:
        collect(Seeds(3, vectorize=False), problems.net(max_epochs=2), n_jobs=2)
    assert caught.value.pool.names == ["seed-0"]
