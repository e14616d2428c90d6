"""Averages that ask for validation losses, or change the run, as collectors take them."""

import numpy as np
import pytest
import torch
from recording import ROWS
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit

from skfusion import SoupClassifier, WeightAveragingClassifier, nets
from skfusion.average import Dense, LowPrecision, Mean
from skfusion.collect import Averages, Seeds
from skfusion.collect._train_runs import train
from skfusion.merge import Uniform
from skfusion.testing import _problems as problems


class Run(Callback):
    """Writes down the states that steps begin with, and the last one, and validation losses."""

    states: list = []  # noqa: RUF012
    losses: list = []  # noqa: RUF012

    def on_train_begin(self, net, **_):
        self.states.clear()
        self.losses.clear()

    def on_batch_begin(self, net, training=False, **_):
        if training:
            self.states.append(nets.state_of(net))

    def on_epoch_end(self, net, **_):
        self.losses.append(net.history[-1, "valid_loss"] if net.train_split else None)

    def on_train_end(self, net, **_):
        self.states.append(nets.state_of(net))


def collect(average, n_members=1, collector=None, **params):
    defaults = {"callbacks": [("run", Run())], "max_epochs": 9, "lr": 0.2, "module__norm": None}
    net = problems.net(**{**defaults, **params})
    collector = Averages(n_members, average=average) if collector is None else collector
    return collector.collect(net, ROWS.X, ROWS.y, random_state=0)


VALIDATING = {"train_split": ValidSplit(3), "lr": 0.9}


@pytest.mark.parametrize("average", [Dense(1, 1, 0.02), Dense(1, 2, 0.0), Dense(2, 6)], ids=repr)
def test_a_member_is_the_mean_of_the_valley(average):
    (member,) = collect(average, **VALIDATING)
    stored = average.of(Run.states, Run.losses)
    for key, value in member.state.items():
        torch.testing.assert_close(value, stored[key], rtol=1e-5, atol=1e-6)
    assert member.meta["n_averaged"] == sum(w > 0 for w in average.coefficients(len(Run.states), Run.losses))
    assert "shortfall" not in member.meta


def test_a_loss_that_does_not_converge_is_reported():
    with pytest.warns(UserWarning, match=r"1 of 1 runs were too short.*Dense\(n_start=9\) found no start in 5 epochs"):
        (member,) = collect(Dense(9), max_epochs=5, **VALIDATING)
    assert "found no start" in member.meta["shortfall"]
    n = member.meta["n_averaged"]
    expected = torch.stack([s["layers.0.weight"].double() for s in Run.states[-n:]]).mean(0)
    torch.testing.assert_close(member.state["layers.0.weight"].double(), expected, rtol=1e-5, atol=1e-6)


def test_validation_rows_are_asked_for_before_training():
    Run.states.clear()
    with pytest.raises(ValueError, match=r"Dense\(\) asks for the loss on validation rows.*Give the net a train_split"):
        collect(Dense())
    assert not Run.states
    with pytest.raises(ValueError, match="the net holds none out. Give the net a train_split"):
        collect(Dense(), train_split=lambda dataset, y=None: (dataset, None), callbacks=[])


def test_each_member_has_a_valley_of_its_own():
    pool = collect(Dense(1, 1, 0.0), 3, **VALIDATING)
    lonely = collect(Dense(1, 1, 0.0), 1, **VALIDATING)
    assert problems.snapshot([pool[0].state]) == problems.snapshot(lonely.states)
    assert len({m.meta["seed"] for m in pool}) == 3


def test_estimators_take_it():
    X, y = ROWS.X, ROWS.y
    net = problems.net(max_epochs=5, train_split=ValidSplit(4))
    one = WeightAveragingClassifier(net, average=Dense(1, 2), random_state=0).fit(X, y)
    collector = Averages(2, average=Dense(1, 2))
    soup = SoupClassifier(net, collect=collector, merge=Uniform(), random_state=0).fit(X, y)
    assert one.predict(X).shape == soup.predict(X).shape == y.shape


