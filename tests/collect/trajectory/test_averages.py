"""Independent runs, each of which is averaged over its steps."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recording import ROWS
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping
from torch import nn

from skfusion import nets
from skfusion._rows import Rows
from skfusion.average import EMA, Latest, Mean, PowerEMA
from skfusion.collect import Averages, Seeds
from skfusion.collect._recorders import Averaged
from skfusion.collect.trajectory import _averages
from skfusion.repair import Recalibrate
from skfusion.testing import _problems as problems

STATISTICS = ("running_mean", "running_var")


class EveryStep(Callback):
    """Writes down the state at the start and after each step."""

    states: list = []  # noqa: RUF012

    def on_train_begin(self, net, **_):
        self.states[:] = [nets.state_of(net)]

    def on_batch_end(self, net, training=False, **_):
        if training:
            self.states.append(nets.state_of(net))


def collect(collector, *callbacks, seed=0, n_jobs=None, sample_weight=None, **params):
    found = [(f"own-{i}", c) for i, c in enumerate((EveryStep(), *callbacks))]
    net = problems.net(**{"callbacks": found, "max_epochs": 4, "lr": 0.05, **params})
    return collector.collect(net, ROWS.X, ROWS.y, random_state=seed, n_jobs=n_jobs, sample_weight=sample_weight)


def mean(states, key):
    return torch.stack([s[key].double() for s in states]).mean(0)


@pytest.mark.parametrize(
    ("start", "first"), [(1, 0), (2, 1), (5, 4), (11, 10), (0.0, 0), (0.5, 6), (0.75, 9), (0.8, 9)], ids=str
)
def test_a_member_is_the_mean_of_the_states_from_just_before_the_step_on(start, first):
    (member,) = collect(Averages(1, start))
    states = EveryStep.states[first:]  # of four epochs of three steps, and the start
    assert len(EveryStep.states) == 13
    assert member.meta["n_averaged"] == len(states) == 13 - first
    for key, value in member.state.items():
        if key.endswith(STATISTICS):
            continue
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), mean(states, key), rtol=1e-6, atol=1e-7)
        else:
            assert torch.equal(value, states[-1][key])
    assert int(member.state["layers.1.num_batches_tracked"]) == 12
    assert not torch.equal(member.state["layers.1.running_mean"], states[-1]["layers.1.running_mean"])


@pytest.mark.parametrize("weighted", [False, True])
def test_statistics_are_those_of_the_mean(weighted):
    weight = np.random.RandomState(1).uniform(0.2, 1.8, len(ROWS.y)) if weighted else None
    (member,) = collect(Averages(1), sample_weight=weight)
    states = EveryStep.states[6:]
    averaged = {k: mean(states, k).float() if v.is_floating_point() else v for k, v in states[-1].items()}
    rows = Rows(ROWS.X, ROWS.y, weight)
    data = nets.Judge(nets.Runner(member.net, "classification"), rows, rows)
    expected = Recalibrate()(averaged, [], data)
    for key, value in member.state.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(member.state["layers.1.running_var"], averaged["layers.1.running_var"], rtol=1e-2)


def test_statistics_of_the_mean_predict_better_than_the_mean_of_statistics():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    X, X_test, y, y_test = train_test_split(X, y, test_size=800, random_state=0)
    hidden = [nn.Sequential(nn.Linear(n, 32), nn.BatchNorm1d(32), nn.ReLU()) for n in (64, 32)]
    params = {"lr": 0.05, "max_epochs": 10, "batch_size": 64, "train_split": None, "verbose": 0}
    net = NeuralNetClassifier(
        nn.Sequential(*hidden, nn.Linear(32, 10)), criterion=nn.CrossEntropyLoss, callbacks=[EveryStep()], **params
    )
    (member,) = Averages(1, 0.0).collect(net, X, y, random_state=0)
    averages = {k: mean(EveryStep.states, k).float() for k in member.state if k.endswith(STATISTICS)}
    as_published = {**member.state, **averages}
    runner = nets.Runner(member.net, "classification")
    ours, theirs = (log_loss(y_test, runner.predict(s, X_test)) for s in (member.state, as_published))
    assert ours < 0.8 * theirs


def test_nets_without_statistics_are_averaged_and_nothing_else(monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(_averages, "Recalibrate", refuse)
    (member,) = collect(Averages(1), module__norm=None)
    for key, value in member.state.items():
        torch.testing.assert_close(value.double(), mean(EveryStep.states[6:], key), rtol=1e-6, atol=1e-7)


def test_the_mean_takes_the_place_of_a_best_state_that_is_loaded():
    first = EarlyStopping(monitor="train_loss", lower_is_better=False, patience=9, load_best=True)
    (plain,), (member,), (loaded,) = collect(Averages(1)), collect(Averages(1), first), collect(Seeds(1), first)
    assert int(loaded.state["layers.1.num_batches_tracked"]) < 12
    for key, value in plain.state.items():
        if value.is_floating_point():
            assert torch.equal(value, member.state[key]), key


def published(states, start):
    """The average of a run's states as the code of Arpit et al. keeps it: of those after steps 1, 2, ..."""
    average, count = copy.deepcopy(states[0]), 0
    for step, state in enumerate(states[1:], 1):
        if step >= start:
            count += 1
        for key, value in state.items():
            if "num_batches_tracked" not in key:
                average[key] = (average[key] * count + value) / (1 + count) if step >= start else value.clone()
    return average


