"""Operations for programs on tensors whose axes all have units: what labels of several axes must get right."""

import torch
import torch.nn.functional as F
from torch import nn
from tracing.programs import LAYERS, Table, binary, even, op, pick

TENSORS = {}


def _along(f, condition=lambda n: True):
    """A step along an axis that is drawn."""

    def make(program, draw, values):
        i = pick(draw, values)
        axis = draw.randrange(1, values[i].dim())
        return (lambda m, v: f(v[i], axis)) if condition(values[i].shape[axis]) else None

    return make


def _two_axes(f):
    def make(program, draw, values):
        i = pick(draw, values)
        a, b = sorted(draw.sample(range(1, values[i].dim()), 2))
        return lambda m, v: f(v[i], a, b)

    return make


def _weight(make_shape, apply):
    """A step with a parameter whose shape follows from the value."""

    def make(program, draw, values):
        i = pick(draw, values)
        shape = make_shape(draw, values[i])
        if shape is None:
            return None
        k = program.add(Table(*shape))
        return lambda m, v: apply(v[i], m.parts[k].table)

    return make


def _some_axes(draw, value):
    return [n if draw.random() < 0.5 else 1 for n in value.shape[1:]]


def _batch_of_matrices(draw, value):
    return (value.shape[-2], value.shape[-1], draw.choice((2, 3, 4))) if value.dim() >= 4 else None


TENSORS |= {
    "linear": LAYERS["linear"],
    "scaled": _weight(_some_axes, torch.mul),
    "shifted": _weight(_some_axes, torch.add),
    "matrices": _weight(_batch_of_matrices, lambda x, w: torch.einsum("...hd,hde->...he", x, w)),
    "transposed": _two_axes(torch.transpose),
    "flattened": _along(lambda x, a: x.flatten(a, a + 1) if a + 1 < x.dim() else x.flatten(a - 1, a) if a > 1 else x),
    "cut, inner": _along(lambda x, a: x.unflatten(a, (-1, 2)), lambda n: n in (4, 6, 8, 12)),
    "cut, outer": _along(lambda x, a: x.unflatten(a, (2, -1)), lambda n: n in (4, 6, 8, 12)),
    "softmax": _along(lambda x, a: 3 * x.softmax(a)),
    "sum": _along(lambda x, a: x.sum(a)),
    "maximum": _along(lambda x, a: x.amax(a)),
    "centred": _along(lambda x, a: x - x.mean(a, keepdim=True)),
    "normalised": _along(lambda x, a: F.normalize(x, dim=a)),
    "first": _along(lambda x, a: x.select(a, 0)),
    "half": _along(lambda x, a: x.chunk(2, a)[0], even),
    "tail": _along(lambda x, a: x.narrow(a, 1, x.shape[a] - 1), lambda n: n > 2),
    "flip": _along(lambda x, a: x.flip(a)),
    "cumulative": _along(lambda x, a: x.cumsum(a)),
    "repeated": _along(lambda x, a: torch.cat([x, x.tanh()], a)),
    "doubled": _along(lambda x, a: torch.stack([x, x.relu()], a)),
    "spread": _along(lambda x, a: x.unsqueeze(a).expand(*x.shape[:a], 2, *x.shape[a:])),
    "tanh": LAYERS["tanh"],
    "relu": LAYERS["relu"],
    "layer norm": LAYERS["layer norm"],
    "add": binary(torch.add),
    "multiply": binary(torch.mul),
}


class Along(nn.Module):
    """A linear layer along an axis that need not be the last."""

    def __init__(self, axis, n, width):
        super().__init__()
        self.axis, self.layer = axis, nn.Linear(n, width)

    def forward(self, x):
        return self.layer(x.movedim(self.axis, -1)).movedim(-1, self.axis)


@op(TENSORS)
def linear_along(program, draw, values):
    i = pick(draw, values)
    axis = draw.randrange(1, values[i].dim())
    k = program.add(Along(axis, values[i].shape[axis], draw.choice((2, 3, 4, 6, 8))))
    return lambda m, v: m.parts[k](v[i])


@op(TENSORS)
def products(program, draw, values):
    """A product of matrices, in batches where there are more axes."""
    i, j = pick(draw, values), pick(draw, values)
    a, b = values[i], values[j]
    if a.dim() != b.dim() or a.shape[:-2] != b.shape[:-2]:
        return None
    if a.shape[-1] == b.shape[-2]:
        return lambda m, v: v[i] @ v[j]
    return (lambda m, v: v[i] @ v[j].mT) if a.shape[-1] == b.shape[-1] else None


@op(TENSORS)
def outer(program, draw, values):
    """All products of two values that share an axis."""
    i, j = pick(draw, values), pick(draw, values)
    if values[i].dim() != 3 or values[j].dim() != 3 or values[i].shape[1] != values[j].shape[1]:
        return None
    return lambda m, v: v[i].unsqueeze(-1) * v[j].unsqueeze(-2)


@op(TENSORS)
def attention(program, draw, values):
    """Attention among values with heads."""
    i, j = pick(draw, values), pick(draw, values)
    a, b = values[i], values[j]
    if a.dim() != 4 or b.dim() != 4 or a.shape[1] != b.shape[1] or a.shape[3] != b.shape[3]:
        return None
    return lambda m, v: F.scaled_dot_product_attention(v[i], v[j], v[j].tanh())


@op(TENSORS)
def convolved(program, draw, values):
    """A convolution with groups along the second axis."""
    i = pick(draw, values)
    n = values[i].shape[1]
    if values[i].dim() not in (3, 4) or n % 2:
        return None
    kind = nn.Conv1d if values[i].dim() == 3 else nn.Conv2d
    k = program.add(kind(n, draw.choice((2, 4, 6)), 1, groups=draw.choice((1, 2))))
    return lambda m, v: m.parts[k](v[i])


@op(TENSORS)
def broadcast(program, draw, values):
    """A value times what another one sums to."""
    i, j = pick(draw, values), pick(draw, values)
    if values[i].shape != values[j].shape:
        return None
    axis = draw.randrange(1, values[i].dim())
    return lambda m, v: v[i] * v[j].mean(axis, keepdim=True)


@op(TENSORS)
def projected(program, draw, values):
    """Channels of heads, of few sizes so that many fit one another."""
    i = pick(draw, values)
    if values[i].dim() != 3:
        return None
    n_heads, width = draw.choice((2, 3)), draw.choice((2, 3))
    k = program.add(nn.Linear(values[i].shape[-1], n_heads * width))
    if draw.random() < 0.7:
        return lambda m, v: m.parts[k](v[i]).unflatten(-1, (n_heads, width)).transpose(1, 2)
    return lambda m, v: m.parts[k](v[i]).unflatten(-1, (width, n_heads))


@op(TENSORS)
def joined(program, draw, values):
    """Heads become channels again."""
    i = pick(draw, values)
    if values[i].dim() != 4:
        return None
    return lambda m, v: v[i].transpose(1, 2).flatten(2)
