"""What members of one training share is done once for all of them, and each still draws as if it were alone."""

import random
from collections import Counter
from unittest.mock import patch

import numpy as np
import pytest
import torch
from looped import CLASSES, Net, X, check_same, classifier, jobs_of, looped, vectorized
from sklearn.metrics import accuracy_score, check_scoring
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EpochScoring, LRScheduler
from skorch.dataset import ValidSplit
from torch import nn

from skfusion import _rows, nets
from skfusion._rows import Rows
from skfusion.nets.vectorized._epoch_scores import _softmax_free, _takes_softmax, accuracy, may_draw_from_numpy

R = nn.ReLU
SPLIT = {"train_split": ValidSplit(4)}


def fresh_rows():
    return Rows(CLASSES.X, CLASSES.y)


def counted(calls, owner, name):
    """Count the calls of a function, which still does its work."""
    real = getattr(owner, name)

    def count(*args, **kwargs):
        calls[name] += 1
        return real(*args, **kwargs)

    return patch.object(owner, name, count)


def calls_of(n_members):
    """Return how often members that are trained together hash rows, seed torch, and ask numpy for its state."""
    calls = Counter()
    net = classifier(R, **SPLIT)
    jobs = [nets.Run(str(k), k) for k in range(n_members)]
    rows = fresh_rows()
    with (
        counted(calls, _rows, "row_keys"),
        counted(calls, torch, "manual_seed"),
        counted(calls, np.random, "get_state"),
    ):
        nets.fit_many(net, rows, jobs, [nets.Watch() for _ in jobs])
    return calls


def test_what_members_share_is_not_done_for_each():
    few, many = calls_of(2), calls_of(12)
    assert few["row_keys"] == many["row_keys"] == 2  # of inputs, and of inputs with targets
    assert many["manual_seed"] == few["manual_seed"]
    assert many["get_state"] - few["get_state"] <= 10 * 3  # at the beginning and at the end of a training, by member


def test_units_are_found_once():
    rows = fresh_rows()
    assert rows.units()[0] is rows.units()[0]
    with pytest.raises(ValueError, match="read-only"):
        rows.units()[1][0] = 5


class DrawsFromPython(Net):
    """A network whose first weights come from Python's own generator."""

    def __init__(self):
        super().__init__(R)
        with torch.no_grad():
            self.body[0].weight[0, 0] = random.random()


def test_modules_that_draw_from_python_start_as_alone():
    check_same(classifier(module=DrawsFromPython), jobs_of())


class Jitters(nets.Recorder):
    """A recorder that draws from numpy's global generator."""

    def __init__(self):
        self.drawn = []

    def after_epoch(self, epoch, net):
        self.drawn.append(np.random.rand())  # noqa: NPY002

    def members(self, name, net=None):
        return []


def test_a_recorder_that_draws_from_numpy_draws_as_alone():
    runs = [nets.Run(str(k), k) for k in range(3)]
    alone, together = [[Jitters() for _ in runs] for _ in range(2)]
    net = classifier(R, **SPLIT)
    for run, recorder in zip(runs, alone, strict=True):
        nets.fit(net, CLASSES, run.seed, nets.Watch(recorder=recorder))
    nets.fit_many(net, CLASSES, runs, [nets.Watch(recorder=recorder) for recorder in together])
    assert [r.drawn for r in together] == [r.drawn for r in alone]
    assert len({tuple(r.drawn) for r in alone}) == 3


def initialised(**params):
    return classifier(R, **params).initialize()


NUMPY = {
    "skorch's own": ({}, {}, False),
    "of this library": ({}, {"recorder": nets.LastState()}, False),
    "of the user": ({}, {"recorder": Jitters()}, True),
    "hook": ({}, {"on_epoch": lambda epoch, net: False}, True),
    "rate": ({"callbacks": [LRScheduler()]}, {}, True),
    "module again": ({"callbacks": [EpochScoring("accuracy", name="again", use_caching=False)]}, {}, True),
    "net does not cache": ({"use_caching": False}, {}, True),
}


@pytest.mark.parametrize(("params", "watch", "may"), NUMPY.values(), ids=NUMPY)
def test_who_may_draw_from_numpy(params, watch, may):
    assert may_draw_from_numpy(initialised(**params), nets.Watch(**watch), False) is may


# ---- scores ------------------------------------------------------------------------------------------------------