@pytest.mark.parametrize("start", [1, 4, 12])
def test_the_mean_is_that_of_the_published_code(start):
    (member,) = collect(Averages(1, start))
    for key, value in published(EveryStep.states, start).items():
        if not key.endswith(("num_batches_tracked", *STATISTICS)):
            torch.testing.assert_close(member.state[key], value, rtol=1e-5, atol=1e-6)


def test_beyond_the_end_members_are_those_of_seeds():
    seeds = collect(Seeds(3, vectorize=False))
    whole = collect(Averages(3, 1.0))
    with pytest.warns(UserWarning, match="3 of 3 runs were too short, of which 'average-0' is the first.*=13"):
        beyond = collect(Averages(3, 13))
    for pool in (whole, beyond):
        assert problems.snapshot(pool.states) == problems.snapshot(seeds.states)
        assert pool.names == ["average-0", "average-1", "average-2"]
        assert [m.meta["n_averaged"] for m in pool] == [1, 1, 1]
        assert [m.meta["seed"] for m in pool] == [m.meta["seed"] for m in seeds]


def test_the_runs_are_those_of_seeds():
    for one, other in zip(collect(Averages(2)), collect(Seeds(2, vectorize=False)), strict=True):
        assert [h["train_loss"] for h in one.meta["history"]] == [h["train_loss"] for h in other.meta["history"]]
        assert one.meta["epoch"] == 4


def test_the_mean_of_what_stays_is_what_stays():
    moving = collect(Averages(1, 1), lr=0.0, module__norm=None)
    last = EveryStep.states[-1]
    assert problems.snapshot([last]) == problems.snapshot(moving.states)


def test_members_do_not_depend_on_processes_nor_on_what_is_drawn_elsewhere():
    one, two = (collect(Averages(3), n_jobs=n) for n in (None, 2))
    assert problems.snapshot(one.states) == problems.snapshot(two.states)
    assert problems.snapshot(one.states) != problems.snapshot(collect(Averages(3), seed=1).states)


def test_tied_tensors_stay_tied_and_constants_stay_what_they_are():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = self.second = nn.Linear(3, 3)
            self.register_buffer("mask", torch.tensor([0.0, -torch.inf, 0.1]))
            self.register_buffer("order", torch.tensor([2, 0, 1]))

        def forward(self, X):
            return self.second(torch.relu(self.first(X[:, self.order])))[:, : ROWS.y.max() + 1]

    given = nets.with_module(problems.net(max_epochs=2), Tied())
    with torch.no_grad():
        given.module.mask[1] = 5.0
    (member,) = Averages(1).collect(given, ROWS.X, ROWS.y, random_state=0)
    state = member.state
    assert state["first.weight"].data_ptr() == state["second.weight"].data_ptr()
    assert torch.equal(state["mask"], given.module.mask)
    assert torch.equal(state["order"], given.module.order)


