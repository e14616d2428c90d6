"""Callbacks of the user: what they change between epochs of vectorized training is seen, and gradients are there."""

from functools import partial

import pytest
import torch
from looped import Net, check_falls_back, check_same, classifier, collect, jobs_of, vectorized
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EpochScoring
from torch import nn

from skfusion._vectorized import NotVectorizableError
from skfusion.collect import Seeds

R = nn.ReLU


def before_epochs(act):
    """A callback that acts on the net before each epoch; ``net.history`` has the present epoch already."""
    return type("Acts", (Callback,), {"on_epoch_begin": lambda self, net, **_: act(net)})()


def after_epochs(act):
    return type("Acts", (Callback,), {"on_epoch_end": lambda self, net, **_: act(net)})()


class Tempered(Net):
    """Scales its output by an attribute."""

    def __init__(self):
        super().__init__(R, partial(nn.Dropout, 0.1))
        self.temperature = 1.0
        self.register_buffer("flag", torch.rand(()))

    def forward(self, X):
        return super().forward(X) * self.temperature


def second(act):
    return before_epochs(lambda net: act(net) if len(net.history) == 2 else None)


def own_loss(net):
    return float(net.history[-1, "train_loss"])


def swap(net):
    net.optimizer_ = torch.optim.SGD(net.module_.parameters(), lr=0.1)


def set_option(**options):
    return lambda net: net.optimizer_.param_groups[0].update(options)


ACTS = {
    "gives each member another 'temperature'": after_epochs(
        lambda net: setattr(net.module_, "temperature", own_loss(net))
    ),
    "another 'criterion_.label_smoothing'": after_epochs(
        lambda net: setattr(net.criterion_, "label_smoothing", min(0.5, own_loss(net) / 4))
    ),
    "replaced the optimiser": second(lambda net: net.initialize_optimizer()),
    "one of its callbacks replaced the optimiser": second(swap),
    "looks at the state of the optimiser": second(lambda net: net.optimizer_.state.clear()),
    "at the state of the optimiser": after_epochs(lambda net: net.history.record("n", len(net.optimizer_.state))),
    "state of the optimiser": after_epochs(lambda net: net.optimizer_.state_dict()),
    "the option maximize of SGD": second(set_option(maximize=True)),
    "several groups": second(lambda net: net.optimizer_.add_param_group({"params": [nn.Parameter(torch.ones(1))]})),
    "replaced or froze": second(lambda net: setattr(net.module_, "flag", torch.zeros(()))),
}


@pytest.mark.parametrize("name", ACTS)
def test_what_callbacks_change_is_seen(name):
    check_falls_back(classifier(module=Tempered, optimizer__momentum=0.9, callbacks=[ACTS[name]]), name)


def test_a_callback_that_fails_is_named_and_fails_as_in_the_loop():
    net = classifier(module=Tempered, callbacks=[second(lambda net: net.no_such_thing)])
    with pytest.raises(NotVectorizableError, match="Acts cannot be computed for many members: .*no_such_thing"):
        vectorized(net, jobs_of())
    for vectorize in (False, True):
        with pytest.raises(AttributeError, match="no_such_thing"):
            collect(Seeds(3, vectorize=vectorize), net)


def test_a_module_that_is_replaced_is_seen():
    check_falls_back(classifier(module=Tempered, callbacks=[second(lambda net: net.initialize_module())]), "replaced")


