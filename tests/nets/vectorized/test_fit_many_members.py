"""Members of one vectorized training: callbacks and parameters of each, and no influence on each other."""

from functools import partial

import numpy as np
import pytest
import torch
from looped import (
    CLASSES,
    Job,
    X,
    check_same,
    check_same_history,
    check_same_state,
    classifier,
    jobs_of,
    looped,
    made_of,
    same_bits,
    states,
    vectorized,
)
from skorch import NeuralNetRegressor
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, GradientNormClipping, LRScheduler
from skorch.dataset import ValidSplit
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from skfusion import nets
from skfusion._rows import Rows
from skfusion._vectorized import NotVectorizableError
from skfusion.nets import DivergedError

R = nn.ReLU
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
ADAM = {"optimizer": torch.optim.AdamW, "lr": 0.01}
MOMENTUM = {"optimizer__momentum": 0.9}


# ---- callbacks ---------------------------------------------------------------------------------------------------

CALLBACKS = {
    "scheduler of epochs": [LRScheduler("StepLR", step_size=1, gamma=0.5)],
    "scheduler of batches": [LRScheduler("StepLR", step_size=3, gamma=0.5, step_every="batch")],
    "one cycle": [LRScheduler(OneCycleLR, max_lr=0.2, total_steps=12, step_every="batch", cycle_momentum=True)],
    "plateau": [LRScheduler(ReduceLROnPlateau, monitor="valid_loss", patience=0, threshold=0.1)],
    "clipping": [GradientNormClipping(0.05)],
    "clipping by the largest": [GradientNormClipping(0.01, "inf")],
    "score": [EpochScoring("f1_macro", lower_is_better=False, name="f1")],
    "score without cache": [EpochScoring("f1_macro", lower_is_better=False, name="f1", use_caching=False)],
    "score in training": [EpochScoring("accuracy", lower_is_better=False, on_train=True, use_caching=False)],
}


@DTYPES
@pytest.mark.parametrize("callbacks", CALLBACKS.values(), ids=CALLBACKS)
def test_callbacks(callbacks, dtype):
    net = classifier(R, partial(nn.Dropout, 0.2), module__dtype=dtype, callbacks=callbacks, **MOMENTUM)
    check_same(net.set_params(train_split=ValidSplit(4)), jobs_of(), dtype=dtype)


@DTYPES
def test_a_schedule_of_the_collector(dtype):
    asked = []

    def schedule(step, steps_per_epoch):
        asked.append((step, steps_per_epoch))
        return 1 / (1 + step)

    net = classifier(R, module__dtype=dtype, train_split=ValidSplit(2), **MOMENTUM)  # 26 rows: two batches
    jobs = jobs_of(schedule=schedule)
    check_same(net, jobs, dtype=dtype)
    asked.clear()
    vectorized(net, jobs[:1])
    assert asked == [(i, 2) for i in range(6)]


EARLY = {"max_epochs": 40, "lr": 0.4, "train_split": ValidSplit(3), **MOMENTUM}


@DTYPES
@pytest.mark.parametrize("load_best", [True, False])
def test_members_stop_at_epochs_of_their_own(load_best, dtype):
    stopping = EarlyStopping(patience=3, load_best=load_best)
    net = classifier(R, partial(nn.Dropout, 0.2), module__dtype=dtype, callbacks=[stopping], **EARLY)
    one, many = looped(net, jobs_of(n=5)), vectorized(net, jobs_of(n=5))
    lengths = {len(fitted.history) for fitted in one}
    assert len(lengths) > 1 and max(lengths) < 40  # noqa: PT018
    tolerance = 1e-4 if dtype == torch.float32 else 1e-9  # a rate of 0.4 with momentum triples errors in some epochs
    for a, b in zip(one, many, strict=True):
        check_same_state(a.module_.state_dict(), b.module_.state_dict(), tolerance)
        check_same_history(nets.history_of(a), nets.history_of(b), tolerance)


def test_a_member_that_has_stopped_no_longer_moves():
    kept = {}

    def on_epoch(epoch, net):
        kept[epoch] = net.module_, nets.state_of(net)
        return epoch == 2

    jobs = [Job(CLASSES, 3), Job(CLASSES, 4, on_epoch=on_epoch)]
    many = vectorized(classifier(R, max_epochs=6, **MOMENTUM), jobs)
    assert sorted(kept) == [1, 2]
    assert [len(net.history) for net in many] == [6, 2]
    assert same_bits(many[1].module_.state_dict(), kept[2][1])
    assert not same_bits(kept[1][1], kept[2][1])
    alone = looped(classifier(R, max_epochs=2, **MOMENTUM), jobs)[1]
    check_same_state(alone.module_.state_dict(), kept[2][1], 1e-5)


