"""Nets in a training of skorch's own that a callback averages, with what their optimiser has seen."""

import warnings

import numpy as np
import torch
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit
from torch import nn

from skfusion.nets._training_data import tensors_of
from skfusion.state import copy

RNG = np.random.RandomState(0)
X = RNG.normal(size=(58, 4)).astype(np.float32)
Y = (X[:, :1] * X[:, 1:2] + 0.1 * RNG.normal(size=(58, 1))).astype(np.float32)
LABELS = (Y[:, 0] > 0).astype(np.int64)


class Perceptron(nn.Module):
    def __init__(self, norm=False, n_out=1, dropout=0.0):
        super().__init__()
        layers = [nn.Linear(4, 6), *([nn.BatchNorm1d(6)] if norm else []), nn.Tanh(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(6, n_out))

    def forward(self, X):
        return self.layers(X)


class Trajectory(Callback):
    """Writes down the weights that steps start from and end with, and those at validations and after epochs."""

    def initialize(self):
        self.before_, self.after_, self.validated_, self.ends_ = [], [], [], []
        return self

    def on_batch_begin(self, net, training=False, **_):
        (self.before_ if training else self.validated_).append(copy(tensors_of(net.module_)))

    def on_batch_end(self, net, training=False, **_):
        if training:
            self.after_.append(copy(tensors_of(net.module_)))

    def on_epoch_end(self, net, **_):
        self.ends_.append(copy(tensors_of(net.module_)))

    @property
    def states(self):
        """The state before the first step, and those after all steps."""
        return [self.before_[0], *self.after_]


def net(*callbacks, classifier=False, module=Perceptron, seed=0, **params):
    """An unfitted net; the rows that it holds out come first to last and are the same each time."""
    kind, criterion = (NeuralNetClassifier, nn.CrossEntropyLoss) if classifier else (NeuralNetRegressor, nn.MSELoss)
    defaults = {"lr": 0.2, "max_epochs": 4, "batch_size": 16, "verbose": 0, "train_split": ValidSplit(4)}
    if classifier and "module__n_out" not in params and module is Perceptron:
        defaults["module__n_out"] = 2
    torch.manual_seed(seed)
    return kind(module, criterion=criterion, callbacks=[*callbacks], **{**defaults, **params})


def fitted(*callbacks, seed=0, **params):
    """A net that is trained from a seed, with a :class:`Trajectory` as its callback ``seen``."""
    made = net(*callbacks, ("seen", Trajectory()), seed=seed, **params)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The training was too short for its average")
        return made.fit(X, LABELS if params.get("classifier") else Y)


def seen(fitted_net):
    """What the callback ``seen`` of a net has written down."""
    return dict(fitted_net.callbacks_)["seen"]


def assert_close(state, expected, skip=(), **tolerance):
    """Assert that states hold the same numbers, but for some tensors."""
    for key, value in expected.items():
        if not key.endswith(skip):
            torch.testing.assert_close(
                state[key], value.to(state[key].dtype), **tolerance, msg=lambda m, k=key: f"{k}: {m}"
            )


def state(fitted_net):
    return copy(tensors_of(fitted_net.module_))
