"""Programs: recorded once, they compute for other inputs what the function computes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from skfusion.stacked import Members, NotRecordableError, Program, lent

W = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


def values(n):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(n))


RECORDED = {
    "a layer": lambda x: F.relu(F.linear(x, W)),
    "twice": lambda x: (x @ W.T) * (x @ W.T + 1),
    "constants": lambda x: x + (W.sum() * 2).exp(),
    "shapes": lambda x: x.reshape(x.shape[0], -1).mT.flatten() / x.size(1),
    "scalars": lambda x: 1 - x.square().mean(dim=1) / 2,
}


@pytest.mark.parametrize("function", RECORDED.values(), ids=RECORDED)
def test_a_program_computes_other_inputs(function):
    program = Program(function, values(5))
    other = torch.randn(5, 3)
    assert torch.equal(program(other), function(other))
    assert torch.equal(program(values(5)), function(values(5)))


def test_what_does_not_depend_on_the_input_is_computed_once():
    calls = []

    def function(x):
        calls.append(1)
        return x @ (W * W.sum()).T

    program = Program(function, values(2))
    program(values(2))
    assert calls == [1]
    assert len(program._steps) == 1  # the product with x


def test_members_are_recorded_by_their_kernels():
    modules = [nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)) for _ in range(3)]
    tensors = {k: Members(torch.stack([m.state_dict()[k] for m in modules])) for k in modules[0].state_dict()}

    def function(x):
        with torch.no_grad(), lent(modules[0], tensors) as module:
            return module(x).value

    program = Program(function, values(2))
    other = torch.randn(2, 3)
    expected = torch.stack([m(other) for m in modules])
    torch.testing.assert_close(program(other), expected.detach())


REFUSED = {
    "in place": (lambda x: (x + 1).add_(x), "in place"),
    "written": (lambda x: torch.add(x, 1, out=torch.empty(2, 3)), "in place"),
    "values": (lambda x: x * (2 if x.sum().item() > 0 else 1), "reads values"),
    "truth": (lambda x: x if (x > 0).all() else -x, "reads values"),
    "lists": (lambda x: torch.cat([x, x]), "in lists or by name"),
    "names": (lambda x: torch.add(W[0], other=x), "in lists or by name"),
    "several": (lambda x: x.max(dim=1).values, "reads values|several"),
    "no input": (lambda x: W * 2, "does not depend"),
    "vmap": (lambda x: torch.cumsum(Members(x[None]), 1).value, "vmap"),
    "a rule that declines": (lambda x: F.linear(Members(x[None]), W).value, "vmap"),
}


@pytest.mark.parametrize(("function", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_program_cannot_repeat_is_refused(function, message):
    with pytest.raises(NotRecordableError, match=message):
        Program(function, values(2))
