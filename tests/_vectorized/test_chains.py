"""Chains of linear layers and activations give what their modules give one after another."""

import pytest
import torch
from _vectorized.modules import Tied
from torch import nn
from torch.utils.checkpoint import checkpoint

from skfusion._vectorized import Members, VectorizedModules
from skfusion._vectorized import _chains as chains

K, ROWS = 3, 9


def narrow():
    return nn.Sequential(nn.Linear(20, 5), nn.Tanh(), nn.Linear(5, 32, bias=False), nn.Sigmoid(), nn.Linear(32, 3))


def frozen(*names):
    def make():
        module = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name not in names)
        return module

    return make


def shared():
    layer = nn.Linear(20, 20)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.Tanh())


MODULES = {
    "perceptron": lambda: nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)),
    "narrow": narrow,
    "activation last": lambda: nn.Sequential(nn.Linear(20, 16), nn.ReLU(inplace=True)),
    "few units, activation last": lambda: nn.Sequential(nn.Linear(20, 5), nn.Sigmoid()),
    "activation first": lambda: nn.Sequential(nn.Tanh(), nn.Linear(20, 16), nn.Linear(16, 2)),
    "other layers between": lambda: nn.Sequential(
        nn.Linear(20, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.ReLU(), nn.Linear(8, 3)
    ),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(20, 8), nn.ReLU()), nn.Sequential(nn.Linear(8, 3))),
    "first layer frozen": frozen("0.weight", "0.bias"),
    "middle weight frozen": frozen("2.weight"),
    "biases frozen": frozen("0.bias", "2.bias", "4.bias"),
    "one layer twice": shared,
    "tied": lambda: nn.Sequential(nn.Linear(20, 40), nn.ReLU(), Tied(40)),
}


def losses(vectorized, x):
    with vectorized.running(True) as module:
        return (module(x) ** 2).sum((0, 1)).value


@pytest.mark.parametrize("x_has_gradient", [False, True])
@pytest.mark.parametrize("name", MODULES)
def test_gradients_are_those_of_members_alone(name, x_has_gradient):
    torch.manual_seed(0)
    modules = [MODULES[name]().double() for _ in range(K)]
    x = torch.randn(K, ROWS, 20, dtype=torch.float64, requires_grad=x_has_gradient)
    alone = []
    for module, rows in zip(modules, x, strict=True):
        trained = [p for p in module.parameters() if p.requires_grad]
        loss = (module(rows) ** 2).sum()
        alone.append((loss.detach(), [g.clone() for g in torch.autograd.grad(loss, trained, retain_graph=True)]))
    of_x = (
        torch.autograd.grad(sum((m(r) ** 2).sum() for m, r in zip(modules, x, strict=True)), x)
        if x_has_gradient
        else None
    )
    vectorized = VectorizedModules(modules)
    loss = losses(vectorized, Members(x))
    if of_x is not None:
        torch.testing.assert_close(torch.autograd.grad(loss.sum(), x, retain_graph=True), of_x)
    grad = vectorized.gradient(loss)
    for k, (expected, parts) in enumerate(alone):
        torch.testing.assert_close(loss[k].detach(), expected)
        torch.testing.assert_close(list(vectorized.by_name(grad[k]).values()), parts)


def tied():
    shared = nn.Linear(20, 20)
    return nn.Sequential(shared, nn.Tanh(), shared, nn.Tanh(), nn.Linear(20, 1))