@pytest.mark.parametrize("unit", ["step", "epoch"])
@pytest.mark.parametrize("format_", [{"fraction": 5}, {"word_length": 6}, {"block": "row"}], ids=str)
def test_weights_of_a_run_are_of_few_bits_and_their_mean_is_not(unit, format_):
    average = LowPrecision(0.4, unit=unit, **format_)
    (member,) = collect(average, module__norm="batch")
    n_bits = format_.get("word_length", 8)
    for state in Run.states[1:]:  # this callback sees the first one before it is rounded
        for key in ("layers.0.weight", "layers.0.bias"):
            if key in state:
                assert len(state[key].unique()) <= 2**n_bits
                gap = 2.0**-5 if "fraction" in format_ else _gap(state[key], n_bits, format_.get("block") == "row")
                assert torch.equal((state[key] / gap).round() * gap, state[key]), key
    states = Run.states if unit == "step" else Run.states[3::3]
    expected = average.of(states)["layers.0.weight"]
    torch.testing.assert_close(member.state["layers.0.weight"], expected, rtol=1e-5, atol=1e-6)


def _gap(t, n_bits, by_row):
    """The largest power of two over which a block of this word length, with this largest number, cannot be."""
    largest = t.abs().amax(1, keepdim=True) if by_row and t.dim() > 1 else t.abs().max()
    return torch.exp2(torch.ceil(torch.log2(largest.double() / (2 ** (n_bits - 1) - 1))))


def test_constants_and_frozen_weights_are_not_rounded():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(3, int(ROWS.y.max()) + 1)
            self.frozen = torch.nn.Parameter(torch.tensor([0.123, 0.456, 0.789]), requires_grad=False)
            self.register_buffer("shift", torch.tensor([0.3, 0.31, 0.32]))

        def forward(self, X):
            return self.inner((X - self.shift) * self.frozen)

    given = nets.with_module(problems.net(max_epochs=2), Scaled())
    (member,) = Averages(1, average=LowPrecision(0.5, fraction=2)).collect(given, ROWS.X, ROWS.y)
    assert torch.equal(member.state["frozen"], given.module.frozen)
    assert torch.equal(member.state["shift"], given.module.shift)
    assert not torch.equal(member.state["inner.weight"], given.module.inner.weight)


def test_many_bits_give_the_mean():
    (fine,), (mean,) = collect(LowPrecision(0.5, word_length=24)), collect(Mean(0.5))
    for key, value in mean.state.items():
        torch.testing.assert_close(fine.state[key], value, rtol=1e-3, atol=1e-4)


def test_members_do_not_depend_on_processes_and_each_draws_by_its_own_seed():
    one = collect(LowPrecision(0.5, word_length=4), 3, callbacks=[])
    net = problems.net(max_epochs=9, lr=0.2, module__norm=None)
    other = Averages(3, average=LowPrecision(0.5, word_length=4)).collect(net, ROWS.X, ROWS.y, random_state=0, n_jobs=2)
    assert problems.snapshot(one.states) == problems.snapshot(other.states)


def test_a_run_that_is_changed_is_not_vectorized(untouched_rng):
    """Were it vectorized, its weights would not be rounded."""
    net = nets.sized(problems.net(max_epochs=2), ROWS, int(ROWS.y.max()) + 1)
    runs = Averages(4, average=LowPrecision(0.5)).runs(net, ROWS, np.random.RandomState(0))
    with pytest.warns(UserWarning, match="its recorder changes the weights of the run after each step"):
        pool = train(net, ROWS, runs, vectorize=True)
    alone = train(net, ROWS, runs)
    assert problems.snapshot(pool.states) == problems.snapshot(alone.states)
    plain = Seeds(4, vectorize=False).collect(problems.net(max_epochs=2), ROWS.X, ROWS.y, random_state=0)
    assert problems.snapshot(pool.states) != problems.snapshot(plain.states)
