"""A callback for skorch that leaves the average of a run in the module."""

import numpy as np
import pytest
import torch
from averaging import LABELS, Perceptron, X, Y, assert_close, fitted, net, seen, state
from skorch.callbacks import Callback, EpochScoring, GradientNormClipping, LRScheduler
from skorch.dataset import ValidSplit
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torch.utils.data import Subset

from skfusion.average import EMA, Dense, Latest, LowPrecision, Mean, PowerEMA
from skfusion.nets import AverageWeights, _average_weights
from skfusion.nets._training_data import with_own_statistics
from skfusion.objective import Batch, ModuleObjective
from skfusion.repair import Recalibrate

STATISTICS = ("running_mean", "running_var")
AVERAGES = [EMA(0.8), Mean(0.5), Mean(2, unit="epoch"), Latest(2), Latest(3, unit="step"), PowerEMA(0.2)]
"""Averages that leave the run as it is."""


def training_rows(a_net):
    """The rows that a net with ``ValidSplit(4)`` is trained on, and those that it validates on."""
    dataset = a_net.get_dataset(X, Y)
    train, valid = a_net.get_split_datasets(X, Y)
    assert isinstance(train, Subset)
    return torch.from_numpy(dataset.X[train.indices]), torch.from_numpy(dataset.X[valid.indices])


@pytest.mark.parametrize("average", AVERAGES, ids=repr)
def test_the_module_is_left_with_the_average_of_the_run(average):
    callback = AverageWeights(average)
    found = fitted(callback)
    run = seen(found)
    states = run.states if average.unit == "step" else run.after_[2::3]  # 43 rows, three steps an epoch
    assert_close(state(found), average.of(states), rtol=1e-6, atol=1e-7)
    assert callback.n_averaged_ == sum(w > 0 for w in average.coefficients(len(states)))
    assert_close(callback.raw_, run.after_[-1], rtol=0, atol=0)


@pytest.mark.parametrize("validate", ["averaged", "raw"])
@pytest.mark.parametrize("average", AVERAGES, ids=repr)
def test_the_optimiser_never_sees_the_average(average, validate):
    plain = fitted(module__norm=True, module__dropout=0.3)
    averaged = fitted(AverageWeights(average, validate), module__norm=True, module__dropout=0.3)
    for one, other in zip(seen(plain).states, seen(averaged).states, strict=True):
        assert_close(other, one, rtol=0, atol=0)
    for one, other in zip(plain.history[:, "train_loss"], averaged.history[:, "train_loss"], strict=True):
        assert one == other
    assert averaged.optimizer_.param_groups[0]["params"][0] is next(averaged.module_.parameters())