class Fixed(NeuralNetClassifier):
    """A classifier whose predictions are given."""

    given = None

    def predict(self, X):
        return self.given


TARGETS = {
    "codes": (np.array([0, 1, 2, 1]), np.array([0, 2, 2, 1])),
    "two classes": (np.array([0, 1]), np.array([1, 1], np.int32)),
    "labels": (np.array([[0, 1], [1, 1]]), np.array([[0, 1], [1, 0]])),
    "strings": (np.array(["a", "b"]), np.array(["a", "a"])),
    "floats": (np.array([0.0, 1.0]), np.array([0, 0])),
}


@pytest.mark.parametrize(("y", "predicted"), TARGETS.values(), ids=TARGETS)
def test_the_accuracy_is_that_of_the_scorer(y, predicted):
    net = Fixed(Net, module__n_out=3, classes=[0, 1, 2]).initialize()
    net.given = predicted
    found = accuracy(net, X[: len(y)], y)
    assert found == check_scoring(net, "accuracy")(net, X[: len(y)], y) == accuracy_score(y, predicted)
    assert type(found) is float


def outputs():
    """Outputs of a network for five rows, by what is special about them."""
    far = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    close, tied, wide, odd = (far.clone() for _ in range(4))
    close[:, 1] = close[:, 2] + torch.tensor([0.0, 1e-8, -1e-7, 1e-5, 2e-3])
    tied[:] = 0.5
    wide *= 1e6
    odd[2, 1] = float("nan")
    odd[3, 0] = float("inf")
    return {"far": far, "close": close, "tied": tied, "wide": wide, "odd": odd, "half": close.half()}


@pytest.mark.parametrize("kind", outputs())
@pytest.mark.parametrize("aside", [False, True])
def test_predictions_without_softmax_are_those_with_it(kind, aside):
    net = classifier(R).initialize()
    out = outputs()[kind]
    batches = [out[:3], out[3:]]
    with patch.object(
        net, "forward_iter", lambda *_, **__: iter([(b, b) if aside else b for b in batches]), create=True
    ):
        assert _takes_softmax(net)
        assert _softmax_free(net, X[:5]).tolist() == net.predict(X[:5]).tolist()


def test_other_nets_predict_as_they_do():
    assert not _takes_softmax(Fixed(Net, criterion=nn.CrossEntropyLoss).initialize())
    assert not _takes_softmax(classifier(R, predict_nonlinearity=None).initialize())
    assert not _takes_softmax(classifier(R, criterion=nn.NLLLoss).initialize())


def test_targets_and_predictions_of_other_lengths_are_an_error():
    net = Fixed(Net).initialize()
    net.given = np.array([0, 1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        accuracy(net, X[:3], np.array([0, 1, 1]))


def test_scores_are_those_of_the_loop_and_nothing_is_left_in_the_callbacks():
    net, jobs = classifier(R, **SPLIT), jobs_of()
    for one, other in zip(vectorized(net, jobs), looped(net, jobs), strict=True):
        assert one.history[:, "valid_acc"] == other.history[:, "valid_acc"]
        assert one.history[:, "valid_acc_best"] == other.history[:, "valid_acc_best"]
        assert all("_scoring" not in vars(callback) for _, callback in one.callbacks_)


class Looks(Callback):
    """A callback of the user, which looks at the others."""

    def on_epoch_end(self, net, **_):
        for _, callback in net.callbacks_:
            assert "_scoring" not in vars(callback)
            if isinstance(callback, EpochScoring):
                assert len(callback.y_preds_) > 1  # a batch each, as ever


def test_callbacks_of_the_user_find_the_others_as_they_are():
    net = classifier(R, callbacks=[Looks()], batch_size=4, **SPLIT)
    assert len(vectorized(net, jobs_of())) == len(jobs_of())


class WithHidden(Net):
    """A network that returns the outputs of a hidden layer, too."""

    def __init__(self):
        super().__init__(R)

    def forward(self, X):
        hidden = self.body[:2](X)
        return self.body[2](hidden), hidden


class OfBoth(nn.Module):
    def forward(self, out, y):
        return nn.functional.cross_entropy(out[0], y) + 0.01 * out[1].square().mean()


def test_several_outputs_in_several_batches_are_scored():
    check_same(classifier(module=WithHidden, criterion=OfBoth, iterator_valid__batch_size=4, **SPLIT), jobs_of())
