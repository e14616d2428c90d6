"""Programs: recorded once, they compute for other inputs what the function computes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from skfusion._vectorized import Members, NotRecordableError, Program, lent

W = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


def values(n):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(n))


RECORDED = {
    "a layer": lambda x: F.relu(F.linear(x, W)),
    "twice": lambda x: (x @ W.T) * (x @ W.T + 1),
    "constants": lambda x: x + (W.sum() * 2).exp(),
    "shapes": lambda x: x.reshape(x.shape[0], -1).mT.flatten() / x.size(1),
    "scalars": lambda x: 1 - x.square().mean(dim=1) / 2,
    "a constant index": lambda x: x[:, [0, 2, 1]] * x[..., W[0] > -9],
    "written, but not to the input": lambda x: F.relu(x * 2, inplace=True) + 1,
    "written by position": lambda x: F.leaky_relu(x * 2, 0.1, True) + 1,
    "read after it was written": lambda x: (lambda z: F.relu(z, inplace=True) + z)(x * 2),
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


def set_item(x):
    x[:, 0] = 1
    return x


def augmented(sums, x):
    sums += x
    return sums


REFUSED = {
    "in place": (lambda x: (x + 1).add_(x), "in place"),
    "written": (lambda x: torch.add(x, 1, out=torch.empty(2, 3)), "in place"),
    "out": (lambda x: x + torch.mul(W[:2], 2, out=torch.empty(2, 3)), "in place"),
    "an item": (lambda x: set_item(x * 1), "in place"),
    "augmented": (lambda x: augmented(torch.zeros(2, 3), x), "in place"),
    "values": (lambda x: x * (2 if x.sum().item() > 0 else 1), "item may depend on values"),
    "truth": (lambda x: x if (x > 0).all() else -x, "__bool__ may depend on values"),
    "counts": (lambda x: x.sum(1) / x.nonzero().shape[0], "nonzero may depend on values"),
    "distinct values": (lambda x: x * x.unique().numel(), "unique may depend on values"),
    "a mask": (lambda x: x / len(x[x > 1]), "__getitem__ may depend on values"),
    "a slice": (lambda x: x[:, : (x != 0).sum(1).amax()], "in lists or by name"),
    "an index": (lambda x: W[x[0].argmax()] + x, "__getitem__ may depend on values"),
    "repeated": (lambda x: x[0].repeat_interleave((x[0] > 0).long()), "may depend on values"),
    "numbers": (lambda x: x * float(x.detach().numpy().sum()), "may depend on values"),
    "rows": (lambda x: x + sum(row.sum() for row in x), "may depend on values"),
    "where": (lambda x: x[torch.where(x[:, 0] > 0)], "where may depend on values"),
    "lists": (lambda x: torch.cat([x, x]), "in lists or by name"),
    "names": (lambda x: torch.add(W[0], other=x), "in lists or by name"),
    "several": (lambda x: x.max(dim=1).values, "max may depend on values"),
    "no input": (lambda x: W * 2, "does not depend"),
    "vmap": (lambda x: torch.cumsum(Members(x[None]), 1).value, "vmap"),
    "a rule that declines": (lambda x: F.linear(Members(x[None]), W).value, "vmap"),
}


@pytest.mark.parametrize(("function", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_program_cannot_repeat_is_refused(function, message):
    with pytest.raises(NotRecordableError, match=message):
        Program(function, values(2))