class StopsAtOnce(Callback):
    """Ends the training of some members as an epoch begins, or after it."""

    def __init__(self, event="on_epoch_begin", epoch=2):
        self.event, self.epoch = event, epoch

    def on_epoch_begin(self, net, **_):
        if self.event == "on_epoch_begin" and len(net.history) == self.epoch:
            raise KeyboardInterrupt

    def on_epoch_end(self, net, **_):
        if self.event == "on_epoch_end" and len(net.history) == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("event", ["on_epoch_begin", "on_epoch_end"])
def test_a_callback_ends_the_training_of_one_member(event):
    net = classifier(R, callbacks=[("stop", StopsAtOnce(event))])
    jobs = [Job(CLASSES, 3, {"callbacks__stop__epoch": 9}), Job(CLASSES, 4), Job(CLASSES, 5)]
    check_same(net, jobs)


class Sees(Callback):
    """Writes down the module, the history and the rows of each event."""

    seen: list = []  # noqa: RUF012

    def on_train_begin(self, net, X=None, y=None, **_):
        self.seen.append((net, "train begins", len(net.history), nets.state_of(net), len(y)))

    def on_epoch_begin(self, net, dataset_train=None, **_):
        self.seen.append((net, "begins", len(net.history), nets.state_of(net), len(dataset_train)))

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **_):
        extra = len(dataset_train), len(dataset_valid), net.history[-1, "train_loss"], net.history[-1, "valid_loss"]
        self.seen.append((net, "ends", len(net.history), nets.state_of(net), extra, net.predict_proba(X[:4])))

    def on_train_end(self, net, **_):
        self.seen.append((net, "train ends", len(net.history), nets.state_of(net)))


def seen_by(train, net):
    Sees.seen.clear()
    fitted = train(net, jobs_of())
    events = [*Sees.seen]
    return [[event[1:] for event in events if event[0] is own] for own in fitted]


def test_users_callbacks_see_the_member_of_their_own():
    net = classifier(R, partial(nn.Dropout, 0.3), callbacks=[Sees()], train_split=ValidSplit(3))
    one, many = seen_by(looped, net), seen_by(vectorized, net)
    for events, others in zip(one, many, strict=True):
        assert [e[:2] for e in events] == [e[:2] for e in others]
        for event, other in zip(events, others, strict=True):
            check_same_state(event[2], other[2], 1e-5)
            for a, b in zip(event[3:], other[3:], strict=True):
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    assert not same_bits(many[0][-1][2], many[1][-1][2])


class Shakes(Callback):
    """Moves parameters by random numbers before each epoch."""

    def on_epoch_begin(self, net, **_):
        with torch.no_grad():
            for parameter in net.module_.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
                parameter.add_(float(0.1 * np.random.normal()))  # noqa: NPY002


def test_users_callbacks_draw_from_the_stream_of_their_member(untouched_rng):
    check_same(classifier(R, partial(nn.Dropout, 0.3), callbacks=[Shakes()]), jobs_of())


# ---- parameters of a member's own --------------------------------------------------------------------------------

OWN = {
    "sgd": [{"lr": 0.01}, {"lr": 0.1, "optimizer__weight_decay": 0.3}, {"optimizer__momentum": 0.9}],
    "nesterov": [{"optimizer__momentum": m, "optimizer__nesterov": True} for m in (0.5, 0.9, 0.99)],
    "adamw": [{"optimizer__betas": (0.8, 0.9)}, {"optimizer__weight_decay": 0.5}, {"lr": 0.003, "optimizer__eps": 0.1}],
    "adam": [{"optimizer__betas": (0.8, 0.999)}, {"optimizer__weight_decay": 0.5}, {"lr": 0.003}],
}


@DTYPES
@pytest.mark.parametrize("name", OWN)
def test_parameters_of_a_members_own(name, dtype):
    common = {"adamw": ADAM, "adam": {**ADAM, "optimizer": torch.optim.Adam}}.get(name, {})
    jobs = [Job(CLASSES, 7, params) for params in OWN[name]]  # the seed is one: only the parameters differ
    many = check_same(classifier(R, module__dtype=dtype, **common), jobs, dtype=dtype)
    turned = vectorized(classifier(R, module__dtype=dtype, **common), jobs[::-1])[::-1]
    assert all(same_bits(a, b) for a, b in zip(states(many), states(turned), strict=True))


def test_losses_of_a_members_own_are_not_mixed_up():
    jobs = [Job(CLASSES, 7, {"criterion__label_smoothing": s}) for s in (0.0, 0.5)]
    with pytest.raises(NotVectorizableError, match="differ in the parameter 'criterion__label_smoothing'"):
        vectorized(classifier(R), jobs)
    check_same(classifier(R, criterion__label_smoothing=0.5), jobs_of())


