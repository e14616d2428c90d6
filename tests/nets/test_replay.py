"""Loggers of skorch see the histories of members, whichever way members were trained."""

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, PrintLog
from torch import nn

from skfusion import EnsembleClassifier, ModelPool
from skfusion.collect import Seeds, Snapshots
from skfusion.nets import replay
from skfusion.pool import Member

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4)).astype(np.float32)
y = (X[:, 0] > 0).astype(int)


class Spy(Callback):
    """Keeps what it sees."""

    def __init__(self, keep_weights=False):
        self.keep_weights = keep_weights

    def initialize(self):
        self.events, self.rows, self.weights = [], [], []
        return self

    def on_train_begin(self, net, X, y, **_):
        self.events.append(("begin", len(net.history)))

    def on_epoch_begin(self, net, dataset_train, dataset_valid, **_):
        self.events.append(("epoch", len(net.history)))

    def on_epoch_end(self, net, **_):
        self.rows.append(dict(net.history[-1]))
        assert net.history[-1, "epoch"] == len(net.history)
        if self.keep_weights:
            self.weights.append({k: v.clone() for k, v in net.module_.state_dict().items()})

    def on_train_end(self, net, X, y, **_):
        self.events.append(("end", len(net.history)))


def net(**params):
    settings = {"module__in_features": 4, "module__out_features": 2, "criterion": nn.CrossEntropyLoss, "verbose": 0}
    return NeuralNetClassifier(nn.Linear, **{**settings, "max_epochs": 3, **params})


def fitted(collect, n_jobs=None):
    return EnsembleClassifier(net(), collect=collect, n_jobs=n_jobs, random_state=0).fit(X, y)


@pytest.fixture(scope="module")
def pool():
    return fitted(Seeds(2, vectorize=False)).pool_


def test_a_logger_sees_a_training(pool):
    spy = Spy()
    replay(pool[0], spy)
    assert spy.events == [("begin", 0), ("epoch", 0), ("epoch", 1), ("epoch", 2), ("end", 3)]
    for row, kept in zip(spy.rows, pool[0].meta["history"], strict=True):
        assert {name: row[name] for name in kept} == kept
        assert row["batches"] == []


def test_the_least_losses_so_far_are_marked():
    losses = [0.5, 0.7, 0.4]
    history = [{"epoch": k + 1.0, "train_loss": 1.0, "valid_loss": loss} for k, loss in enumerate(losses)]
    spy = Spy()
    replay(Member("a", {}, meta={"history": history}), spy)
    assert [row["valid_loss_best"] for row in spy.rows] == [True, False, True]
    assert [row["train_loss_best"] for row in spy.rows] == [True, False, False]


def test_it_is_the_same_however_members_were_trained(pool):
    def losses(members):
        spies = []
        for member in members:
            spies.append(Spy())
            replay(member, spies[-1])
        return [[row["valid_loss"] for row in spy.rows] for spy in spies]

    expected = losses(pool)
    assert len({*map(tuple, expected)}) == 2
    assert losses(fitted(Seeds(2, vectorize=False), n_jobs=2).pool_) == expected
    np.testing.assert_allclose(losses(fitted(Seeds(2, vectorize=True)).pool_), expected, rtol=1e-4)


def test_the_net_has_the_weights_of_the_member_and_the_member_is_left(pool):
    spy, before, state = Spy(keep_weights=True), dict(pool[1].meta), torch.get_rng_state()
    replay(pool[1], spy)
    for weights in spy.weights:
        assert all(torch.equal(weights[key], tensor) for key, tensor in pool[1].state.items())
    assert pool[1].meta == before
    assert torch.equal(torch.get_rng_state(), state)


def test_a_snapshot_has_the_epochs_up_to_it():
    counts = []
    for member in fitted(Snapshots(3)).pool_:
        spy = Spy()
        replay(member, spy)
        counts.append(len(spy.rows))
    assert counts == [1, 2, 3]


def test_members_from_a_folder_have_no_net_until_one_is_given(pool, tmp_path):
    pool.save(tmp_path / "pool")
    (member, *_) = ModelPool.load(tmp_path / "pool")
    spy = Spy()
    replay(member, spy)
    assert len(spy.rows) == 3
    with pytest.raises(
        AttributeError, match=r"asks for the module_ of a net.*'seed-0'.*replay\(member, callback, net\)"
    ):
        replay(member, Spy(keep_weights=True))
    spy = Spy(keep_weights=True)
    replay(member, spy, net())
    assert torch.equal(spy.weights[0]["weight"], member.state["weight"])


@pytest.mark.parametrize("saved", [False, True])
def test_skorch_prints_its_table(pool, tmp_path, capsys, saved):
    if saved:
        pool.save(tmp_path / "pool")
        pool = ModelPool.load(tmp_path / "pool")
    replay(pool[0], PrintLog())
    assert len(capsys.readouterr().out.splitlines()) == 5


@pytest.mark.parametrize("meta", [{}, {"history": []}])
def test_without_a_history_there_is_nothing_to_see(meta):
    with pytest.raises(ValueError, match=r"Member 'a' has no history"):
        replay(Member("a", {}, meta=meta), Spy())
