"""The first batch of all members is compared with that of a member alone: what that must see, and may not doubt."""

from functools import partial

import numpy as np
import pytest
import torch
from looped import CLASSES, Job, Net, X, check_falls_back, check_same, classifier, jobs_of, module_that, vectorized
from torch import nn

from skfusion._rows import Rows
from skfusion._vectorized import NotVectorizableError
from skfusion.nets import DivergedError
from skfusion.nets.vectorized import _member

R = nn.ReLU


class Straight(torch.autograd.Function):
    """The sign, with the gradient of the identity."""

    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, grad):
        return grad


def odd(x, of_one, of_many):
    """What differs by the type of a tensor differs where all are vectorized."""
    return of_one if type(x) is torch.Tensor else of_many


class Small(Net):
    """A branch whose gradients are a thousandth of the others, and of the wrong sign when vectorized."""

    def __init__(self):
        super().__init__(R)
        self.branch = nn.Linear(6, 3)

    def forward(self, X):
        return super().forward(X) + odd(X, 1e-3, -1e-3) * self.branch(X)


class Counted(Net):
    """A buffer that vectorized training would get wrong, of which the first loss knows nothing."""

    def __init__(self):
        super().__init__(R)
        self.register_buffer("total", torch.zeros(6))

    def forward(self, X):
        if self.training:
            self.total += X.detach().mean(0) * odd(X, 1.0, 2.0)
        return super().forward(X)


class Made(Net):
    """A buffer that its first batch makes."""

    def __init__(self):
        super().__init__(R)
        self.register_buffer("centre", None)

    def forward(self, X):
        if self.centre is None:
            self.centre = X.detach().mean(0)
        return super().forward(X - self.centre)


MODULES = {
    "Straight has a gradient that is written in Python": module_that(lambda self, z: z + 1e-3 * Straight.apply(z)),
    "Small gives other gradients": Small,
    "Counted gives other gradients": Counted,
    "it makes its buffer 'centre' in its forward pass": Made,
    "Odd gives other gradients": module_that(lambda self, z: z * odd(z, 2, 3)),
}


@pytest.mark.parametrize("name", MODULES)
def test_what_is_not_the_same_alone_is_seen(name):
    check_falls_back(classifier(module=MODULES[name]), name)


class Reversed(Net):
    """The gradient of its first layer is zero in the first batch, and turned round."""

    def __init__(self):
        super().__init__(R)
        nn.init.zeros_(self.body[2].weight)

    def forward(self, X):
        hidden = self.body[:2](X)
        return self.body[2](hidden + 0.5 * Straight.apply(hidden))


def test_a_gradient_in_python_is_seen_where_it_is_zero_at_first():
    with pytest.raises(NotVectorizableError, match="Straight has a gradient"):
        vectorized(classifier(module=Reversed), jobs_of())


NAN = Rows(np.full_like(X, np.nan), CLASSES.y)


def test_members_without_finite_numbers_prove_nothing():
    net = classifier(module=MODULES["Odd gives other gradients"])
    with pytest.raises(NotVectorizableError, match="Odd gives other gradients"):
        vectorized(net, [Job(NAN, 1), Job(CLASSES, 2), Job(CLASSES, 3)])
    with pytest.raises(
        NotVectorizableError, match="no member has a finite loss and finite gradients in its first batch"
    ):
        vectorized(classifier(R), [Job(NAN, 1), Job(NAN, 2)])


def test_a_first_member_that_diverges_at_once_leaves_the_others():
    found = vectorized(classifier(R), [Job(NAN, 3), Job(CLASSES, 4), Job(CLASSES, 5)])
    assert isinstance(found[0], DivergedError)
    sane = vectorized(classifier(R), jobs_of())
    for a, b in zip(found[1:], sane[1:], strict=True):
        assert torch.equal(a.module_.body[0].weight, b.module_.body[0].weight)


def test_rounding_ahead_of_batch_norm_is_no_difference():
    check_same(classifier(partial(nn.BatchNorm1d, 8), R), jobs_of())
    wide = Rows(np.float32(1e3) * X, CLASSES.y)
    vectorized(classifier(partial(nn.BatchNorm1d, 8), R), jobs_of(wide))


class Attentive(Net):
    """Dropout in layers, and in attention."""

    def __init__(self):
        super().__init__(partial(nn.BatchNorm1d, 8), R, partial(nn.Dropout, 0.5))
        self.attention = nn.MultiheadAttention(2, 1, dropout=0.5, batch_first=True)

    def forward(self, X):
        pairs = X.view(len(X), 3, 2)
        return super().forward(X + self.attention(pairs, pairs, pairs)[0].flatten(1))


@pytest.mark.parametrize("wrong", [False, True])
def test_dropout_whose_masks_are_no_members_own_is_proved_without_it(wrong, monkeypatch):
    """As on a GPU: a member alone draws from another generator there than in vectorized training."""
    load = _member.TrainingMember.load

    def elsewhere(self):
        load(self)
        self.mask_generator = torch.Generator().manual_seed(self.seed)

    monkeypatch.setattr(_member.TrainingMember, "load", elsewhere)
    module = type("Odd", (Attentive,), {"forward": lambda self, X: Attentive.forward(self, X) * odd(X, 1, 2)})
    if wrong:
        with pytest.raises(NotVectorizableError, match="Odd gives other gradients"):
            vectorized(classifier(module=module), jobs_of())
        return
    found = vectorized(classifier(module=Attentive, max_epochs=1), jobs_of())
    assert [int(net.module_.body[1].num_batches_tracked) for net in found] == [4, 4, 4]  # the first one is not twice
    assert found[0].module_.attention.dropout == 0.5
    weights = [net.module_.body[0].weight for net in found]
    monkeypatch.undo()
    still = vectorized(classifier(module=Attentive, max_epochs=1), jobs_of())  # other masks give other members
    assert not any(torch.equal(a, net.module_.body[0].weight) for a, net in zip(weights, still, strict=True))


def halve(module, given, out):
    return out * 0.5


def test_hooks_are_compared_and_those_of_gradients_refused():
    class Hooked(Net):
        def __init__(self):
            super().__init__(R)
            scale = float(torch.rand(()))
            self.body[0].register_forward_hook((lambda module, given, out: out * scale) if self.own else halve)

        own = True

    check_falls_back(classifier(module=Hooked), "attribute 'body.0._forward_hooks'")
    check_same(classifier(module=type("Alike", (Hooked,), {"own": False})), jobs_of())

    class Slowed(Net):
        def __init__(self):
            super().__init__(R)
            self.body[0].weight.register_hook(lambda grad: 0.1 * grad)

    check_falls_back(classifier(module=Slowed), "a hook waits for the gradient of its parameter 'body.0.weight'")
