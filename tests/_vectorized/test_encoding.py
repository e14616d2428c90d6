"""A layer of encoded numbers is computed for many members as for one, whatever number of them fits into the cache."""

import pytest
import torch
from _vectorized.loop import TOLERANCE, assert_like_the_loop
from torch import nn

from skfusion._vectorized import Members, VectorizedModules, encoded

each_dtype = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["float64", "float32"])


class Encoding(nn.Module):
    """Piecewise-linear functions of two columns in three bins, of which the last column has two."""

    def __init__(self, n_units=4):
        super().__init__()
        self.register_buffer("edges", torch.tensor([[-1.0, 0.0, 1.0], [-0.5, 0.5, 0.0]]) + 0.1 * torch.rand(2, 3))
        self.register_buffer("inverse_widths", torch.tensor([[1.0, 1.0, 0.5], [1.0, 2.0, 0.0]]))
        self.curves, self.head = nn.Linear(6, n_units, bias=False), nn.Linear(n_units, 3)

    def forward(self, z):
        return self.head(self.curves(encoded(z, self.edges, self.inverse_widths)).relu())


def by_hand(z, edges, inverse_widths):
    """Return the share of each bin below each number, by a loop."""
    shares = [
        [min(1.0, max(0.0, (float(x) - float(b)) * float(w))) for b, w in zip(edges[c], inverse_widths[c], strict=True)]
        for row in z
        for c, x in enumerate(row)
    ]
    return torch.tensor(shares, dtype=z.dtype).view(len(z), -1)


def members_of(n, dtype=torch.float32):
    """Return the first n modules, of which each has its seed."""
    modules = []
    for k in range(n):
        torch.manual_seed(k)
        modules.append(Encoding().to(dtype))
    return modules


def gradient_of(n, z):
    """Return the gradients of the first n members, each for its own numbers."""
    vectorized = VectorizedModules(members_of(n))
    rows = z[[*range(n)] * (2 if n == 1 else 1)]
    with vectorized.running(True) as module:
        return vectorized.gradient((module(Members(rows)) ** 2).mean((0, 1)).value)[:n]


def test_shares_are_those_of_a_loop():
    module, z = Encoding().double(), 2 * torch.randn(20, 2, dtype=torch.float64)
    found = encoded(z, module.edges, module.inverse_widths)
    torch.testing.assert_close(found, by_hand(z, module.edges, module.inverse_widths))
    assert found.eq(0).any()
    assert found.eq(1).any()
    assert (found.gt(0) & found.lt(1)).any()


@each_dtype
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("at_a_time", [1, 10**6])
def test_members_are_computed_as_a_loop_does(training, at_a_time, dtype, monkeypatch):
    monkeypatch.setattr("skfusion._vectorized._encoding._IN_CACHE", at_a_time)
    z = 2 * torch.randn(3, 11, 2, dtype=dtype)
    assert_like_the_loop(Encoding, dtype, z, training=training)  # of the inputs, too, which need other steps
    modules, grads = members_of(5, dtype), []
    rows = 2 * torch.randn(5, 11, 2, dtype=dtype)
    for module, x in zip(modules, rows, strict=True):
        grads.append(torch.autograd.grad((module(x) ** 2).mean(), [*module.parameters()]))
    vectorized = VectorizedModules(modules)
    with vectorized.running(training) as module:
        grad = vectorized.gradient((module(Members(rows)) ** 2).mean((0, 1)).value)
    for k, of_member in enumerate(grads):
        for a, b in zip(vectorized.by_name(grad[k]).values(), of_member, strict=True):
            torch.testing.assert_close(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("at_a_time", [1, 600, 10**6])
def test_a_member_does_not_depend_on_the_number_of_the_others(at_a_time, monkeypatch):
    monkeypatch.setattr("skfusion._vectorized._encoding._IN_CACHE", at_a_time)
    z = 2 * torch.randn(13, 11, 2)
    whole = gradient_of(13, z)
    assert whole[:, :24].abs().sum(1).gt(0).all()
    for n in (1, 2, 3, 5, 8):
        assert torch.equal(gradient_of(n, z), whole[:n])


def test_no_encoding_of_all_members_is_kept_for_the_backward_pass():
    vectorized, kept = VectorizedModules(members_of(5)), []
    z = torch.randn(5, 100, 2)
    with (
        vectorized.running(True) as module,
        torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t),
    ):
        vectorized.gradient((module(Members(z)) ** 2).mean((0, 1)).value)
    assert torch.Size([5, 100, 2]) in kept
    assert not [shape for shape in kept if shape.numel() >= 5 * 100 * 6]
