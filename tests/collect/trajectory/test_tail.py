"""Checkpoints along the tail of one run."""

import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from recording import ROWS, Recorder, collect
from skorch import NeuralNetRegressor
from skorch.callbacks import Callback, LRScheduler
from torch import nn
from torch.optim.swa_utils import AveragedModel

from skfusion import nets
from skfusion.collect import Seeds, Tail
from skfusion.collect._train_runs import train
from skfusion.collect.trajectory._tail import TailRate
from skfusion.merge import Uniform
from skfusion.testing import _problems as problems


def lead_in(epoch, swa_start, initial, swa_lr):
    """The rate of an epoch before the average starts, as the code of Izmailov et al. sets it."""
    t = epoch / swa_start
    ratio = swa_lr / initial
    factor = 1.0 if t <= 0.5 else 1.0 - (1.0 - ratio) * (t - 0.5) / 0.4 if t <= 0.9 else ratio
    return factor * initial


def cyclic(i, c, high, low):
    t = ((i - 1) % c + 1) / c
    return (1 - t) * high + t * low


def test_the_lead_in_goes_to_the_rate_of_the_tail():
    rate = TailRate(burn_in=20, every=1, high=0.1, low=0.1)
    for epoch in range(20):
        assert rate(epoch, 1) == pytest.approx(lead_in(epoch, 20, 1.0, 0.1), abs=1e-12)
    assert [rate(step, 1) for step in range(20, 30)] == [pytest.approx(0.1, abs=1e-15)] * 10
    steps = [rate(step, 7) for step in range(140)]
    assert steps[:70] == [1.0] * 70
    assert all(a >= b for a, b in pairwise(steps))
    assert steps[-1] == pytest.approx(0.1)


@pytest.mark.parametrize(("every", "per_epoch"), [(1, 1), (1, 5), (3, 5)])
def test_cycles_fall_from_one_rate_to_the_other(every, per_epoch):
    rate, c = TailRate(burn_in=2, every=every, high=0.8, low=0.2), every * per_epoch
    found = [rate(2 * per_epoch + i - 1, per_epoch) for i in range(1, 4 * c + 1)]
    assert found == pytest.approx([cyclic(i, c, 0.8, 0.2) for i in range(1, 4 * c + 1)], abs=1e-12)
    assert found[c - 1 :: c] == pytest.approx([0.2] * 4)


def test_the_optimiser_sees_the_rates():
    collect(Tail(0.5, every=2, lr=0.02, lr_end=0.002), max_epochs=8, lr=0.1)
    before = [lead_in(step, 12, 0.1, 0.02) for step in range(12)]
    after = [cyclic(i, 6, 0.02, 0.002) for i in range(1, 13)]
    assert Recorder.rates == pytest.approx(before + after, abs=1e-12)


def test_without_rates_the_nets_own_stays():
    collect(Tail(), max_epochs=8, lr=0.1)
    assert Recorder.rates == pytest.approx([0.1] * 24, abs=1e-12)


def test_no_burn_in():
    assert collect(Tail(0.0), max_epochs=3).names == ["tail-epoch-1", "tail-epoch-2", "tail-epoch-3"]
    collect(Tail(0.0, lr=0.05), max_epochs=2, lr=0.1)
    assert Recorder.rates == pytest.approx([0.05] * 6, abs=1e-12)


@pytest.mark.parametrize(
    ("params", "epochs", "expected"),
    [
        ({}, 8, [7, 8]),
        ({"burn_in": 0.5}, 8, [5, 6, 7, 8]),
        ({"burn_in": 0.5, "every": 2}, 8, [6, 8]),
        ({"burn_in": 0.5, "every": 3}, 8, [7]),
        ({"burn_in": 0.0, "last": 3}, 8, [6, 7, 8]),
        ({"burn_in": 0.0, "last": 30}, 3, [1, 2, 3]),
        ({"burn_in": 0.99}, 8, [8]),
    ],
)
def test_checkpoints_are_the_net_at_their_epochs(params, epochs, expected):
    pool = collect(Tail(**params), max_epochs=epochs)
    assert [m.meta["epoch"] for m in pool] == expected
    for member in pool:
        state = Recorder.states[member.meta["epoch"]]
        assert all(torch.equal(v, state[k]) for k, v in member.state.items())


