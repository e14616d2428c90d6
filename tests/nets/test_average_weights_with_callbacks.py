"""Averaged weights beside skorch's other callbacks: what is saved, loaded, watched and refused."""

import pickle

import pytest
import torch
from averaging import X, Y, assert_close, fitted, net, seen, state
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    Freezer,
    Initializer,
    LoadInitState,
    LRScheduler,
    TrainEndCheckpoint,
)
from torch import nn

from skfusion import EnsembleClassifier, SoupClassifier, WeightAveragingClassifier
from skfusion.average import EMA, Dense, Mean
from skfusion.collect import HWA, Averages, Seeds, Snapshots
from skfusion.nets import AverageWeights, mlp_classifier

RISING = {"lr": 1.4, "max_epochs": 8, "module__norm": True}
"""A training whose validation loss rises in the end."""


def in_the_second_epoch(net):
    return len(net.history) == 2


def best_epoch(found):
    return min(range(len(found.history)), key=lambda i: found.history[i, "valid_loss"])


def test_a_checkpoint_saves_what_was_validated(tmp_path):
    saved = Checkpoint(dirname=str(tmp_path), f_optimizer=None, f_criterion=None)
    found = fitted(AverageWeights(EMA(0.5)), saved, **RISING)
    best = best_epoch(found)
    assert best < 7
    assert_close(torch.load(tmp_path / "params.pt", weights_only=True), seen(found).ends_[best], rtol=0, atol=0)
    expected = EMA(0.5).of(seen(found).states[: 3 * best + 4])
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert_close(seen(found).ends_[best], expected, skip=statistics, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["stopping", "checkpoint"])
def test_the_best_state_that_is_loaded_is_the_average_of_its_epoch(kind, tmp_path):
    best = {
        "stopping": EarlyStopping(patience=99, load_best=True, sink=lambda _: None),
        "checkpoint": Checkpoint(dirname=str(tmp_path), load_best=True),
    }[kind]
    found = fitted(AverageWeights(EMA(0.5)), best, **RISING)
    assert best_epoch(found) < 7
    assert_close(state(found), seen(found).ends_[best_epoch(found)], rtol=0, atol=0)


def test_stopping_early_leaves_the_average_up_to_there():
    stop = EarlyStopping(patience=2, sink=lambda _: None)
    for callbacks in ([AverageWeights(EMA(0.5)), stop], [stop, AverageWeights(EMA(0.5))]):
        found = fitted(*callbacks, **{**RISING, "max_epochs": 40, "module__norm": False})
        n = len(found.history)
        assert n < 40
        assert_close(state(found), EMA(0.5).of(seen(found).states[: 3 * n + 1]), rtol=1e-5, atol=1e-6)


def test_an_epoch_that_another_callback_ends_counts():
    """Without validation rows a callback that stands before ends the training before the epoch was seen."""
    stop = EarlyStopping(monitor="train_loss", patience=1, threshold=9, sink=lambda _: None)
    averaging = AverageWeights(Mean(1, unit="epoch"))
    found = fitted(stop, averaging, train_split=None)
    assert averaging.n_averaged_ == len(found.history) == 2
    ends = seen(found).after_[3::4]  # four steps an epoch
    assert_close(state(found), Mean(1, unit="epoch").of(ends), rtol=1e-5, atol=1e-6)


