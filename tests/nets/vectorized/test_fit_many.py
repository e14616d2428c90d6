"""Vectorized training gives the members of skorch's loop: layers, losses, optimisers and batches."""

from functools import partial

import numpy as np
import pytest
import torch
from looped import (
    CLASSES,
    Job,
    X,
    check_falls_back,
    check_same,
    classifier,
    jobs_of,
    looped,
    made_of,
    same_bits,
    states,
    vectorized,
)
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import GradientNormClipping
from skorch.dataset import ValidSplit
from torch import nn

from skfusion import nets
from skfusion._rows import Rows
from skfusion.nets import mlp_classifier, mlp_regressor

BINARY = Rows(X, (X[:, 0] > X[:, 1]).astype(np.int64))
LABELS = Rows(X, (X[:, :2] > 0).astype(np.int64))
VALUES = Rows(X, X[:, :2] - X[:, 1:3])
R = nn.ReLU
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])


# ---- optimisers --------------------------------------------------------------------------------------------------

SGD, ADAM, ADAMW = ({"optimizer": getattr(torch.optim, name)} for name in ("SGD", "Adam", "AdamW"))
OPTIMISERS = {
    "sgd": SGD,
    "decay": {**SGD, "optimizer__weight_decay": 0.1},
    "momentum": {**SGD, "optimizer__momentum": 0.9, "optimizer__dampening": 0.3, "optimizer__weight_decay": 0.1},
    "nesterov": {**SGD, "optimizer__momentum": 0.9, "optimizer__nesterov": True, "optimizer__weight_decay": 0.1},
    "adam": {**ADAM, "lr": 0.01, "optimizer__weight_decay": 0.1, "optimizer__betas": (0.8, 0.95)},
    "adamw": {**ADAMW, "lr": 0.01, "optimizer__weight_decay": 0.5, "optimizer__eps": 1e-3},
    "fused": {**ADAMW, "lr": 0.01, "optimizer__fused": True},
    "decoupled": {**ADAM, "lr": 0.01, "optimizer__weight_decay": 0.5, "optimizer__decoupled_weight_decay": True},
}


@DTYPES
@pytest.mark.parametrize("params", OPTIMISERS.values(), ids=OPTIMISERS)
def test_optimisers(params, dtype):
    check_same(classifier(R, module__dtype=dtype, **params), jobs_of(), dtype=dtype)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("name", ["nesterov", "adam", "adamw"])
def test_gradients_that_are_too_large_for_a_matrix(name, clip, monkeypatch):
    monkeypatch.setattr("skfusion.nets.vectorized._fit_many._LARGE", 0)
    callbacks = [GradientNormClipping(0.1)] if clip else []
    check_same(classifier(R, callbacks=callbacks, **OPTIMISERS[name]), jobs_of())


# ---- layers ------------------------------------------------------------------------------------------------------


class Fold(nn.Module):
    """Units as channels of an image of one row."""

    def __init__(self, *shape):
        super().__init__()
        self.shape = shape

    def forward(self, z):
        return z.view(len(z), *self.shape)


class Attention(nn.Module):
    """Units as four words of two numbers that look at each other."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.inner = nn.MultiheadAttention(2, 2, dropout=dropout, batch_first=True)

    def forward(self, z):
        words = z.view(len(z), 4, 2)
        return z + self.inner(words, words, words, need_weights=False)[0].flatten(1)


class Tied(nn.Module):
    """A layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = nn.Linear(8, 8, bias=False)
        self.second.weight = self.first.weight

    def forward(self, z):
        return self.second(self.first(z).relu())


LAYERS = {
    "batch norm": [partial(nn.BatchNorm1d, 8), R],
    "batch norm without statistics": [partial(nn.BatchNorm1d, 8, track_running_stats=False, affine=False), R],
    "layer norm": [partial(nn.LayerNorm, 8), R],
    "conv": [
        *(partial(Fold, 2, 2, 2), partial(nn.Conv2d, 2, 4, 3, padding=1), partial(nn.GroupNorm, 2, 4), R),
        *(partial(nn.BatchNorm2d, 4), partial(nn.AvgPool2d, 2), nn.Flatten, partial(nn.Linear, 4, 8)),
    ],
    "dropout": [R, partial(nn.Dropout, 0.3), partial(nn.Linear, 8, 8), partial(nn.Dropout, 0.5)],
    "dropout of channels": [partial(Fold, 2, 4), partial(nn.Dropout1d, 0.5), nn.Flatten],
    "attention": [Attention],
    "attention with dropout": [partial(Attention, 0.4)],
    "encoder": [partial(Fold, 2, 4), partial(nn.TransformerEncoderLayer, 4, 2, 6, 0.0, batch_first=True), nn.Flatten],
    "tied": [Tied],
    "activations": [nn.Tanh, nn.GELU, nn.SiLU, partial(nn.LeakyReLU, 0.2), partial(nn.PReLU, 8), nn.Softplus],
}