# ---- neighbours --------------------------------------------------------------------------------------------------

NOISY = (partial(nn.LayerNorm, 8), R, partial(nn.Dropout, 0.3))
NORMED = (partial(nn.BatchNorm1d, 8), R, partial(nn.Dropout, 0.3))
SETTINGS = {
    "sgd": MOMENTUM,
    "adamw": ADAM,
    "validated": {"train_split": ValidSplit(3)},
    "plateau": {"train_split": ValidSplit(4), "callbacks": CALLBACKS["plateau"], "max_epochs": 5, **ADAM},
    "clipped": {"callbacks": CALLBACKS["clipping"]},
}


@pytest.mark.parametrize("params", SETTINGS.values(), ids=SETTINGS)
def test_a_member_does_not_depend_on_its_neighbours(params):
    check_independence(classifier(*NOISY, **params))


@pytest.mark.parametrize("params", [MOMENTUM, ADAM], ids=["sgd", "adamw"])
def test_a_member_with_batch_norm_does_not_depend_on_its_neighbours(params):
    check_independence(classifier(*NORMED, **params))


def check_independence(net):
    draw = np.random.RandomState
    bags = [draw(k).randint(53, size=53) if net.train_split is None else draw(k).permutation(53)[:45] for k in range(4)]
    jobs = [Job(CLASSES.take(bag), k) for k, bag in enumerate(bags)]
    expected = states(vectorized(net, jobs))
    other = Rows(X[::-1] * 3 + 1, CLASSES.y[::-1].copy()).take(np.arange(len(bags[0])))
    for neighbour in (Job(other, jobs[2].seed), Job(jobs[2].rows, 99)):
        found = states(vectorized(net, [*jobs[:2], neighbour, jobs[3]]))
        assert [same_bits(a, b) for a, b in zip(expected, found, strict=True)] == [True, True, False, True]
    for part in ([0], [3], [1, 2], [3, 1, 0]):
        found = states(vectorized(net, [jobs[k] for k in part]))
        assert all(same_bits(expected[k], state) for k, state in zip(part, found, strict=True))


def test_members_that_stop_do_not_change_those_that_go_on():
    def jobs(last):
        return [Job(CLASSES, k, on_epoch=lambda epoch, net, k=k: epoch == last.get(k)) for k in range(4)]

    net = classifier(*NOISY, max_epochs=5, **ADAM)
    expected = states(vectorized(net, jobs({})))
    found = states(vectorized(net, jobs({0: 1, 2: 3, 3: 3})))
    assert [same_bits(a, b) for a, b in zip(expected, found, strict=True)] == [False, True, False, False]


def test_parameters_of_a_neighbour_do_not_matter():
    net = classifier(*NOISY, **ADAM)
    found = [
        vectorized(net, [Job(CLASSES, 1), Job(CLASSES, 2, params)])
        for params in ({}, {"lr": 0.02}, {"optimizer__betas": (0.8, 0.9), "optimizer__weight_decay": 0.3})
    ]
    assert all(same_bits(found[0][0].module_.state_dict(), other[0].module_.state_dict()) for other in found[1:])


# ---- divergence --------------------------------------------------------------------------------------------------


def test_a_member_that_diverges_leaves_the_others_untouched():
    net = classifier(R, max_epochs=4)
    sane = vectorized(net, jobs_of(n=4))
    jobs = jobs_of(n=4)
    x = X.copy()
    x[3] = np.nan
    jobs[1] = Job(Rows(x, CLASSES.y), jobs[1].seed)
    found = vectorized(net, jobs)
    assert [isinstance(f, DivergedError) for f in found] == [False, True, False, False]
    assert "in epoch 1" in str(found[1])
    assert found[1].epoch == 1
    for k in (0, 2, 3):
        assert same_bits(found[k].module_.state_dict(), sane[k].module_.state_dict())
        assert len(found[k].history) == 4


@pytest.mark.parametrize("which", [[0], [2], [0, 1, 2]])
def test_epochs_of_divergence_are_those_of_the_loop(which):
    net = NeuralNetRegressor(made_of(n_out=1), max_epochs=60, batch_size=16, train_split=None, verbose=0)
    net.set_params(module__dtype=torch.float64, callbacks="disable")
    jobs = [Job(Rows(X, X[:, :1]), k, {"lr": 30.0 if k in which else 0.01}) for k in range(3)]
    one, many = looped(net, jobs), vectorized(net, jobs)
    for k in range(3):
        assert isinstance(one[k], DivergedError) == isinstance(many[k], DivergedError) == (k in which)
        if k in which:
            assert str(one[k]) == str(many[k])
            assert one[k].epoch == many[k].epoch > 1