def test_validation_sees_the_average_and_the_last_loss_is_that_of_the_result():
    found = fitted(AverageWeights(EMA(0.7)))
    run = seen(found)
    for epoch, validated in enumerate(run.validated_):
        assert_close(validated, EMA(0.7).of(run.states[: 3 * epoch + 4]), rtol=1e-6, atol=1e-7)
    assert_close(run.ends_[-1], state(found), rtol=0, atol=0)
    _, held_out = training_rows(found)
    _, valid = found.get_split_datasets(X, Y)
    with torch.no_grad():
        loss = nn.functional.mse_loss(found.module_(held_out), torch.from_numpy(Y[valid.indices]))
    assert found.history[-1, "valid_loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_raw_weights_are_validated_when_asked_for_and_while_there_is_no_average():
    raw, late = fitted(AverageWeights(EMA(0.7), "raw")), fitted(AverageWeights(Mean(0.6)))
    plain = fitted()
    assert raw.history[:, "valid_loss"] == plain.history[:, "valid_loss"]
    assert late.history[:2, "valid_loss"] == plain.history[:2, "valid_loss"]  # it begins in the third epoch of four
    assert late.history[2:, "valid_loss"] != plain.history[2:, "valid_loss"]
    assert_close(state(raw), state(fitted(AverageWeights(EMA(0.7)))), rtol=1e-6, atol=1e-7)


def test_scores_of_an_epoch_are_those_of_the_average_with_and_without_cached_predictions():
    scores = [
        (name, EpochScoring("neg_mean_squared_error", name=name, use_caching=cached, lower_is_better=False))
        for name, cached in (("cached", True), ("fresh", False))
    ]
    for callbacks in ([AverageWeights(EMA(0.7)), *scores], [*scores, AverageWeights(EMA(0.7))]):
        found = fitted(*callbacks)
        for row in found.history:
            assert row["cached"] == pytest.approx(-row["valid_loss"], rel=1e-5)
            assert row["fresh"] == pytest.approx(-row["valid_loss"], rel=1e-5)


def in_loop(make):
    """A callback that lets torch's own averaged model see the net after each step."""

    class Averaging(Callback):
        def on_train_begin(self, net, **_):
            self.model_ = AveragedModel(net.module_, **make)

        def on_batch_end(self, net, training=False, **_):
            if training:
                self.model_.update_parameters(net.module_)

    return Averaging()


@pytest.mark.parametrize(
    ("average", "options"),
    [
        (Mean(2), {}),  # from the state after the first step on
        (EMA(0.8, bias_correction=False), {"multi_avg_fn": get_ema_multi_avg_fn(0.8)}),
    ],
    ids=["swa", "ema"],
)
def test_it_is_the_average_of_torch(average, options):
    theirs = in_loop(options)
    found = fitted(theirs, AverageWeights(average))
    expected = theirs.model_.module.state_dict()
    assert_close(state(found), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_size", [5, 16, 43])
def test_statistics_are_exact_whatever_the_batches(batch_size):
    found = fitted(AverageWeights(Mean(0.5)), module__norm=True, iterator_valid__batch_size=batch_size)
    x, _ = training_rows(found)
    first, norm = found.module_.layers[0], found.module_.layers[1]
    with torch.no_grad():
        inside = first(x).double()
    torch.testing.assert_close(norm.running_mean.double(), inside.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norm.running_var.double(), inside.var(0), rtol=1e-5, atol=1e-6)
    assert int(norm.num_batches_tracked) == 12  # that of the run


def test_statistics_of_several_layers_are_those_of_the_repairer():
    class Deep(nn.Sequential):
        def __init__(self):
            super().__init__(
                *(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 5), nn.BatchNorm1d(5), nn.ReLU()),
                *(nn.Dropout(0.5), nn.Linear(5, 1)),
            )

    found = fitted(AverageWeights(Mean(0.5)), module=Deep)
    x, _ = training_rows(found)
    data = ModuleObjective(found.module_, lambda: [Batch(x, x)])
    expected = Recalibrate()(Mean(0.5).of(seen(found).states), [], data)
    assert_close(state(found), expected, skip="num_batches_tracked", rtol=1e-5, atol=1e-5)


def test_statistics_by_torch_are_wrong_on_unequal_batches():
    """Of 96 zeros and 4 ones in two batches torch's mean is 0.5; that of the callback, on the same data, is 0.04."""
    x = np.concatenate([np.zeros((96, 1)), np.ones((4, 1))]).astype(np.float32)
    batches = {"batch_size": 96, "iterator_train__shuffle": False, "train_split": None, "lr": 0.0}
    found = net(AverageWeights(Mean(0.0)), module=lambda: nn.BatchNorm1d(1), **batches).fit(x, x)
    assert found.module_.running_mean.item() == pytest.approx(0.04)
    theirs = AveragedModel(nn.BatchNorm1d(1))
    update_bn([torch.from_numpy(x[:96]), torch.from_numpy(x[96:])], theirs)
    assert theirs.module.running_mean.item() == pytest.approx(0.5)


def test_statistics_belong_to_the_average_whenever_it_is_validated():
    found = fitted(AverageWeights(EMA(0.9)), module__norm=True)
    x, _ = training_rows(found)
    for validated in seen(found).validated_:
        with torch.no_grad():
            inside = nn.functional.linear(x, validated["layers.0.weight"], validated["layers.0.bias"])
        torch.testing.assert_close(validated["layers.1.running_mean"], inside.mean(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(validated["layers.1.running_var"], inside.var(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("params", "n"), [({}, 5), ({"train_split": None}, 1)], ids=["validating", "not"])
def test_statistics_are_estimated_when_somebody_looks(params, n, monkeypatch):
    calls = []

    def counted(net, dataset, state, visited, n_passes):
        calls.append(n_passes)
        return with_own_statistics(net, dataset, state, visited, n_passes=n_passes)

    monkeypatch.setattr(_average_weights, "with_own_statistics", counted)
    net(AverageWeights(EMA(0.5)), module__norm=True, **params).fit(X, Y)
    assert calls == [1] * (n - 1) + [None]  # after each epoch in one pass, and exactly in the end


class Stream(torch.utils.data.IterableDataset):
    """Rows that come once."""

    def __init__(self, X, y=None, length=None):
        self.rows = iter([*zip(X, y, strict=True)] * 4)  # all epochs

    def __iter__(self):
        for _ in range(48):
            yield next(self.rows)


def test_statistics_of_data_that_come_once_are_averaged_and_this_is_said():
    callback = AverageWeights(EMA(0.8))
    made = net(callback, ("seen", seen(fitted())), module__norm=True, train_split=None)
    with pytest.warns(UserWarning, match="cannot be run again: the dataset is a stream"):
        made.fit(Stream(X[:48], Y[:48]), None)
    averaged = EMA(0.8).of(seen(made).states)
    assert_close(state(made), averaged, skip="num_batches_tracked", rtol=1e-5, atol=1e-6)
    assert callback.n_averaged_ == 12


def test_a_share_of_a_training_without_length_is_refused():
    with pytest.raises(ValueError, match=r"Mean\(\) begins after a share of the steps, and how many there are"):
        net(AverageWeights(Mean()), train_split=None).fit(Stream(X[:48], Y[:48]), None)
    found = net(AverageWeights(Mean(3)), train_split=None).fit(Stream(X[:48], Y[:48]), None)
    assert dict(found.callbacks_)["AverageWeights"].n_averaged_ == 11


def test_the_global_generators_are_left_alone():
    def draws(*callbacks):
        np.random.seed(3)  # noqa: NPY002
        fitted(*callbacks, module__norm=True)
        return torch.rand(3), np.random.rand(3)  # noqa: NPY002

    for one, other in zip(draws(), draws(AverageWeights(EMA(0.8))), strict=True):
        np.testing.assert_array_equal(one, other)


def test_rates_clipping_and_classes_are_as_ever():
    rates = [LRScheduler("StepLR", step_size=1, gamma=0.5), GradientNormClipping(0.1)]
    plain = fitted(*rates, classifier=True, train_split=ValidSplit(4, stratified=True))
    found = fitted(
        AverageWeights(Mean(0.5)), *rates, classifier=True, train_split=ValidSplit(4, stratified=True), seed=0
    )
    assert [row["event_lr"] for row in found.history] == [row["event_lr"] for row in plain.history]
    for one, other in zip(seen(plain).states, seen(found).states, strict=True):
        assert_close(other, one, rtol=0, atol=0)
    assert found.predict_proba(X).shape == (len(LABELS), 2)
    assert_close(state(found), Mean(0.5).of(seen(found).states), rtol=1e-5, atol=1e-6)


class Odd(nn.Module):
    """A module with tied tensors, a frozen one, a mask with infinity, a counter and something that is no tensor."""

    def __init__(self):
        super().__init__()
        self.first = self.second = nn.Linear(4, 4)
        self.head = nn.Linear(4, 1)
        self.frozen = nn.Parameter(torch.tensor([0.1, 0.7, -0.3, 0.9]), requires_grad=False)
        self.places = nn.Parameter(torch.tensor([3, 1, 0, 2]), requires_grad=False)
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
        self.register_buffer("order", torch.tensor([3, 1, 0, 2]))
        self.register_buffer("count", torch.tensor(0))

    def get_extra_state(self):
        return {"version": 2}

    def set_extra_state(self, state):
        pass

    def forward(self, X):
        if self.training:
            self.count += 1
        return self.head(self.second(torch.tanh(self.first(X[:, self.order] * self.frozen))))


@pytest.mark.parametrize("average", [EMA(0.8), Mean(0.5), Latest(2)], ids=repr)
def test_tied_frozen_and_integer_tensors(average):
    found = fitted(AverageWeights(average), module=Odd)
    module, last = found.module_, seen(found).after_[-1]
    assert module.first.weight is module.second.weight
    for key in ("frozen", "places", "mask", "order", "count"):
        torch.testing.assert_close(getattr(module, key), last[key], rtol=1e-6, atol=0)
    assert int(module.count) == 12
    assert not torch.equal(module.first.weight, last["first.weight"])


def test_a_module_that_writes_to_a_buffer_while_it_validates():
    class Noting(Perceptron):
        def __init__(self):
            super().__init__()
            self.register_buffer("last", torch.zeros(1))

        def forward(self, X):
            self.last.copy_(X.detach().mean())
            return super().forward(X)

    found = fitted(AverageWeights(EMA(0.8)), module=Noting)
    for key in ("layers.0.weight", "layers.3.bias"):
        torch.testing.assert_close(state(found)[key], EMA(0.8).of(seen(found).states)[key], rtol=1e-5, atol=1e-6)


def test_weights_of_few_bits_change_the_run_and_are_averaged():
    callback = AverageWeights(LowPrecision(0.5, fraction=4))
    torch.manual_seed(0)
    found = fitted(callback, module__norm=True)
    run = seen(found)
    for values in run.before_:
        for key, t in values.items():
            if not key.endswith((*STATISTICS, "num_batches_tracked")):
                assert torch.equal(t * 16, (t * 16).round()), key
    assert bool((run.before_[-1]["layers.1.running_var"] * 16 % 1 != 0).any())
    weight = state(found)["layers.0.weight"]
    assert bool((weight * 16 % 1 != 0).any())
    # The last state is rounded after this callback has written it down, so the mean is that of the steps' beginnings.
    states = [*run.before_[6:], callback.raw_]
    torch.testing.assert_close(weight, torch.stack([s["layers.0.weight"] for s in states]).mean(0))
    assert_close(state(fitted(AverageWeights(LowPrecision(0.5, fraction=4)), module__norm=True)), state(found))


def test_an_average_that_asks_for_losses_is_given_those_of_the_raw_weights():
    average = Dense(1, 2, 0.0)
    found = fitted(AverageWeights(average), max_epochs=9, lr=0.6)
    losses = found.history[:, "valid_loss"]
    assert losses == fitted(max_epochs=9, lr=0.6).history[:, "valid_loss"]
    assert_close(state(found), average.of(seen(found).states, losses), rtol=1e-5, atol=1e-6)


def test_a_training_that_is_too_short_says_so_and_keeps_its_last_state():
    made = net(AverageWeights(Mean(50)), ("seen", seen(fitted())))
    with pytest.warns(UserWarning, match=r"Nothing was averaged: .* at step 50, .* after 12 steps"):
        made.fit(X, Y)
    assert_close(state(made), seen(made).after_[-1], rtol=0, atol=0)
    with pytest.warns(UserWarning, match=r"found no start in 3 epochs"):
        net(AverageWeights(Dense(4)), max_epochs=3).fit(X, Y)


def test_a_net_on_a_compiled_module():
    class Compiled(nn.Module):
        """What ``torch.compile`` returns, as far as names go."""

        def __init__(self):
            super().__init__()
            self._orig_mod = Perceptron(norm=True)

        def forward(self, X):
            return self._orig_mod(X)

    found, plain = (
        fitted(AverageWeights(EMA(0.8)), module=Compiled),
        fitted(AverageWeights(EMA(0.8)), module__norm=True),
    )
    assert_close({k.removeprefix("_orig_mod."): v for k, v in state(found).items()}, state(plain), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_precisions(dtype):
    class Precise(Perceptron):
        def __init__(self):
            super().__init__()
            self.to(dtype)

        def forward(self, X):
            return super().forward(X.to(dtype)).float()

    found = fitted(AverageWeights(Mean(0.5)), module=Precise)
    states = seen(found).states[6:]
    exact = torch.stack([s["layers.0.weight"].double() for s in states]).mean(0)
    off = (found.module_.layers[0].weight.double() - exact).abs()
    eps = max(torch.finfo(dtype).eps, 1e-14)
    assert bool((off <= eps * exact.abs()).all())  # as near as the dtype comes