def test_a_net_without_validation_rows_saves_the_average_after_each_epoch(tmp_path):
    saved = Checkpoint(monitor=None, dirname=str(tmp_path), f_params="{last_epoch[epoch]}.pt", f_optimizer=None)
    for callbacks in (
        [AverageWeights(EMA(0.5)), saved],
        [("saved", Checkpoint(**saved.get_params())), AverageWeights(EMA(0.5), "raw")],
    ):
        averaged = callbacks[0] is not None and isinstance(callbacks[0], AverageWeights)
        found = fitted(*callbacks, train_split=None)
        for epoch in range(1, 5):
            expected = (
                EMA(0.5).of(seen(found).states[: 4 * epoch + 1]) if averaged else seen(found).after_[4 * epoch - 1]
            )
            kept = torch.load(tmp_path / f"{epoch}.pt", weights_only=True)
            assert_close(kept, expected, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_at_the_end_is_of_the_average(tmp_path):
    for validate in ("averaged", "raw"):
        end = TrainEndCheckpoint(dirname=str(tmp_path))
        found = fitted(AverageWeights(EMA(0.5), validate), end)
        kept = torch.load(tmp_path / "train_end_params.pt", weights_only=True)
        assert_close(kept, state(found), rtol=0, atol=0)


def test_a_plateau_of_the_average_lowers_the_rate():
    found = fitted(
        AverageWeights(EMA(0.5)), LRScheduler("ReduceLROnPlateau", patience=0, monitor="valid_loss"), **RISING
    )
    assert found.optimizer_.param_groups[0]["lr"] < 1.4


def test_a_pickle_from_within_a_training_predicts_by_the_average_and_goes_on_from_the_raw_weights(tmp_path):
    saved = Checkpoint(
        monitor=in_the_second_epoch,
        dirname=str(tmp_path),
        **dict.fromkeys(("f_params", "f_optimizer", "f_criterion", "f_history")),
        f_pickle="net.pkl",
    )
    whole = fitted(AverageWeights(EMA(0.8)), saved)
    half = pickle.loads((tmp_path / "net.pkl").read_bytes())
    assert_close(state(half), seen(whole).ends_[1], rtol=0, atol=0)
    half.set_params(max_epochs=1)
    torch.manual_seed(1)
    half.partial_fit(X, Y)
    assert_close(seen(half).before_[6], seen(whole).after_[5], rtol=0, atol=0)
    assert_close(state(half), EMA(0.8).of(seen(half).states), rtol=1e-5, atol=1e-6)


def test_a_state_from_a_checkpoint_starts_a_new_average(tmp_path):
    saved = Checkpoint(monitor=None, dirname=str(tmp_path))
    first = fitted(AverageWeights(EMA(0.5)), saved)
    again = fitted(LoadInitState(saved), AverageWeights(EMA(0.5)), seed=1)
    assert_close(seen(again).before_[0], state(first), rtol=0, atol=0)
    assert_close(state(again), EMA(0.5).of(seen(again).states), rtol=1e-5, atol=1e-6)


def test_a_parameter_that_is_set_later_is_set_in_the_raw_weights():
    zero = Initializer("layers.0.bias", fn=lambda p: nn.init.constant_(p, 3.0), at=3)
    found = fitted(AverageWeights(EMA(0.5)), zero)
    assert bool((seen(found).before_[6]["layers.0.bias"] == 3).all())
    frozen = fitted(AverageWeights(EMA(0.5)), Freezer("layers.0.*", at=2))
    weights = [s["layers.0.weight"] for s in seen(frozen).states]
    assert torch.equal(weights[3], weights[-1])
    assert not torch.equal(weights[2], weights[3])


class ChangesWeights(Callback):
    def __init__(self, event):
        self.event = event

    def notify(self, net):
        if len(net.history) == 2:
            with torch.no_grad():
                next(net.module_.parameters()).zero_()

    def on_epoch_begin(self, net, **_):
        if self.event == "begin":
            self.notify(net)

    def on_epoch_end(self, net, **_):
        if self.event == "end":
            self.notify(net)


@pytest.mark.parametrize("max_epochs", [2, 4])
def test_a_change_of_the_weights_while_the_average_is_in_their_place_is_refused(max_epochs):
    with pytest.raises(ValueError, match="A callback has changed the weights of the net after an epoch"):
        fitted(AverageWeights(EMA(0.5)), ChangesWeights("end"), max_epochs=max_epochs)
    with pytest.raises(ValueError, match="A callback has changed the weights of the net after an epoch"):
        fitted(ChangesWeights("begin"), AverageWeights(EMA(0.5)), max_epochs=max_epochs)
    found = fitted(AverageWeights(EMA(0.5)), ChangesWeights("begin"))
    assert not bool(seen(found).before_[3]["layers.0.weight"].any())
    fitted(AverageWeights(EMA(0.5), "raw"), ChangesWeights("end"))


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        ([EarlyStopping(load_best=True), AverageWeights(EMA())], "Put AverageWeights before 'EarlyStopping'"),
        ([Checkpoint(load_best=True), AverageWeights(EMA())], "Put AverageWeights before 'Checkpoint'"),
        ([TrainEndCheckpoint(), AverageWeights(EMA())], "Put AverageWeights before 'TrainEndCheckpoint'"),
        ([Initializer("*"), AverageWeights(EMA())], "Put AverageWeights before 'Initializer'"),
        (
            [AverageWeights(EMA(), "raw"), EarlyStopping(load_best=True)],
            "'EarlyStopping' has load_best=True, and would",
        ),
        ([AverageWeights(Dense()), EarlyStopping(load_best=True)], "'EarlyStopping' has load_best=True, and would put"),
        ([AverageWeights(EMA()), AverageWeights(Mean())], "two AverageWeights, and its module can hold one average"),
        ([AverageWeights(EMA())] * 2, "two AverageWeights, and its module can hold one average"),
        ([AverageWeights(EMA(), "average")], "validate must be 'averaged', 'raw' or None; got 'average'"),
        ([AverageWeights(Dense(), "averaged")], r"Dense\(\) asks for the loss of the raw weights: give validate='raw'"),
        ([AverageWeights(EMA(1.0))], "decay must be at least 0 and below 1"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_cannot_be_is_refused_before_training(callbacks, message):
    with pytest.raises(ValueError, match=message):
        net(*callbacks).fit(X, Y)


def test_what_is_no_average_and_missing_validation_rows_are_refused():
    with pytest.raises(
        TypeError, match=r"average must be an average of skfusion.average, such as EMA\(0.999\); got 0.9"
    ):
        net(AverageWeights(0.9)).fit(X, Y)
    for split in (None, lambda dataset, y=None: (dataset, None)):
        with pytest.raises(
            ValueError, match=r"Dense\(\) asks for the loss on validation rows.*Give the net a train_split"
        ):
            net(AverageWeights(Dense()), train_split=split).fit(X, Y)


def test_a_net_of_several_modules_is_refused():
    made = net(AverageWeights(EMA()))

    class Two(type(made)):
        def initialize_module(self):
            super().initialize_module()
            self.other_ = nn.Linear(4, 1)
            return self

    with pytest.raises(ValueError, match="averages the net's module_, and Two has"):
        Two(**made.get_params(deep=False)).fit(X, Y)


def classifier(*callbacks, **params):
    return mlp_classifier(module__hidden=(6,), max_epochs=4, batch_size=16, callbacks=[*callbacks], **params)


LABELS = (Y[:, 0] > 0).astype(int)


def test_members_of_an_ensemble_are_averages():
    given = classifier(AverageWeights(EMA(0.5)), module__norm="batch")
    ensemble = EnsembleClassifier(given, collect=Seeds(5, vectorize=False), random_state=0).fit(X, LABELS)
    wanted = EnsembleClassifier(
        classifier(module__norm="batch"), collect=Averages(5, average=EMA(0.5)), random_state=0
    ).fit(X, LABELS)
    for one, other in zip(ensemble.pool_, wanted.pool_, strict=True):
        assert_close(one.state, other.state, rtol=1e-4, atol=1e-5)
    assert not hasattr(given.callbacks[0], "running_")  # the given net is not fitted


def test_sample_weights_count_in_the_statistics():
    weight = torch.rand(len(X), generator=torch.Generator().manual_seed(0)).double().numpy() + 0.2
    given = classifier(AverageWeights(EMA(0.5)), module__norm="batch")
    one = EnsembleClassifier(given, collect=Seeds(1), random_state=0).fit(X, LABELS, sample_weight=weight)
    plain = classifier(module__norm="batch")
    other = EnsembleClassifier(plain, collect=Averages(1, average=EMA(0.5)), random_state=0)
    other.fit(X, LABELS, sample_weight=weight)
    assert_close(one.pool_[0].state, other.pool_[0].state, rtol=1e-4, atol=1e-5)


def test_it_is_not_vectorized_and_says_why():
    given = classifier(AverageWeights(EMA(0.5)))
    with pytest.warns(UserWarning, match="the callback AverageWeights acts in on_batch_begin"):
        EnsembleClassifier(given, collect=Seeds(4, vectorize=True), random_state=0).fit(X, LABELS)


@pytest.mark.parametrize(
    "make",
    [
        lambda net: EnsembleClassifier(net, collect=Averages(2)),
        lambda net: SoupClassifier(net, collect=Snapshots(2)),
        lambda net: SoupClassifier(net, collect=HWA()),
        lambda net: WeightAveragingClassifier(net),
    ],
    ids=["averages", "snapshots", "workers", "tail"],
)
def test_collectors_that_keep_states_of_a_run_are_refused(make):
    with pytest.raises(ValueError, match="the collector keeps states while it goes, by"):
        make(classifier(AverageWeights(EMA(0.5)))).fit(X, LABELS)
