"""What collectors of populations share: one start, one split, and members that drop out."""

import os
import signal
import warnings

import looped
import numpy as np
import pytest
import torch
from looped import check_same_state, same_bits
from sklearn.base import clone
from skorch import NeuralNetRegressor
from skorch.callbacks import Callback, EarlyStopping
from skorch.dataset import ValidSplit

from skfusion.collect import HWA, PAPA, PAPA2, PAPAAll
from skfusion.nets import DivergedError, Run, with_module
from skfusion.nets.vectorized._plan import member_cost
from skfusion.testing import _problems as problems

ROWS = problems.rows()
BOTH = pytest.mark.parametrize("vectorize", [True, False])
PLAIN = {"module__norm": None}


def collect(collector, seed=0, **params):
    return looped.collect(collector, problems.net(**params), ROWS, seed)


# ---- one start, one split ------------------------------------------------------------------------------------------


def test_members_start_from_one_fresh_state():
    papa, rng = PAPA(3), np.random.RandomState(0)
    runs = papa.runs(problems.sized_net(), ROWS, rng)
    assert all(run.state is runs[0].state for run in runs)
    assert len({run.seed for run in runs}) == 3
    pool = collect(papa)
    assert same_bits(pool.base, runs[0].state)
    assert not same_bits(collect(papa, seed=1).base, pool.base)
    assert papa.has_base(problems.net())


def test_members_start_where_they_are_asked_to():
    start = collect(PAPA(1)).base
    moved = {k: t + 1 if t.is_floating_point() else t for k, t in start.items()}
    assert same_bits(collect(PAPA(2, init=moved)).base, moved)
    trained = collect(PAPA(2, init=2)).base
    assert int(next(t for k, t in trained.items() if k.endswith("num_batches_tracked"))) == 6
    made = problems.sized_net().initialize().module_
    pool = looped.collect(PAPA(2), with_module(problems.net(), made), ROWS)
    assert same_bits(pool.base, made.state_dict())


class HeldOut(Callback):
    """Writes down which rows each member holds out."""

    seen: list = []  # noqa: RUF012

    def on_epoch_begin(self, net, dataset_valid=None, **_):
        if not net.history[:-1]:
            self.seen.append(tuple(np.sort([float(x.sum()) for x, _ in dataset_valid])))


@pytest.mark.parametrize("collector", [PAPA(3), PAPAAll(3, init=1), HWA(3, vectorize=True)], ids=repr)
def test_all_members_hold_out_the_same_rows(collector):
    """Those that one member trains on reach the others through the mean, who would validate on what they know."""
    HeldOut.seen.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are few means
        collect(collector, train_split=ValidSplit(0.3), callbacks=[("held", HeldOut())])
    assert len(HeldOut.seen) >= 3
    assert len({*HeldOut.seen}) == 1


# ---- vectorized, or in turn ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("collector", [PAPA(4, alpha=0.5, every=2), PAPAAll(4, every=1), PAPA2(4, every=1)], ids=repr)
def test_what_cannot_be_vectorized_is_trained_in_turn(collector):
    net = looped.classifier(torch.nn.ReLU, optimizer=torch.optim.RMSprop, lr=0.01)
    with pytest.warns(UserWarning, match="trained in turn, a step each, and not vectorized: the optimiser RMSprop"):
        pool = looped.collect(clone(collector).set_params(vectorize=True), net)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = looped.collect(clone(collector).set_params(vectorize=False), net)
    assert looped.same_pools(pool, expected)
    assert not same_bits(pool[0].state, pool[1].state)


def test_members_are_not_split():
    papa = PAPA(4, alpha=0.5, every=1, vectorize=True)
    one = member_cost(problems.sized_net(**PLAIN), ROWS, Run("run", 0)).bytes
    with pytest.warns(UserWarning, match=r"all 4 must be trained as one, and max_bytes has room for 2 of them"):
        pool = collect(clone(papa).set_params(max_bytes=3 * one), **PLAIN)
    for a, b in zip(pool, collect(papa, **PLAIN), strict=True):
        check_same_state(a.state, b.state, 1e-5)


def test_a_training_that_is_given_up_begins_anew():
    class Draws(Callback):
        """Lets the module draw by itself from the third epoch on, which cannot be vectorized."""

        def on_epoch_end(self, net, **_):
            if len(net.history) == 2:
                net.module_.register_forward_hook(lambda module, args, out: out + 0 * torch.rand(()))

    params = {**PLAIN, "callbacks": [("draws", Draws())]}
    for collector in (PAPA2(4, every=1, vectorize=True), HWA(4, last=3, vectorize=True)):
        with pytest.warns(UserWarning, match="in turn, a step each"):
            pool = collect(collector, **params)
        assert looped.same_pools(pool, collect(clone(collector).set_params(vectorize=False), **params))


