"""What cannot be vectorized is named once, and trained one after another: the same members, bit for bit."""

import random
import threading
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from looped import Net, check_falls_back, classifier, collect, made_of, module_that
from skorch import NeuralNetClassifier
from skorch.callbacks import BatchScoring, Callback, Checkpoint, EpochScoring, Freezer
from torch import nn
from torch.utils.data import DataLoader

from skfusion._vectorized import NotVectorizableError
from skfusion.collect import Seeds
from skfusion.nets import seed_scope
from skfusion.nets.vectorized._draws import without_draws

R = nn.ReLU


# ---- nets --------------------------------------------------------------------------------------------------------


def net_that(**methods):
    """A net with some methods of its own."""
    params = classifier(R).get_params(deep=False)
    return type("Own", (NeuralNetClassifier,), methods)(**{k: v for k, v in params.items() if k != "classes"})


def passes_on(name):
    def method(self, *args, **kwargs):
        return getattr(NeuralNetClassifier, name)(self, *args, **kwargs)

    return method


@pytest.mark.parametrize("name", ["train_step_single", "train_step", "validation_step", "run_single_epoch", "fit_loop"])
def test_methods_of_the_loop(name):
    check_falls_back(net_that(**{name: passes_on(name)}), f"Own overrides {name}")


def test_an_optimiser_for_some_of_the_parameters():
    def initialize_optimizer(self, **kwargs):
        self.optimizer_ = torch.optim.SGD(self.module_.body[0].parameters(), lr=0.1)
        return self

    check_falls_back(net_that(initialize_optimizer=initialize_optimizer), "steps only some of the trained parameters")


OPTIMISERS = {
    "RMSprop": {"optimizer": torch.optim.RMSprop},
    "LBFGS": {"optimizer": torch.optim.LBFGS},
    "amsgrad": {"optimizer": torch.optim.Adam, "optimizer__amsgrad": True},
    "maximize": {"optimizer__maximize": True, "lr": 1e-3},
    "several groups": {"optimizer__param_groups": [("body.0.*", {"lr": 0.1})]},
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers(name):
    check_falls_back(classifier(R, **OPTIMISERS[name]), name)


def test_a_loader_of_ones_own():
    check_falls_back(classifier(R, iterator_train=lambda data, **kw: DataLoader(data, **kw)), "DataLoader of its own")
    check_falls_back(classifier(R, iterator_train__num_workers=0, iterator_train__worker_init_fn=id), "DataLoader")


def test_members_whose_shapes_differ():
    class Criterion(nn.CrossEntropyLoss):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

    check_falls_back(classifier(R, criterion=Criterion), "criterion has parameters")


# ---- callbacks ---------------------------------------------------------------------------------------------------


class OfBatches(Callback):
    """Acts in batches, and counts the trainings."""

    trainings = 0

    def on_train_begin(self, net, **_):
        type(self).trainings += 1

    def on_batch_end(self, net, **_):
        pass


class Scores(EpochScoring):
    """A score of the user's own."""


CALLBACKS = {
    "Checkpoint": [Checkpoint(monitor=None)],
    "Freezer": [Freezer("body.0.*")],
    "BatchScoring": [BatchScoring("accuracy", name="acc", lower_is_better=False)],
    "OfBatches acts in on_batch_end": [OfBatches()],
    "Scores acts in on_batch_end": [Scores("accuracy", name="acc", lower_is_better=False)],
    "EpochScoring(on_train=True)": [EpochScoring("accuracy", name="acc", lower_is_better=False, on_train=True)],
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    OfBatches.trainings = 0
    check_falls_back(classifier(R, callbacks=CALLBACKS[name]), name)
    assert OfBatches.trainings == (6 if "OfBatches" in name else 0)  # to ask is no training


class Replaces(Callback):
    """Gives the first layer other parameters."""

    def on_epoch_end(self, net, **_):
        net.module_.body[0].weight = nn.Parameter(net.module_.body[0].weight.detach() / 2)


class Freezes(Callback):
    def on_epoch_end(self, net, **_):
        net.module_.body[0].requires_grad_(False)


@pytest.mark.parametrize("callback", [Replaces(), Freezes()])
def test_callbacks_that_replace_or_freeze_parameters(callback):
    check_falls_back(classifier(R, callbacks=[callback]), "replaced or froze parameters")


# ---- modules -----------------------------------------------------------------------------------------------------


class Recurrent(Net):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTM(6, 6, batch_first=True)

    def forward(self, X):
        return super().forward(self.cell(X[:, None])[0][:, 0])


class Lottery(Net):
    def __init__(self):
        super().__init__()
        self.drawn = float(torch.rand(()))

    def forward(self, X):
        return self.drawn * super().forward(X)


class Spare(Net):
    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.ones(3))


class Scripted(Net):
    def __init__(self):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.end = torch.jit.script(nn.Tanh())


def counts(self, z):
    self.calls = getattr(self, "calls", 0) + 1
    return z + 0.001 * self.calls


MODULES = {
    "LSTM": Recurrent,
    "BatchNorm1d(momentum=None)": made_of(partial(nn.BatchNorm1d, 8, momentum=None)),
    "Odd draws random numbers": module_that(lambda self, z: z + 0.1 * torch.rand(3)),
    "Odd cannot be computed": module_that(lambda self, z: z + 0.1 * torch.randn_like(z)),
    "draws random numbers": module_that(lambda self, z: z * np.random.uniform(0.999, 1.001)),  # noqa: NPY002
    "Odd": module_that(lambda self, z: z * z.detach().abs().max().item()),
    "for many members": module_that(lambda self, z: z if z.sum() > 0 else -z),
    "'drawn' of Lottery": Lottery,
    "attribute 'calls'": module_that(counts),
    "'unused' takes no part in the loss": Spare,
    "TorchScript": Scripted,
    "other gradients": module_that(lambda self, z: z * (2 if type(z) is torch.Tensor else 3)),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name, untouched_rng):
    check_falls_back(classifier(module=MODULES[name]), name)


def test_pythons_own_random_numbers_are_seen():
    net = classifier(module=module_that(lambda self, z: z + random.random()))
    state = random.getstate()
    with pytest.warns(UserWarning, match="Odd draws random numbers"):
        collect(Seeds(2, vectorize=True), net)
    random.setstate(state)


@pytest.fixture
def another_thread():
    """A thread that waits, as those of a Dask worker; its event makes it draw one of Python's random numbers."""
    draw, drawn = threading.Event(), threading.Event()

    def run():
        draw.wait()
        random.random()
        drawn.set()

    thread = threading.Thread(target=run)
    thread.start()

    def drawing():
        draw.set()
        drawn.wait()

    yield drawing
    drawing()
    thread.join()


def test_draws_of_another_thread_are_not_those_of_the_network(another_thread, untouched_rng):
    with seed_scope(0), without_draws("net"):
        another_thread()
    with seed_scope(0), pytest.raises(NotVectorizableError, match="net draws random"), without_draws("net", True):
        random.random()


def test_pythons_own_random_numbers_are_seen_beside_another_thread(another_thread):
    with seed_scope(0):
        test_pythons_own_random_numbers_are_seen()


def test_a_compiled_module():
    net = classifier(R, compile=True, compile__backend="eager", max_epochs=1)
    check_falls_back(net, "its module is compiled")