def test_the_mean_is_that_of_torchs_averaged_model():
    pool = collect(Tail(0.25), max_epochs=8, lr=0.1)
    module = nets.Runner(pool[0].net, "classification", ROWS).module
    averaged = AveragedModel(module, use_buffers=False)
    for member in pool:
        module.load_state_dict(member.state)
        averaged.update_parameters(module)
    assert len(pool) == 6
    soup = Uniform()(pool.states)
    for key, value in averaged.module.named_parameters():
        torch.testing.assert_close(soup[key], value.detach(), rtol=1e-6, atol=1e-7)


def test_the_last_k_checkpoints_are_those_of_the_whole_run():
    whole, last = collect(Tail(0.0), max_epochs=6), collect(Tail(0.0, last=2), max_epochs=6)
    for member in last:
        assert all(torch.equal(v, whole[member.name].state[k]) for k, v in member.state.items())
    one = collect(Tail(0.0, last=1), max_epochs=6)
    assert all(torch.equal(v, Recorder.states[6][k]) for k, v in Uniform()(one.states).items())


# ---- under the schedule of the net -----------------------------------------------------------------------------------


def net_of(*callbacks, **params):
    return problems.net(callbacks=[("record", Recorder()), *callbacks], **params)


class Stops(Callback):
    """Ends the training after an epoch, as early stopping does, and loads the state of another one if asked."""

    def __init__(self, after, load=None):
        self.after, self.load = after, load

    def on_epoch_end(self, net, **_):
        if len(net.history) == self.after:
            raise KeyboardInterrupt

    def on_train_end(self, net, **_):
        if self.load is not None:
            net.module_.load_state_dict(Recorder.states[self.load])


def assert_states(pool, epochs):
    for member, epoch in zip(pool, epochs, strict=True):
        assert all(torch.equal(v, Recorder.states[epoch][k]) for k, v in member.state.items())


