"""Gradients of layers are written where they are needed, once each; a few units may come first in memory."""

import pytest
import torch
import torch.nn.functional as F
from _vectorized.modules import Tied
from torch import nn

from skfusion._vectorized import Members, VectorizedModules
from skfusion._vectorized._layers import gradients_written_to


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


def few_units(x, change=lambda out: out):
    """Return three members' losses and gradients of a layer of five units, whose outputs are changed."""
    torch.manual_seed(0)
    vectorized = VectorizedModules([nn.Linear(x.shape[2], 5).double() for _ in range(len(x))])
    codes = Members(torch.arange(x.shape[1]).remainder(5).expand(len(x), -1))
    with vectorized.running(True) as module:
        loss = F.cross_entropy(change(module(Members(x))), codes).value
        return loss.detach(), vectorized.gradient(loss)


@pytest.mark.parametrize(
    "change",
    [
        torch.relu_,
        lambda out: out * 2,
        lambda out: out.softmax(-1),
        lambda out: (torch.relu_(out), out)[1],
        lambda out: (out.detach(), out)[1],
    ],
)
def test_outputs_of_few_units_are_changed_as_others(change):
    x = torch.randn(3, 40, 20, dtype=torch.float64)
    plain = {torch.relu_: torch.relu}.get(change, change)
    found = few_units(x, change)
    for k in range(3):
        torch.manual_seed(0)
        layer = [nn.Linear(20, 5).double() for _ in range(3)][k]
        loss = F.cross_entropy(plain(layer(x[k])), torch.arange(40).remainder(5))
        grads = torch.autograd.grad(loss, layer.parameters())
        torch.testing.assert_close(found[0][k], loss.detach())
        torch.testing.assert_close(found[1][k, :105], torch.cat([g.flatten() for g in grads]))


def test_outputs_of_few_units_have_gradients_after_a_look_without_them():
    def looked_at(out):
        with torch.no_grad():
            assert out.value.is_contiguous()
        return out

    x = torch.randn(3, 40, 20, dtype=torch.float64)
    assert all(torch.equal(a, b) for a, b in zip(few_units(x), few_units(x, looked_at), strict=True))


def test_every_gradient_is_written_to_its_place():
    vectorized = VectorizedModules([nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10)) for _ in range(3)])
    places = torch.empty_like(vectorized.theta)
    with vectorized.running(True) as module:
        loss = module(Members(torch.randn(3, 8, 20))).square().mean((0, 1)).value
        written = vectorized.gradient(loss, out=places)
    assert written is places
    room = vectorized._room[1]
    with (
        vectorized.running(True) as module,
        gradients_written_to(dict(zip(vectorized.leaves.values(), room, strict=True))),
    ):
        loss = module(Members(torch.randn(3, 8, 20))).square().mean((0, 1)).value
        for (_, part), place in zip(vectorized.gradients(loss), room, strict=True):
            assert part.data_ptr() == place.data_ptr()
