"""Collectors that train their members as stacks."""

import os
import warnings
from functools import partial

import looped
import numpy as np
import pytest
import torch
from looped import CLASSES, X, check_same_history, check_same_state, classifier, same_bits
from sklearn.base import clone
from skorch.callbacks import EarlyStopping
from skorch.dataset import ValidSplit
from torch import nn

from skfusion import nets
from skfusion._rows import Rows
from skfusion.collect import Bootstrap, Seeds
from skfusion.collect._recorders import Checkpoints
from skfusion.collect._train_runs import train
from skfusion.nets import DivergedError, Run, mlp_classifier
from skfusion.nets.vectorized._plan import member_cost

R = nn.ReLU
NOISY = (partial(nn.LayerNorm, 8), R, partial(nn.Dropout, 0.3))
ADAM = {"optimizer": torch.optim.AdamW, "lr": 0.01}
COLLECTORS = pytest.mark.parametrize("collector", [Seeds(5), Bootstrap(5), Bootstrap(5, max_samples=0.5)], ids=repr)


def collect(collector, net=None, seed=0, rows=CLASSES, **kwargs):
    net = classifier(*NOISY, **ADAM) if net is None else net
    return looped.collect(collector, net, rows, seed, **kwargs)


def with_params(collector, **params):
    return clone(collector).set_params(**params)


def same_pools(a, b):
    return a.names == b.names and all(same_bits(m.state, o.state) for m, o in zip(a, b, strict=True))


def close_pools(a, b):
    """Some CPUs round a product of many matrices in another way than those of fewer."""
    pairs = [(m.state, o.state) for m, o in zip(a, b, strict=True)]
    return a.names == b.names and all(torch.allclose(m[k], o[k], rtol=0, atol=1e-6) for m, o in pairs for k in m)


# ---- the same members --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@COLLECTORS
def test_vectorized_members_are_looped_members(collector, weighted, monkeypatch):
    weight = np.random.RandomState(1).uniform(0.1, 3, size=53) if weighted else None
    one = collect(with_params(collector, vectorize=False), sample_weight=weight)
    monkeypatch.setattr(nets, "fit", None)  # so that nothing can be trained alone
    many = collect(with_params(collector, vectorize=True), sample_weight=weight)
    assert one.names == many.names
    for a, b in zip(one, many, strict=True):
        check_same_state(a.state, b.state, 1e-5)
        check_same_history(a.meta["history"], b.meta["history"], 1e-5)
        assert {**a.meta, "history": None} == {**b.meta, "history": None}
        assert np.array_equal(a.rows, b.rows)
    assert not same_bits(many[0].state, many[1].state)


def test_weights_reach_the_stack():
    weight = np.linspace(0.1, 1.9, 53)
    plain, weighted = collect(Seeds(2)), collect(Seeds(2), sample_weight=weight)
    assert not any(same_bits(a.state, b.state) for a, b in zip(plain, weighted, strict=True))


@COLLECTORS
def test_chunks_and_processes_change_no_member(collector, untouched_rng):
    collector = with_params(collector, vectorize=True)
    whole = collect(collector)
    net = nets.sized(classifier(*NOISY, **ADAM), CLASSES, 3)
    one = member_cost(net, CLASSES, Run("run", 0, np.arange(53))).bytes
    for size in (3 * one, 4 * one):  # stacks of three and two members
        assert close_pools(collect(with_params(collector, max_bytes=size)), whole)
    assert same_pools(collect(collector), whole)
    assert close_pools(collect(collector, n_jobs=2), whole)


def test_all_processes_may_be_asked_for(monkeypatch):
    calls = []
    monkeypatch.setattr(nets, "plan", lambda *args: calls.append(args[-1]) or nets.Plan([1, 1], False))
    collect(Seeds(2), n_jobs=-1)
    collect(Seeds(2), n_jobs=None)
    assert calls[0] >= 1
    assert calls[0] <= os.cpu_count()
    assert calls[1] == 1


def test_more_members_keep_the_first_ones():
    few, more = collect(Seeds(2, vectorize=True)), collect(Seeds(6, vectorize=True))
    assert all(same_bits(a.state, b.state) for a, b in zip(few, more, strict=False))