class Twice(nn.Module):
    """A chain that gets its own outputs."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 20), nn.Tanh())

    def forward(self, x):
        return self.body(self.body(x))


@pytest.mark.parametrize("made", [narrow, tied, Twice])
def test_gradients_of_gradients(made):
    torch.manual_seed(0)
    module = made().double()
    x = torch.randn(K, ROWS, 20, dtype=torch.float64, requires_grad=True)

    def penalty(loss, leaves):
        first = torch.autograd.grad(loss, [x, *leaves], create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), leaves)

    expected = penalty((module(x[0]) ** 2).sum(), [*module.parameters()])
    vectorized = VectorizedModules([module, *(made().double() for _ in range(K - 1))])
    found = penalty(losses(vectorized, Members(x)).sum(), [*vectorized.leaves.values()])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a[0], b)


def test_a_gradient_that_others_hold_is_not_written_to():
    vectorized = VectorizedModules([nn.Sequential(nn.Linear(20, 16), nn.ReLU()) for _ in range(K)])
    held = torch.randn(K, ROWS, 16)
    before = held.clone()
    with vectorized.running(True) as module:
        out = module(Members(torch.randn(K, ROWS, 20))).value
    torch.autograd.grad(out, [*vectorized.leaves.values()], held)
    assert torch.equal(held, before)


def n_chains(module):
    with chains.chained(module):
        return sum("forward" in vars(part) for part in module.modules())


class OtherLinear(nn.Linear):
    pass


def test_only_plain_modules_are_chained():
    def perceptron():
        return nn.Sequential(nn.Linear(2, 2), nn.ReLU())

    assert n_chains(nn.ModuleList([perceptron(), perceptron()])) == 2
    assert n_chains(nn.Sequential(OtherLinear(2, 2), nn.ReLU())) == 0
    for register in ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"):
        module = perceptron()
        getattr(module, register)(lambda *_: None)
        assert n_chains(module) == 0
        module = perceptron()
        getattr(module[0], register)(lambda *_: None)
        assert n_chains(module) == 0
    module = perceptron()
    module.forward = lambda input: input
    assert n_chains(module) == 1  # its own
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert n_chains(perceptron()) == 0
    finally:
        handle.remove()


def test_modules_are_left_as_they_were():
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(KeyError), chains.chained(module):
        raise KeyError
    assert "forward" not in vars(module)
    x = torch.ones(1, 2)
    with chains.chained(module):
        inside = module(x)  # one member alone, as the first batch is compared
    assert torch.equal(inside, module(x))


def test_a_chain_is_one_step_of_autograd():
    vectorized = VectorizedModules([MODULES["perceptron"]() for _ in range(K)])
    with vectorized.running(True) as module:
        out = module(Members(torch.randn(K, ROWS, 20)))
    assert type(out._units.grad_fn).__name__ == "_LayersBackward"


def test_activations_that_are_computed_again():
    modules = [Checkpointed() for _ in range(K)]
    x = torch.randn(K, ROWS, 20)
    expected = []
    for module, rows in zip(modules, x, strict=True):
        expected.append([g.clone() for g in torch.autograd.grad((module(rows) ** 2).sum(), [*module.parameters()])])
    vectorized = VectorizedModules(modules)
    with vectorized.running(True) as module:
        grad = vectorized.gradient((module(Members(x)) ** 2).sum((0, 1)).value)
    for k, parts in enumerate(expected):
        torch.testing.assert_close(list(vectorized.by_name(grad[k]).values()), parts)


class Checkpointed(Twice):
    """A chain whose activations are not kept, but computed again for the backward pass."""

    def forward(self, x):
        return checkpoint(self.body, x, use_reentrant=False)


def test_networks_that_compute_in_a_narrower_dtype():
    modules = [nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3)) for _ in range(K)]
    x = torch.randn(K, ROWS, 20)
    expected = []
    for module, rows in zip(modules, x, strict=True):
        with torch.autocast("cpu", torch.bfloat16):
            out = module(rows)
        expected.append([g.clone() for g in torch.autograd.grad((out.float() ** 2).sum(), [*module.parameters()])])
    vectorized = VectorizedModules(modules)
    with torch.autocast("cpu", torch.bfloat16), vectorized.running(True) as module:
        out = module(Members(x))
    grad = vectorized.gradient((out.value.float() ** 2).sum((1, 2)))
    assert out.dtype is torch.bfloat16
    for k, parts in enumerate(expected):
        torch.testing.assert_close(list(vectorized.by_name(grad[k]).values()), parts, rtol=0.1, atol=0.1)