ALIKE = {
    "a schedule of dropout": before_epochs(lambda net: setattr(net.module_.body[2], "p", 0.1 * len(net.history))),
    "a schedule of the loss": before_epochs(
        lambda net: setattr(net.criterion_, "label_smoothing", 0.1 * len(net.history))
    ),
    "a schedule of decay": before_epochs(lambda net: set_option(weight_decay=0.1 * len(net.history))(net)),
    "values": before_epochs(lambda net: [t.mul_(0.9) for t in net.module_.state_dict().values()]),
    "gradients": after_epochs(
        lambda net: net.history.record("size", float(sum(p.grad.square().sum() for p in net.module_.parameters())))
    ),
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", ALIKE)
def test_what_callbacks_do_to_all_members_alike_is_vectorized(name, large, monkeypatch):
    if large:
        monkeypatch.setattr("skfusion.nets.vectorized._fit_many._LARGE", 0)
    check_same(classifier(module=Tempered, callbacks=[ALIKE[name]], optimizer__momentum=0.9), jobs_of())


def momenta(own):
    """Switch momentum on late, for all members or for some of them."""

    def act(net):
        late = not own or float(net.module_.flag) < 0.5
        set_option(momentum=0.0 if late and len(net.history) < 3 else 0.9)(net)

    return before_epochs(act)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("dampening", [0.0, 0.5])
def test_momentum_may_begin_late(own, dampening):
    net = classifier(module=Tempered, callbacks=[momenta(own)], optimizer__dampening=dampening, max_epochs=5)
    check_same(net, jobs_of(n=5))


def test_a_score_of_ones_own_is_watched():
    def score(net, X, y):
        net.module_.temperature = own_loss(net)
        return 0.0

    net = classifier(module=Tempered, callbacks=[EpochScoring(score, lower_is_better=False, on_train=True, name="s")])
    check_falls_back(net.set_params(use_caching=False), "another 'temperature'")


class Counting(Tempered):
    """Counts its calls, once it is told to."""

    def forward(self, X):
        if self.counting:
            self.calls += 1
        return super().forward(X) * (1 + 0.1 * self.calls)

    counting, calls = False, 0


def test_a_module_that_changes_late_is_seen():
    net = classifier(module=Counting, callbacks=[second(lambda net: setattr(net.module_, "counting", True))])
    check_falls_back(net.set_params(max_epochs=4), "another 'calls'")


# ---- losses of the user's own -----------------------------------------------------------------------------------


def net_with(**methods):
    params = classifier(R).get_params(deep=False)
    kind = type("Own", (NeuralNetClassifier,), methods)
    return kind(**{k: v for k, v in params.items() if k != "classes"})


def by_history(self, *args, **kwargs):
    late = len(self.history) > 1 and self.history[-2, "train_loss"] > 1.1
    return NeuralNetClassifier.get_loss(self, *args, **kwargs) * (2 if late else 1)


def by_rate(self, *args, **kwargs):
    return NeuralNetClassifier.get_loss(self, *args, **kwargs) * self.lr


def by_count(self, *args, **kwargs):
    self.steps = getattr(self, "steps", 0) + 1
    return NeuralNetClassifier.get_loss(self, *args, **kwargs) * min(1, self.steps / 8)


def by_options(self, *args, **kwargs):
    return NeuralNetClassifier.get_loss(self, *args, **kwargs) * self.optimizer_.param_groups[0]["lr"]


@pytest.mark.parametrize("get_loss", [by_history, by_rate, by_options, by_count])
def test_losses_of_ones_own_are_refused(get_loss):
    check_falls_back(net_with(get_loss=get_loss), "Own overrides get_loss")


def test_an_inference_of_ones_own_is_refused():
    def halved(self, x, **params):
        return NeuralNetClassifier.infer(self, x, **params) / 2

    check_falls_back(net_with(infer=halved), "Own overrides infer")


class Warm(nn.CrossEntropyLoss):
    """Counts its calls."""

    calls = 0

    def forward(self, *args):
        self.calls += 1
        return super().forward(*args) * min(1, self.calls / 8)


class Centred(nn.CrossEntropyLoss):
    """Has a buffer that it writes to."""

    def __init__(self):
        super().__init__()
        self.register_buffer("centre", torch.zeros(3))

    def forward(self, scores, codes):
        self.centre = 0.9 * self.centre + 0.1 * scores.detach().mean(0)
        return super().forward(scores - self.centre, codes)


@pytest.mark.parametrize(("kind", "name"), [(Warm, "calls"), (Centred, "centre")])
def test_a_criterion_that_changes_is_named(kind, name):
    check_falls_back(classifier(R, criterion=kind), f"the attribute 'criterion_.{name}' of NeuralNetClassifier changes")


def test_criteria_that_differ_are_seen():
    class Drawn(nn.CrossEntropyLoss):
        def __init__(self):
            super().__init__(label_smoothing=float(0.5 * torch.rand(())))

    check_falls_back(classifier(R, criterion=Drawn), "members differ in the attribute 'criterion_.label_smoothing'")
