"""Independent runs, and what all collectors share."""

import looped
import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

from skfusion import nets
from skfusion._rows import Rows
from skfusion.collect import Seeds, Snapshots
from skfusion.nets import DivergedError, mlp_classifier, mlp_regressor
from skfusion.testing import _problems as problems

ROWS = problems.rows()


def collect(collector, net=None, seed=0, rows=ROWS, **kwargs):
    net = problems.net() if net is None else net
    return looped.collect(collector, net, rows, seed, **kwargs)


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_each_member_is_a_run_with_its_own_seed():
    pool = collect(Seeds(3, vectorize=False))
    assert pool.names == ["seed-0", "seed-1", "seed-2"]
    seeds = [int(s) for s in np.random.RandomState(0).randint(np.iinfo(np.int32).max, size=3)]
    assert [m.meta["seed"] for m in pool] == seeds
    for member in pool:
        fitted = nets.fit(member.net, ROWS, member.meta["seed"])
        assert equal(nets.state_of(fitted), member.state)


def test_more_members_keep_the_first_ones():
    few, more = collect(Seeds(4)), collect(Seeds(6))  # stacks
    assert all(equal(few[k].state, more[k].state) for k in range(4))
    assert equal(collect(Seeds(1))[0].state, collect(Seeds(2))[0].state)  # loops


def test_the_history_of_every_epoch_is_kept():
    member = collect(Seeds(1))[0]
    assert member.meta["epoch"] == 4
    assert len(member.meta["history"]) == 4
    assert all(np.isfinite(row["train_loss"]) for row in member.meta["history"])


def test_a_module_instance_is_the_common_start():
    sized = nets.sized(problems.net(), ROWS, 3)
    module = clone(sized).initialize().module_
    net = NeuralNetClassifier(
        module, criterion=nn.CrossEntropyLoss, lr=1e-12, max_epochs=1, train_split=None, verbose=0
    )
    pool = collect(Seeds(2), net)
    for key, value in pool.base.items():
        assert torch.equal(value, module.state_dict()[key])
        if "running" not in key and "tracked" not in key:
            for member in pool:
                torch.testing.assert_close(member.state[key], value, rtol=0, atol=1e-6)
    assert collect(Seeds(2)).base is None


def test_fractional_weights_reach_the_training():
    weight = np.linspace(0.1, 1.9, len(ROWS))
    plain, weighted = collect(Seeds(1)), collect(Seeds(1), sample_weight=weight)
    rows = Rows(ROWS.X, ROWS.y, weight)
    fitted = nets.fit(weighted[0].net, rows, weighted[0].meta["seed"])
    assert equal(nets.state_of(fitted), weighted[0].state)
    assert not equal(plain[0].state, weighted[0].state)


def test_the_task_is_told_by_net_and_target():
    x = ROWS.X
    widths = {}
    for name, net, y in (
        ("regression", mlp_regressor(max_epochs=1), x[:, 0]),
        ("multilabel", mlp_classifier(multilabel=True, max_epochs=1), (x[:, :2] > 0).astype(np.int64)),
        ("classification", mlp_classifier(max_epochs=1), ROWS.y),
        ("more classes", mlp_classifier(max_epochs=1, classes=[0, 1, 2, 3]), ROWS.y),
        ("given width", mlp_classifier(max_epochs=1, module__n_out=5), ROWS.y),
    ):
        pool = Seeds(1).collect(net, x, y, random_state=0)
        widths[name] = len([v for k, v in pool[0].state.items() if k.endswith("bias")][-1])
    assert widths == {"regression": 1, "multilabel": 2, "classification": 3, "more classes": 4, "given width": 5}


@pytest.mark.parametrize("n", [0, -3])
def test_at_least_one_member(n):
    with pytest.raises(ValueError, match=f"n_members must be at least 1.*got {n}"):
        collect(Seeds(n))


class DivergesOnce(Callback):
    """Breaks the loss of the second run, in its second epoch."""

    runs = 0

    def on_train_begin(self, net, **_):
        type(self).runs += 1

    def on_epoch_begin(self, net, **_):
        if self.runs == 2 and len(net.history) == 2:
            with torch.no_grad():
                next(net.module_.parameters()).fill_(float("nan"))


def test_a_member_that_diverges_is_named_and_the_others_are_kept():
    DivergesOnce.runs = 0
    net = problems.net(callbacks=[("diverge", DivergesOnce())])
    with pytest.raises(DivergedError, match=r"Member 'seed-1' diverged.*epoch 2.*2 other members") as caught:
        collect(Seeds(3, vectorize=False), net)
    assert caught.value.pool.names == ["seed-0", "seed-2"]
    assert caught.value.epoch == 2
    assert equal(caught.value.pool["seed-2"].state, collect(Seeds(3, vectorize=False))["seed-2"].state)


def test_all_members_may_diverge():
    rows = problems.rows("regression")
    net = mlp_regressor(max_epochs=3, lr=1e20, optimizer=torch.optim.SGD, optimizer__fused=None)
    with pytest.raises(DivergedError, match="Member 'seed-0' diverged") as caught:
        Seeds(2).collect(net, rows.X, rows.y, random_state=0)
    assert "attribute pool" not in str(caught.value)  # there is none
    assert caught.value.pool is None


class Listener:
    """Writes down what a collector tells."""

    def __init__(self, stop_after=None, last_epoch=None):
        self.told, self.stop_after, self.last_epoch = [], stop_after, last_epoch

    def start(self, n_runs):
        self.told.append(("start", n_runs))

    def begin(self, name, n_epochs):
        self.told.append(("begin", name, n_epochs))
        return lambda epoch, net: self.told.append(("epoch", epoch)) or epoch == self.last_epoch

    def end(self, name, members):
        self.told.append(("end", name, [m.name for m in members]))
        return name == self.stop_after

    def finish(self):
        self.told.append(("finish",))


def test_progress_is_told_in_order():
    progress = Listener()
    collect(Seeds(1), progress=progress)
    epochs = [("epoch", i) for i in (1, 2, 3, 4)]
    ends = ("end", "seed-0", ["seed-0"]), ("finish",)
    assert progress.told == [("start", 1), ("begin", "seed-0", 4), *epochs, *ends]


def test_progress_can_end_the_work():
    assert collect(Seeds(3), progress=Listener(stop_after="seed-1")).names == ["seed-0", "seed-1"]
    member = collect(Seeds(1), progress=Listener(last_epoch=2))[0]
    assert member.meta["epoch"] == 2
    expected = collect(Seeds(1), problems.net(max_epochs=2))[0]
    assert equal(member.state, expected.state)
    assert collect(Snapshots(2), progress=Listener(last_epoch=3)).names == ["snapshot-epoch-2"]


def test_dict_inputs_and_images():
    class Two(nn.Module):
        def __init__(self, n_out):
            super().__init__()
            self.embed, self.head = nn.Embedding(5, 3), nn.Linear(6, n_out)

        def forward(self, code, x):
            return self.head(torch.cat([self.embed(code), x], 1))

    code = np.random.RandomState(0).randint(5, size=24)
    net = type(problems.net())(Two, criterion=nn.CrossEntropyLoss, max_epochs=1, train_split=None, verbose=0)
    data = {"code": code, "x": ROWS.X}
    pool = Seeds(2).collect(net, data, ROWS.y, random_state=0)
    assert pool[0].state["head.weight"].shape == (3, 6)
    assert np.array_equal(pool[0].rows, Rows(data, ROWS.y).marks)