@DTYPES
@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_layers(layers, dtype):
    net = classifier(*layers, module__dtype=dtype, train_split=ValidSplit(4))  # which runs in evaluation mode
    check_same(net, jobs_of(), dtype=dtype)


class Embedded(nn.Module):
    """Numbers and a code."""

    def __init__(self, dtype):
        super().__init__()
        self.table, self.head = nn.Embedding(5, 3), nn.Linear(9, 3)
        self.to(dtype)

    def forward(self, code, x):
        return self.head(torch.cat([self.table(code), x], 1))


@DTYPES
def test_embedding_of_a_dict(dtype):
    rows = Rows({"code": np.arange(53) % 5, "x": X}, CLASSES.y)
    check_same(classifier(module=Embedded, module__dtype=dtype), jobs_of(rows), dtype=dtype)


@DTYPES
def test_dropout_and_data_of_ones_own(dtype):
    jobs = [Job(CLASSES.take(np.random.RandomState(k).randint(53, size=53)), 9 + k) for k in (0, 1)]
    check_same(classifier(R, partial(nn.Dropout, 0.3), module__dtype=dtype), jobs, dtype=dtype)


# ---- losses ------------------------------------------------------------------------------------------------------


def kind(cls, criterion, n_out, rows, **settings):
    net = classifier(module=made_of(R, n_out=n_out, **settings), criterion=criterion).get_params(deep=False)
    return cls(**{k: v for k, v in net.items() if k != "classes"}), rows


LOSSES = {
    "nll": kind(NeuralNetClassifier, nn.NLLLoss, 3, CLASSES, end=nn.Softmax(-1)),
    "cross-entropy": kind(NeuralNetClassifier, nn.CrossEntropyLoss, 3, CLASSES),
    "bce": kind(NeuralNetClassifier, nn.BCEWithLogitsLoss, 1, BINARY),
    "bce of probabilities": kind(NeuralNetBinaryClassifier, nn.BCELoss, 1, BINARY, end=nn.Sigmoid()),
    "binary": kind(NeuralNetBinaryClassifier, nn.BCEWithLogitsLoss, 1, BINARY),
    "binary, flat": kind(NeuralNetBinaryClassifier, nn.BCEWithLogitsLoss, 1, BINARY, end=nn.Flatten(0)),
    "labels": kind(NeuralNetClassifier, nn.BCEWithLogitsLoss, 2, LABELS),
    "mse": kind(NeuralNetRegressor, nn.MSELoss, 2, VALUES),
    "l1": kind(NeuralNetRegressor, nn.L1Loss, 2, VALUES),
    "huber": kind(NeuralNetRegressor, nn.HuberLoss, 2, VALUES),
}


@DTYPES
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("case", LOSSES.values(), ids=LOSSES)
def test_losses(case, weighted, dtype):
    net, rows = case
    weight = np.random.RandomState(1).uniform(0.1, 3, size=53)
    rows = Rows(rows.X, rows.y, weight / weight.mean()) if weighted else rows
    check_same(net.set_params(module__dtype=dtype), jobs_of(rows), dtype)


@pytest.mark.parametrize(
    "options",
    [{"criterion__label_smoothing": 0.2}, {"criterion__weight": torch.tensor([1.0, 2, 3])}],
    ids=["smoothing", "class weights"],
)
def test_options_of_the_loss(options):
    check_same(classifier(R, **options), jobs_of())


def test_a_penalty_on_the_parameters():
    class Penal(NeuralNetClassifier):
        def get_loss(self, *args, **kwargs):
            return super().get_loss(*args, **kwargs) + 0.1 * sum(p.square().sum() for p in self.module_.parameters())

    params = classifier(R).get_params(deep=False)
    check_falls_back(Penal(**{k: v for k, v in params.items() if k != "classes"}), "Penal overrides get_loss")


# ---- batches -----------------------------------------------------------------------------------------------------

BATCHES = {
    "in order": {"iterator_train__shuffle": False},
    "drop_last": {"iterator_train__drop_last": True},
    "one batch": {"batch_size": -1},
    "single rows": {"batch_size": 1},
    "default split": {"train_split": ValidSplit(5, stratified=True)},
    "random split": {"train_split": ValidSplit(0.3)},
    "batch of validation": {"train_split": ValidSplit(4), "iterator_valid__batch_size": 4},
}