def test_states_are_kept_at_the_epochs_that_a_run_names():
    net = nets.sized(classifier(*NOISY, max_epochs=4, **ADAM), CLASSES, 3)
    runs = [
        Run("a", 1, recorder=partial(Checkpoints, (1, 3)), meta={"k": 1}),
        Run("b", 2, recorder=partial(Checkpoints, (4,))),
        Run("c", 3),
    ]
    one, many = (train(net, CLASSES, runs, vectorize=vectorize) for vectorize in (False, True))
    assert one.names == many.names == ["a-epoch-1", "a-epoch-3", "b-epoch-4", "c"]
    for a, b in zip(one, many, strict=True):
        check_same_state(a.state, b.state, 1e-5)
        assert a.meta["epoch"] == b.meta["epoch"] == len(b.meta["history"])
    assert [m.meta.get("k") for m in many] == [1, 1, None, None]


def test_runs_have_schedules_and_parameters_of_their_own():
    net = nets.sized(classifier(R), CLASSES, 3)
    runs = [
        Run("plain", 1),
        Run("slow", 1, params={"lr": 1e-3}),
        Run("falling", 1, schedule=lambda step, steps_per_epoch: 1 / (1 + step / steps_per_epoch)),
        Run("decaying", 1, params={"optimizer__weight_decay": 0.3}),
        Run("some rows", 1, index=np.arange(0, 106, 2) % 53),
    ]
    one, many = (train(net, CLASSES, runs, vectorize=vectorize) for vectorize in (False, True))
    for a, b in zip(one, many, strict=True):
        check_same_state(a.state, b.state, 1e-5)
    assert not any(same_bits(many[0].state, other.state) for other in [*many][1:])
    assert net.lr == 0.05


def test_members_that_stop_early_hold_their_best_epochs():
    stopping = EarlyStopping(patience=3, load_best=True)
    net = classifier(R, lr=0.4, max_epochs=40, train_split=ValidSplit(3), callbacks=[stopping])
    one, many = (collect(Seeds(5, vectorize=vectorize), net) for vectorize in (False, True))
    assert len({m.meta["epoch"] for m in many}) > 1
    for a, b in zip(one, many, strict=True):
        assert a.meta["epoch"] == b.meta["epoch"]
        check_same_state(a.state, b.state, 1e-5)
        best = min(b.meta["history"], key=lambda row: row["valid_loss"])
        assert best["epoch"] < b.meta["epoch"]


def test_the_default_net_is_stacked_as_it_is_looped():
    one, many = (
        collect(Seeds(3, vectorize=vectorize), mlp_classifier(max_epochs=10, batch_size=16))
        for vectorize in (False, True)
    )
    for a, b in zip(one, many, strict=True):
        check_same_state(a.state, b.state, 1e-5)


# ---- divergence --------------------------------------------------------------------------------------------------


def diverging(vectorize, which=("b",), **kwargs):
    """Four runs of which some have a rate at which the loss grows beyond all numbers, in some epochs."""
    net = nets.sized(classifier(*NOISY, max_epochs=4), CLASSES, 3)
    runs = [Run(name, k, params={"lr": 1e38 if name in which else 0.05}) for k, name in enumerate("abcd")]
    return train(net, CLASSES, runs, vectorize=vectorize, **kwargs)


@pytest.mark.parametrize("kwargs", [{}, {"max_bytes": 40_000}, {"n_jobs": 2}], ids=["one", "chunks", "processes"])
def test_a_member_that_diverges_is_named_and_the_others_are_untouched(kwargs):
    sane = diverging(True, which=())
    with pytest.raises(DivergedError, match=r"Member 'b' diverged.*in epoch \d.*3 other members") as looped:
        diverging(False)
    with pytest.raises(DivergedError) as caught:
        diverging(True, **kwargs)
    assert str(caught.value) == str(looped.value)
    assert caught.value.epoch == looped.value.epoch
    assert caught.value.pool.names == ["a", "c", "d"]
    for member in caught.value.pool:
        assert same_bits(member.state, sane[member.name].state)
        assert len(member.meta["history"]) == 4


