"""Averaged weights of a training that is interrupted, goes on, is copied, pickled or begun anew."""

import copy
import pickle
import warnings

import pytest
import torch
from averaging import Trajectory, X, Y, assert_close, fitted, net, seen, state
from sklearn.base import clone
from skorch.callbacks import Callback, EarlyStopping

from skfusion.average import EMA, Dense, Latest, LowPrecision, Mean
from skfusion.nets import AverageWeights

AVERAGES = [EMA(0.8), Mean(2), Latest(2), Dense(1, 2), LowPrecision(2, fraction=4)]


def callback_of(found):
    return dict(found.callbacks_)["AverageWeights"]


def go_on(found, seed=1):
    torch.manual_seed(seed)
    return found.partial_fit(X, Y)


def by_warm_start(found):
    torch.manual_seed(1)
    return found.set_params(warm_start=True).fit(X, Y)


def by_pickle(found):
    return go_on(pickle.loads(pickle.dumps(found)))


def by_copy(found):
    return go_on(copy.deepcopy(found))


@pytest.mark.parametrize(
    ("average", "resume", "norm"),
    [
        *((average, go_on, False) for average in AVERAGES),
        *((average, by_pickle, True) for average in AVERAGES),
        *((EMA(0.8), resume, True) for resume in (go_on, by_warm_start, by_copy)),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_training_goes_on_as_if_it_had_never_been_averaged(average, resume, norm):
    """Of the same seeds come the same steps, and the average is that of both trainings."""
    plain = go_on(fitted(module__norm=norm))
    found = resume(fitted(AverageWeights(average), module__norm=norm))
    if not average.changes_run:
        for one, other in zip(seen(plain).states, seen(found).states, strict=True):
            assert_close(other, one, rtol=0, atol=0)
        losses = [found.history[:, "valid_loss"]] if average.needs_validation else []
        states = seen(found).states if average.unit == "step" else seen(found).after_[2::3]
        expected = average.of(states, *losses)
        statistics = ("running_mean", "running_var", "num_batches_tracked")
        assert_close(state(found), expected, skip=statistics, rtol=1e-5, atol=1e-6)
    else:
        whole = go_on(fitted(AverageWeights(average), module__norm=norm))
        assert_close(state(found), state(whole), rtol=0, atol=0)
    assert callback_of(found).step_ == 24


def test_a_share_is_of_the_first_training():
    found = go_on(fitted(AverageWeights(Mean(0.5))))
    assert callback_of(found).n_averaged_ == 24 - 5  # from step 6 of 12 on
    assert_close(state(found), Mean(7).of(seen(found).states), rtol=1e-5, atol=1e-6)


def test_other_weights_that_are_loaded_start_a_new_average(tmp_path):
    found, other = fitted(AverageWeights(EMA(0.5))), fitted(seed=3)
    other.save_params(f_params=tmp_path / "other.pt")
    found.load_params(f_params=tmp_path / "other.pt")
    with pytest.warns(UserWarning, match="the training goes on from them, and the average begins anew"):
        go_on(found)
    assert_close(seen(found).before_[12], state(other), rtol=0, atol=0)
    states = [seen(found).before_[12], *seen(found).after_[12:]]
    assert_close(state(found), EMA(0.5).of(states), rtol=1e-5, atol=1e-6)
    assert callback_of(found).n_averaged_ == 12


def test_a_best_state_that_was_loaded_is_where_a_training_goes_on():
    best = EarlyStopping(patience=99, load_best=True, sink=lambda _: None)
    found = fitted(AverageWeights(EMA(0.5)), best, lr=1.4, max_epochs=8)
    loaded = state(found)
    with pytest.warns(UserWarning, match="the average begins anew"):
        go_on(found)
    assert_close(seen(found).before_[24], loaded, rtol=0, atol=0)


def test_a_parameter_that_is_set_in_between_does_not_lose_the_raw_weights():
    found = fitted(AverageWeights(EMA(0.5)))
    raw = callback_of(found).raw_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.set_params(callbacks__AverageWeights__average=EMA(0.2))
        found.set_params(callbacks__AverageWeights__validate="raw")
        go_on(found)
    record = seen(found)  # which has been initialised anew, too
    assert_close(record.before_[0], raw, rtol=0, atol=0)
    assert_close(state(found), EMA(0.2).of(record.states), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("average", AVERAGES, ids=repr)
def test_fitting_again_begins_anew(average):
    callback = AverageWeights(average)
    found = fitted(callback)
    once = state(found)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.fit(X, Y)
    assert_close(state(found), once, rtol=0, atol=0)
    assert callback.step_ == 12


def test_clones_and_copies_do_not_share_an_average():
    found = fitted(AverageWeights(EMA(0.5)))
    before = state(found)
    fresh, twin = clone(found), copy.deepcopy(found)
    assert repr(fresh.callbacks[0].average) == "EMA(decay=0.5)"
    assert fresh.callbacks[0].average is not callback_of(found).average
    assert not hasattr(fresh.callbacks[0], "running_")
    go_on(twin)
    assert_close(state(found), before, rtol=0, atol=0)
    assert (callback_of(found).step_, callback_of(twin).step_) == (12, 24)


def test_pickles_hold_no_data():
    small, large = (fitted(AverageWeights(EMA(0.5))) for _ in range(2))
    large.set_params(max_epochs=1, batch_size=400)
    large.partial_fit(X.repeat(100, axis=0), Y.repeat(100, axis=0))
    large.initialize_history()
    small.initialize_history()
    dict(large.callbacks_)["seen"].initialize()
    dict(small.callbacks_)["seen"].initialize()
    assert len(pickle.dumps(callback_of(large))) < 1.1 * len(pickle.dumps(callback_of(small)))
    assert callback_of(large).dataset_ is None


class Interrupt(Callback):
    """Interrupts the training as a user does, in the middle of an epoch, of a validation, or after it."""

    def __init__(self, event, at):
        self.event, self.at = event, at

    def initialize(self):
        self.count_ = 0
        return self

    def happen(self, event):
        if event == self.event:
            self.count_ += 1
            if self.count_ == self.at:
                raise KeyboardInterrupt

    def on_batch_begin(self, net, training=False, **_):
        self.happen("step" if training else "validation")

    def on_epoch_end(self, net, **_):
        self.happen("end")


@pytest.mark.parametrize(
    ("event", "at", "n_steps"), [("step", 6, 5), ("validation", 2, 6), ("end", 2, 6), ("step", 1, 0)]
)
@pytest.mark.parametrize("validate", ["averaged", "raw"])
@pytest.mark.parametrize("first", [False, True], ids=["before", "after"])
def test_an_interrupt_leaves_the_average_so_far_and_the_training_can_go_on(event, at, n_steps, validate, first):
    interrupt, averaging = Interrupt(event, at), AverageWeights(EMA(0.8), validate)
    found = fitted(*((interrupt, averaging) if first else (averaging, interrupt)))
    states = seen(found).states if n_steps else []
    assert len(seen(found).after_) == n_steps
    if n_steps:
        assert_close(state(found), EMA(0.8).of(states), rtol=1e-5, atol=1e-6)
        raw = seen(found).after_[-1]
    else:
        raw = state(found)
    go_on(found)
    assert_close(seen(found).before_[len(seen(found).before_) - 12], raw, rtol=0, atol=0)
    every = [seen(found).before_[0], *seen(found).after_]
    assert_close(state(found), EMA(0.8).of(every), rtol=1e-5, atol=1e-6)


class Fails(Exception):
    pass


class Failing(Trajectory):
    def on_batch_begin(self, net, training=False, **_):
        super().on_batch_begin(net, training)
        if not training and len(net.history) == 2 and not hasattr(self, "failed_"):
            self.failed_ = True
            raise Fails


def test_an_error_in_a_validation_leaves_what_a_training_can_go_on_from():
    made = net(AverageWeights(EMA(0.8)), ("seen", Failing()))
    with pytest.raises(Fails):
        made.fit(X, Y)
    raw = seen(made).after_[-1]
    go_on(made)
    assert_close(seen(made).before_[6], raw, rtol=0, atol=0)
    assert_close(state(made), EMA(0.8).of(seen(made).states), rtol=1e-5, atol=1e-6)