def test_the_schedule_of_the_net_is_left_alone():
    halves = ("halves", LRScheduler("ExponentialLR", gamma=0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a scheduler that is overruled would be warned of
        pool = Tail(0.5, lr="net").collect(net_of(halves, max_epochs=4, lr=0.1), ROWS.X, ROWS.y)
    assert Recorder.rates == pytest.approx(np.repeat([0.1, 0.05, 0.025, 0.0125], 3), abs=1e-12)
    assert_states(pool, [3, 4])
    (last,) = Seeds(1).collect(net_of(halves, max_epochs=4, lr=0.1), ROWS.X, ROWS.y).states
    assert all(torch.equal(v, last[k]) for k, v in pool[-1].state.items())


@pytest.mark.parametrize(
    ("params", "epochs", "expected"),
    [
        ({}, 8, [7, 8]),
        ({}, 1, [1]),
        ({"burn_in": 0.5, "every": 3}, 8, [8]),
        ({"burn_in": 0.0, "every": 3}, 8, [5, 8]),
        ({"burn_in": 0.0, "last": 3}, 8, [6, 7, 8]),
    ],
)
def test_checkpoints_are_counted_from_the_end(params, epochs, expected):
    pool = Tail(**params, lr="net").collect(net_of(max_epochs=epochs), ROWS.X, ROWS.y)
    assert [m.meta["epoch"] for m in pool] == expected
    assert pool.names == [f"tail-last-{rank}" for rank in range(len(expected), 0, -1)]
    assert_states(pool, expected)


@pytest.mark.parametrize(
    ("after", "every", "expected"), [(5, 1, [2, 3, 4, 5]), (2, 1, [1, 2]), (1, 1, [1]), (6, 2, [4, 6])]
)
def test_where_a_run_ends_early_the_last_epochs_that_there_are_count(after, every, expected):
    tail, stops = Tail(0.5, every=every, lr="net"), ("stops", Stops(after))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pool = tail.collect(net_of(stops, max_epochs=8), ROWS.X, ROWS.y)
    assert [m.meta["epoch"] for m in pool] == expected
    assert_states(pool, expected)


@pytest.mark.parametrize("vectorize", [False, True])
@pytest.mark.parametrize(("best", "expected"), [(1, [1]), (2, [1, 2]), (4, [1, 2, 3, 4]), (5, [2, 3, 4, 5])])
def test_what_comes_after_the_best_state_is_left_out_where_that_is_loaded(best, expected, vectorize):
    net = nets.sized(net_of(("stops", Stops(5, load=best)), max_epochs=8), ROWS, 3)
    (run,) = Tail(0.5, lr="net").runs(net, ROWS, np.random.RandomState(0))
    pool = train(net, ROWS, [run], vectorize=vectorize)
    assert [m.meta["epoch"] for m in pool] == expected
    assert_states(pool, [*expected[:-1], best])


def test_runs_that_are_trained_together_leave_what_each_leaves_alone():
    net = nets.sized(problems.net(max_epochs=4), ROWS, 3)
    rng, tail = np.random.RandomState(0), Tail(0.5, lr="net")
    runs = [replace(tail.runs(net, ROWS, rng)[0], name=name) for name in "ab"]
    together, alone = (train(net, ROWS, runs, vectorize=vectorize) for vectorize in (True, False))
    assert together.names == alone.names == ["a-last-2", "a-last-1", "b-last-2", "b-last-1"]
    for one, other in zip(together.states, alone.states, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def least_squares():
    """Rows of a noisy linear function and the excess risk of a state over the least-squares solution."""
    rng = np.random.RandomState(0)
    x = rng.normal(size=(400, 10)).astype(np.float32)
    y = (x.sum(axis=1, keepdims=True) + rng.normal(size=(400, 1))).astype(np.float32)
    best = np.linalg.lstsq(x, y, rcond=None)[0]

    def excess(state):
        return float(((x @ (state["weight"].numpy().T - best)) ** 2).mean())

    return x, y, excess


def test_the_mean_of_the_tail_of_least_squares_is_far_better_than_the_last_iterate():
    x, y, excess = least_squares()
    net = NeuralNetRegressor(
        nn.Linear,
        module__in_features=10,
        module__out_features=1,
        module__bias=False,
        optimizer=torch.optim.SGD,
        lr=0.02,
        batch_size=10,
        max_epochs=60,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks="disable",
        verbose=0,
    )
    pool = Tail(0.5).collect(net, x, y, random_state=0)
    single = np.mean([excess(state) for state in pool.states])
    assert len(pool) == 30
    assert excess(Uniform()(pool.states)) < single / 5


def test_tail_averaging_on_a_stream_reaches_the_statistical_rate():
    """d = 10, constant step, unit noise: the last iterate stays noisy, the tail mean has error about d / (N / 2)."""
    rng = np.random.RandomState(0)
    n, d, w, kept = 20_000, 10, np.zeros(10), []
    X, noise = rng.normal(size=(n, d)), rng.normal(size=n)
    for i in range(n):
        w = w + 0.02 * (X[i] @ (1 - w) + noise[i]) * X[i]
        if i >= n // 2:
            kept.append(torch.from_numpy(w))
    every = Uniform()([{"w": torch.stack(kept).mean(0)}])["w"]
    thinned = Uniform()([{"w": v} for v in kept[::50]])["w"]
    rate = d / (n / 2)
    error = [float(((v - 1) ** 2).sum()) for v in (kept[-1], every, thinned)]
    assert error[1] < 3 * rate
    assert error[2] < 3 * rate
    assert error[0] > 20 * rate


@pytest.mark.parametrize(
    ("params", "message"),
    [({"burn_in": 1.0}, "burn_in"), ({"burn_in": -0.1}, "burn_in"), ({"burn_in": "x"}, "burn_in"),
     ({"every": 0}, "every=0"), ({"every": 3}, "every=3"), ({"last": 0}, "last"),
     ({"lr": "nets"}, "lr is a number, or 'net'"), ({"lr": "net", "lr_end": 0.1}, "without lr_end")],
)  # fmt: skip
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        collect(Tail(**params), max_epochs=8)


def test_a_rate_of_zero_is_refused_where_it_would_be_scaled():
    for params in ({"lr": 0.1}, {"lr_end": 0.1}):
        with pytest.raises(
            ValueError, match="Tail sets the learning rate by a factor on the net's own, which is 0: give"
        ):
            collect(Tail(**params), max_epochs=4, lr=0.0)
    assert len(collect(Tail(), max_epochs=4, lr=0.0)) == 1