def test_all_members_may_diverge():
    with pytest.raises(DivergedError, match="Member 'a' diverged.*Member 'd' diverged") as caught:
        diverging(True, which="abcd")
    assert caught.value.pool is None


def test_a_member_may_diverge_in_rows_of_its_own():
    rows = Rows(np.where(np.arange(53)[:, None] == 7, np.float32("nan"), X), CLASSES.y)
    runs = [Run(name, k, index=np.arange(k, k + 8)) for k, name in zip((0, 20, 40), "abc", strict=True)]
    net = nets.sized(classifier(*NOISY, batch_size=4), CLASSES, 3)
    with pytest.raises(DivergedError, match="Member 'a' diverged.*in epoch 1") as caught:
        train(net, rows, runs, vectorize=True)
    sane = train(net, CLASSES, runs, vectorize=True)
    assert caught.value.pool.names == ["b", "c"]
    assert all(same_bits(m.state, sane[m.name].state) for m in caught.value.pool)


# ---- progress ----------------------------------------------------------------------------------------------------


class Listener:
    """Writes down what it is told of each run, and may end one of them."""

    def __init__(self, last=None, stop_after=None):
        self.told, self.last, self.stop_after = [], last or {}, stop_after

    def start(self, n_runs):
        self.told.append(("start", n_runs))

    def begin(self, name, n_epochs):
        self.told.append(("begin", name, n_epochs))
        return lambda epoch, net: self.told.append(("epoch", name, epoch)) or epoch == self.last.get(name)

    def end(self, name, members):
        self.told.append(("end", name, [m.name for m in members]))
        return name == self.stop_after

    def finish(self):
        self.told.append(("finish",))

    def of(self, name):
        return [(what[0], *what[2:]) for what in self.told if what[1:2] == (name,)]


def test_every_run_is_told_of():
    progress = Listener()
    collect(Seeds(3, vectorize=True), progress=progress)
    assert progress.told[0] == ("start", 3)
    assert progress.told[-1] == ("finish",)
    for name in ("seed-0", "seed-1", "seed-2"):
        assert progress.of(name) == [("begin", 3), ("epoch", 1), ("epoch", 2), ("epoch", 3), ("end", [name])]
    assert len(progress.told) == 2 + 3 * 5


def test_a_hook_ends_its_own_run_only():
    whole = collect(Seeds(3, vectorize=True))
    progress = Listener(last={"seed-1": 2})
    pool = collect(Seeds(3, vectorize=True), progress=progress)
    assert [m.meta["epoch"] for m in pool] == [3, 2, 3]
    assert [len(m.meta["history"]) for m in pool] == [3, 2, 3]
    assert [same_bits(a.state, b.state) for a, b in zip(pool, whole, strict=True)] == [True, False, True]
    short = collect(Seeds(3, vectorize=True), classifier(*NOISY, max_epochs=2, **ADAM))
    assert same_bits(pool[1].state, short[1].state)
    assert ("epoch", 3) not in progress.of("seed-1")


def test_progress_can_end_the_work():
    pool = collect(Seeds(4, vectorize=True), progress=Listener(stop_after="seed-1"))
    assert pool.names == ["seed-0", "seed-1"]
    assert same_pools(pool, collect(Seeds(2, vectorize=True)))


def test_a_run_that_diverges_has_an_end_without_members():
    progress = Listener()
    with pytest.raises(DivergedError):
        diverging(True, progress=progress)
    assert progress.of("b")[-1] == ("end", [])
    assert [progress.of(name)[-1] for name in "acd"] == [("end", [name]) for name in "acd"]


def test_a_fallback_tells_of_no_run_twice():
    progress = Listener()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        collect(Seeds(2, vectorize=True), classifier(R, optimizer=torch.optim.RMSprop, lr=1e-3), progress=progress)
    assert len(caught) == 1
    assert progress.of("seed-0") == [("begin", 3), ("epoch", 1), ("epoch", 2), ("epoch", 3), ("end", ["seed-0"])]