@DTYPES
@pytest.mark.parametrize("params", BATCHES.values(), ids=BATCHES)
def test_batches(params, dtype):
    layers = [] if params.get("batch_size") == 1 else [partial(nn.BatchNorm1d, 8)]
    net = classifier(*layers, R, partial(nn.Dropout, 0.2), module__dtype=dtype, **params)
    many = check_same(net, jobs_of(), dtype=dtype)
    validates = params.get("train_split") is not None
    assert ({"valid_loss", "valid_acc"} <= nets.history_of(many[0])[0].keys()) == validates


def test_skorchs_default_split_and_callbacks():
    net = NeuralNetClassifier(made_of(R), criterion=nn.CrossEntropyLoss, max_epochs=3, batch_size=16)
    rows = nets.history_of(check_same(net, jobs_of())[0])
    assert rows[0].keys() >= {"epoch", "train_loss", "valid_loss", "valid_acc", "dur"}
    assert len({row["valid_loss"] for row in rows}) == 3


@DTYPES
def test_a_last_row_joins_its_neighbour_under_batch_norm(dtype):
    net = classifier(partial(nn.BatchNorm1d, 8), R, module__dtype=dtype)
    many = check_same(net, jobs_of(CLASSES.take(np.arange(49))), dtype=dtype)
    assert nets.history_of(many[0])[0]["train_batch_count"] == 3


# ---- whole nets --------------------------------------------------------------------------------------------------


# A bias ahead of BatchNorm has no gradient but rounding errors, which Adam scales up: only SGD gives equal members.
WHOLE = [{}, {"module__norm": "layer", "module__dropout": 0.2}]
WHOLE += [{"module__norm": "batch", "optimizer": torch.optim.SGD, "optimizer__weight_decay": 0.1, "lr": 0.05}]


@pytest.mark.parametrize("params", WHOLE, ids=["plain", "noisy", "batch norm"])
def test_the_librarys_nets(params):
    net = nets.sized(mlp_classifier(max_epochs=3, batch_size=16, **params), CLASSES, 3)
    check_same(net, jobs_of())
    net = nets.sized(mlp_regressor(max_epochs=3, batch_size=16, **params), VALUES, 2)
    check_same(net, jobs_of(VALUES))
    net = nets.sized(mlp_classifier(multilabel=True, max_epochs=3, **params), LABELS, 2)
    check_same(net, jobs_of(LABELS))


def test_a_module_instance_is_where_all_members_start():
    module = made_of(R)()
    net = classifier(module=module)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    many = check_same(net, jobs_of())
    assert same_bits(module.state_dict(), before)
    start = vectorized(net.set_params(lr=0.0), jobs_of())
    assert all(same_bits(state, before) for state in states(start))
    assert not same_bits(many[0].module_.state_dict(), before)


def test_lazy_layers_get_their_sizes():
    class Lazy(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3))

        def forward(self, X):
            return self.body(X)

    check_same(classifier(module=Lazy), jobs_of())


def test_frozen_parameters_do_not_move():
    class Frozen(made_of(R)):
        def __init__(self):
            super().__init__()
            self.body[0].requires_grad_(False)

    net = classifier(module=Frozen, optimizer__weight_decay=0.5, optimizer__momentum=0.9)
    many = check_same(net, jobs_of())
    start = looped(net.set_params(lr=0.0), jobs_of())
    for a, b in zip(states(start), states(many), strict=True):
        assert torch.equal(a["body.0.weight"], b["body.0.weight"])
        assert not torch.equal(a["body.2.weight"], b["body.2.weight"])


def test_the_net_is_not_changed_and_neither_are_the_generators(untouched_rng):
    net = classifier(R, partial(nn.Dropout, 0.3))
    before = repr(sorted(net.get_params(deep=False).items()))
    first, again = (states(vectorized(net, jobs_of())) for _ in range(2))
    assert all(same_bits(a, b) for a, b in zip(first, again, strict=True))
    assert repr(sorted(net.get_params(deep=False).items())) == before
    assert not getattr(net, "initialized_", False)


def test_fitted_nets_hold_their_own_memory_and_go_on_alone():
    many = vectorized(classifier(R, batch_size=53), jobs_of())
    for net in many:
        for tensor in net.module_.state_dict().values():
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    before = [{k: v.clone() for k, v in state.items()} for state in states(many)]
    many[0].partial_fit(X, CLASSES.y)
    assert not same_bits(many[0].module_.state_dict(), before[0])
    assert all(same_bits(a, b) for a, b in zip(states(many[1:]), before[1:], strict=True))
    assert many[0].predict_proba(X).shape == (53, 3)