def test_settings_that_differ_in_the_module_are_trained_in_turn():
    papa = PAPA(4, every=1, params={"module__dropout": [0.0, 0.1, 0.2, 0.3]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pool = collect(papa)
    assert sorted(member.meta["params"]["module__dropout"] for member in pool) == [0.0, 0.1, 0.2, 0.3]


# ---- members that drop out -----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("kind", [PAPA, PAPAAll, PAPA2])
def test_a_member_that_diverges_is_left_out_and_named(kind, vectorize):
    rates = [{"lr": 0.02}, {"lr": 1e38}, {"lr": 0.02}, {"lr": 0.02}]
    collector = kind(4, every=1, params=rates, vectorize=vectorize)
    with pytest.warns(UserWarning, match="1 of 4 members diverged and are left out, of which 'papa-1' is the first"):
        pool = collect(collector, optimizer=torch.optim.SGD)
    assert pool.names == ["papa-0", "papa-2", "papa-3"]
    assert all(t.abs().max() < 100 for state in pool.states for t in state.values())
    assert pool.base is not None


@BOTH
def test_a_member_that_diverges_slowly_does_not_drag_the_others_along(vectorize):
    net = NeuralNetRegressor(torch.nn.Linear, module__in_features=3, module__out_features=1, batch_size=24, verbose=0)
    net.set_params(max_epochs=60, train_split=None, optimizer=torch.optim.SGD)
    papa = PAPA(4, every=1, params=[{"lr": 0.1}, {"lr": 0.1}, {"lr": 5.0}, {"lr": 0.1}], vectorize=vectorize)
    with pytest.warns(UserWarning, match="1 of 4 members diverged and are left out, of which 'papa-2' is the first"):
        pool = looped.collect(papa, net, problems.rows("regression"))
    assert all(member.meta["history"][-1]["train_loss"] < 0.01 for member in pool)


def test_members_that_all_diverge_are_an_error():
    with pytest.raises(DivergedError, match="'papa-0' diverged.*'papa-1' diverged"):
        collect(PAPA(2, every=1), optimizer=torch.optim.SGD, lr=1e38)


class Nan(Callback):
    """Spoils the weights of the second member after the last step, when no loss is computed any more."""

    members = 0

    def on_train_begin(self, net, **_):
        Nan.members += 1
        self.number = Nan.members

    def on_train_end(self, net, **_):
        if self.number == 2:
            with torch.no_grad():
                next(net.module_.parameters()).fill_(torch.nan)


@BOTH
def test_a_member_that_diverges_in_its_last_step_is_left_out_and_named(vectorize):
    Nan.members = 0
    with pytest.warns(UserWarning, match="of which 'papa-1' is the first, in its last step"):
        pool = collect(PAPA(3, vectorize=vectorize), callbacks=[("nan", Nan())])
    assert pool.names == ["papa-0", "papa-2"]


class Ends(Callback):
    """Ends the training of the second member after two epochs, as skorch's EarlyStopping does."""

    members = 0

    def on_train_begin(self, net, **_):
        Ends.members += 1
        self.number = Ends.members

    def on_epoch_end(self, net, **_):
        if self.number == 2 and len(net.history) == 2:
            raise KeyboardInterrupt


@BOTH
def test_a_member_that_ends_early_is_named_and_stays_as_it_was(vectorize):
    papa = PAPA(3, alpha=0.0, every=1, vectorize=vectorize)
    Ends.members = 0
    with pytest.warns(UserWarning, match="ended before others: 'papa-1' after epoch 2"):
        pool = collect(papa, callbacks=[("ends", Ends())], **PLAIN)
    assert [m.meta["epoch"] for m in pool] == [4, 2, 4]
    short = collect(papa, max_epochs=2, **PLAIN)
    check_same_state(short[1].state, pool[1].state, 1e-6)
    assert same_bits(pool[0].state, pool[2].state)
    assert not same_bits(pool[0].state, pool[1].state)


@BOTH
def test_all_members_may_stop_early(vectorize):
    stop = ("stop", EarlyStopping(monitor="train_loss", patience=1, threshold=10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pool = collect(PAPA(3, alpha=0.0, every=1, vectorize=vectorize), max_epochs=9, callbacks=[stop])
    assert {m.meta["epoch"] for m in pool} == {2}


# ---- interrupts ----------------------------------------------------------------------------------------------------


class Presses(Callback):
    """The user presses Ctrl-C in the third epoch."""

    def on_epoch_end(self, net, **_):
        if len(net.history) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            while True:
                pass


@BOTH
@pytest.mark.parametrize(
    ("collector", "names"), [(PAPA(2), None), (HWA(2, last=5), ["hwa-epoch-1", "hwa-epoch-2", "hwa-epoch-3"])]
)
def test_an_interrupt_gets_through_with_what_there_is(collector, names, vectorize, untouched_rng):
    collector = clone(collector).set_params(vectorize=vectorize)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            collect(collector, callbacks=[("presses", Presses())])
    finally:
        signal.signal(signal.SIGINT, before)
    assert (None if caught.value.pool is None else caught.value.pool.names) == names
    if names:
        assert np.isin(caught.value.pool[0].rows, ROWS.marks).all()
        assert caught.value.pool.base is not None
