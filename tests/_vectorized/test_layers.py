"""Gradients of the layers of many members are written where they are needed, once each."""

import torch
from _vectorized.modules import Tied
from torch import nn

from skfusion._vectorized import Members, VectorizedModules


def gradients(module, x, out=None):
    """Return the vectorized modules, and the gradients of the sum of squares of the outputs of three members."""
    vectorized = VectorizedModules([module() for _ in range(3)])
    with vectorized.running(True) as running:
        loss = (running(Members(x)) ** 2).sum((0, 1)).value
        out = None if out is None else torch.full_like(vectorized.theta, out)
        return vectorized, vectorized.gradient(loss, out=out)


def test_what_stood_in_the_place_does_not_matter():
    x = torch.randn(3, 5, 40)
    for module in (lambda: nn.Linear(40, 3), lambda: Tied(40)):
        torch.manual_seed(0)
        _, first = gradients(module, x, 0.0)
        torch.manual_seed(0)
        _, second = gradients(module, x, float("nan"))
        assert torch.equal(first, second)
        assert first.abs().sum(1).gt(0).all()


def test_a_gradient_outlives_the_place_of_another():
    vectorized = VectorizedModules([nn.Linear(40, 3) for _ in range(3)])
    places = [torch.empty_like(vectorized.theta) for _ in range(2)]
    for place, x in zip(places, torch.randn(2, 3, 5, 40), strict=True):
        with vectorized.running(True) as module:
            vectorized.gradient((module(Members(x)) ** 2).sum((0, 1)).value, out=place)
    assert not torch.equal(*places)
    with vectorized.running(True) as module:  # without a place
        alone = torch.autograd.grad((module(Members(x)) ** 2).sum((0, 1)).value.sum(), vectorized.leaves["weight"])[0]
    torch.testing.assert_close(alone, places[1][:, :120].view(3, 3, 40))


def test_gradients_of_gradients_are_those_of_torch():
    x = torch.randn(3, 5, 40, dtype=torch.float64)
    vectorized = VectorizedModules([nn.Linear(40, 3).double() for _ in range(3)])
    with vectorized.running(True) as module:
        weight = vectorized.leaves["weight"]
        out = (module(Members(x)) ** 3).sum((0, 1)).value.sum()
        (first,) = torch.autograd.grad(out, weight, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), weight)
    bias = vectorized.leaves["bias"].detach().unsqueeze(1)
    plain = weight.detach().clone().requires_grad_()
    (first,) = torch.autograd.grad(((x @ plain.mT + bias) ** 3).sum(), plain, create_graph=True)
    (expected,) = torch.autograd.grad(first.square().sum(), plain)
    torch.testing.assert_close(second, expected)