def test_half_precision_is_averaged_in_double_precision():
    module, recorder = nn.Linear(2, 1, bias=False).bfloat16(), Averaged(Mean(1))
    with torch.no_grad():
        for step in range(1001):
            module.weight.copy_(torch.tensor([[1.0, 64.0]]) + step % 2)
            recorder.after_step(step, 1000, module.state_dict())
    (member,) = recorder.members("a", SimpleNamespace(module_=module, history=[]))
    exact = torch.tensor([[1 + 500 / 1001, 64 + 500 / 1001]], dtype=torch.float64).bfloat16()
    assert torch.equal(member.state["weight"], exact)
    assert member.meta["n_averaged"] == 1001


def test_a_run_that_ends_in_its_burn_in_warns():
    stop = EarlyStopping(monitor="train_loss", patience=1, threshold=10)
    with pytest.warns(UserWarning, match=r"2 of 2 runs were too short.*burn_in=0.9 .* at step 109, .* after 6 steps"):
        pool = collect(Averages(2, 0.9), stop, max_epochs=40)
    assert all(len(m.meta["history"]) < 5 for m in pool)


@pytest.mark.parametrize("burn_in", [-0.1, 1.1, 0, -3, True, None, float("nan"), "0.5"], ids=str)
def test_a_wrong_burn_in_is_refused(burn_in):
    with pytest.raises(ValueError, match="burn_in is a share of the steps, a float between 0 and 1, or a step, an int"):
        collect(Averages(2, burn_in))


def test_no_members_are_refused():
    with pytest.raises(ValueError, match="n_members must be at least 1"):
        collect(Averages(0))


@pytest.mark.parametrize(
    "average",
    [
        EMA(0.8),
        EMA(0.9, every=3, warm_up=True),
        EMA(0.5, unit="epoch", bias_correction=False),
        Latest(2),
        Latest(4, every=2, unit="step"),
        Mean(0.5, unit="epoch"),
        Mean(2, every=3),
        PowerEMA(0.2),
    ],
    ids=repr,
)
def test_a_member_is_the_average_of_the_stored_run(average):
    (member,) = collect(Averages(1, average=average), module__norm=None)
    states = EveryStep.states if average.unit == "step" else EveryStep.states[3::3]  # four epochs of three steps
    stored = average.of(states)
    for key, value in member.state.items():
        torch.testing.assert_close(value, stored[key], rtol=1e-6, atol=1e-7)
    assert member.meta["n_averaged"] == sum(w > 0 for w in average.coefficients(len(states)))


def test_an_average_leaves_the_run_alone():
    for average in (EMA(0.5), Latest(2), Mean(0.5, unit="epoch")):
        (one,), (other,) = collect(Averages(1, average=average)), collect(Seeds(1, vectorize=False))
        assert [h["train_loss"] for h in one.meta["history"]] == [h["train_loss"] for h in other.meta["history"]]


@pytest.mark.parametrize(
    ("average", "numbers"),
    [
        (EMA(0.99), "last 100 states, and there were 12"),
        (Latest(9), "9 states, and there were 4"),
        (PowerEMA(every=50), "every=50"),
    ],
    ids=repr,
)
def test_a_run_that_is_too_short_for_its_average_says_so(average, numbers):
    with pytest.warns(UserWarning, match=f"2 of 2 runs were too short, of which 'average-0' is the first.*{numbers}"):
        collect(Averages(2, average=average))


def test_wrong_averages_are_refused_before_training():
    with pytest.raises(ValueError, match=r"burn_in=0.3 is that of the mean, and average=EMA\(\) takes its place"):
        collect(Averages(2, 0.3, EMA()))
    with pytest.raises(
        TypeError, match=r"average must be an average of skfusion.average, such as EMA\(0.999\); got 'ema'"
    ):
        collect(Averages(2, average="ema"))
    with pytest.raises(ValueError, match="decay must be at least 0 and below 1; got 1.0"):
        collect(Averages(2, average=EMA(1.0)))
