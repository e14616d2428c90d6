"""Random network programs: a few values, and operations that make new ones of them.

A program is a list of steps with the parts that they need. It is drawn by running it, so every step fits; an operation
that does not apply to a value gives None, and another one is drawn.
"""

import random

import torch
import torch.nn.functional as F
from torch import nn

WIDTHS = (2, 3, 4, 6, 8, 12)
LAYERS = {}
"""Operations on rows of units, as in ordinary networks."""
FREQUENT = 4 * ["projected", "products", "attention"] + 2 * ["softmax", "add", "multiply", "matrices"]
"""Drawn more often, for they make and use axes that depend on one another."""


class Program(nn.Module):
    """The sum of the last values, each read by a linear layer of its own."""

    def __init__(self, seed, ops, n_steps=8):
        super().__init__()
        self.parts, self.steps = nn.ModuleList(), []
        draw = random.Random(seed)
        torch.manual_seed(seed)
        values = [self.example()]
        while len(self.steps) < n_steps:
            step = self._drawn(draw, ops, values)
            if step is not None:
                self.steps.append(step)
                values.append(step[0](self, values).detach())
        self.heads = nn.ModuleList(nn.Linear(v.shape[-1], 3) for v in values[-3:])

    def example(self):
        return torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))

    def _drawn(self, draw, ops, values):
        name = draw.choice(sorted(ops) + FREQUENT) if len(values) > 1 else "linear"
        if name not in ops:
            return None
        n_parts = len(self.parts)
        step = ops[name](self, draw, values)
        out = None
        if step is not None:
            with torch.no_grad():
                out = step(self, values)
        if out is None or not _useful(out):
            del self.parts[n_parts:]
            return None
        return step, name

    def add(self, part):
        self.parts.append(part)
        return len(self.parts) - 1

    def forward(self, x):
        values = [x]
        for step, _ in self.steps:
            values.append(step(self, values))
        read = [head(v).tanh().flatten(1, -2).sum(1) for head, v in zip(self.heads, values[-3:], strict=True)]
        return sum(read)


def _useful(value):
    sizes = value.shape[1:]
    return (
        2 <= len(sizes) <= 4 and 0 < value.numel() <= 3000 and bool(torch.isfinite(value).all()) and value.std() > 1e-2
    )


def pick(draw, values):
    return draw.randrange(max(len(values) - 4, 1 if len(values) > 1 else 0), len(values))


def unary(f, condition=lambda n: True):
    def make(program, draw, values):
        i = pick(draw, values)
        return (lambda m, v: f(v[i])) if condition(values[i].shape[-1]) else None

    return make


def binary(f):
    def make(program, draw, values):
        i, j = pick(draw, values), pick(draw, values)
        return (lambda m, v: f(v[i], v[j])) if values[i].shape == values[j].shape else None

    return make


def layer(build, condition=lambda n: True):
    def make(program, draw, values):
        i = pick(draw, values)
        n = values[i].shape[-1]
        if not condition(n):
            return None
        k = program.add(build(draw, n))
        return lambda m, v: m.parts[k](v[i])

    return make


def op(table):
    """Register the maker of a step."""

    def register(f):
        table[f.__name__.strip("_")] = f
        return f

    return register


class Channels(nn.Module):
    """A layer for which channels come second."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.transpose(1, 2)).transpose(1, 2)


class Recurrent(nn.GRU):
    """The outputs alone."""

    def __init__(self, n, width):
        super().__init__(n, width, batch_first=True)

    def forward(self, x):
        return super().forward(x)[0]


def even(n):
    return n % 2 == 0


LAYERS |= {
    "linear": layer(lambda draw, n: nn.Linear(n, draw.choice(WIDTHS))),
    "square": layer(lambda draw, n: nn.Linear(n, n)),
    "layer norm": layer(lambda draw, n: nn.LayerNorm(n), lambda n: n > 2),
    "batch norm": layer(lambda draw, n: Channels(nn.BatchNorm1d(n))),
    "group norm": layer(lambda draw, n: Channels(nn.GroupNorm(2, n)), even),
    "convolution": layer(lambda draw, n: Channels(nn.Conv1d(n, draw.choice(WIDTHS), 3, padding=1))),
    "grouped convolution": layer(lambda draw, n: Channels(nn.Conv1d(n, draw.choice((4, 6, 8)), 1, groups=2)), even),
    "depthwise convolution": layer(lambda draw, n: Channels(nn.Conv1d(n, n, 3, padding=1, groups=n))),
    "gated unit": layer(lambda draw, n: Recurrent(n, draw.choice((3, 4)))),
    "scaled": layer(lambda draw, n: Scale(n)),
    "add": binary(torch.add),
    "multiply": binary(torch.mul),
    "subtract": binary(torch.sub),
    "relu": unary(torch.relu),
    "tanh": unary(torch.tanh),
    "softmax": unary(lambda x: 3 * x.softmax(-1)),
    "flip": unary(lambda x: x.flip(-1)),
    "roll": unary(lambda x: x.roll(1, -1)),
    "first half": unary(lambda x: x[..., : x.shape[-1] // 2], even),
    "second half": unary(lambda x: x[..., x.shape[-1] // 2 :], even),
    "every other": unary(lambda x: x[..., ::2], even),
    "gate": unary(lambda x: F.glu(x, -1), even),
    "interleave": unary(lambda x: x.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2), even),
    "fold": unary(lambda x: x.unflatten(-1, (2, -1)).sum(-2), even),
    "pairwise maximum": unary(lambda x: x.unflatten(-1, (-1, 2)).amax(-1), even),
    "centred": unary(lambda x: x - x.mean(-1, keepdim=True)),
    "in two normalised parts": unary(lambda x: F.normalize(x.unflatten(-1, (2, -1)), dim=-1).flatten(-2), even),
    "mixed over tokens": unary(lambda x: (x.mT @ x).softmax(-1).matmul(x.mT).mT),
    "over tokens": unary(lambda x: (x @ x.mT).softmax(-1) @ x),
    "last token": unary(lambda x: x[:, -1:].expand_as(x)),
    "cumulative": unary(lambda x: x.cumsum(-1)),
    "sorted": unary(lambda x: x.sort(-1)[0]),
}


class Scale(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(n))

    def forward(self, x):
        return x * self.scale


@op(LAYERS)
def concatenate(program, draw, values):
    i, j = pick(draw, values), pick(draw, values)
    return lambda m, v: torch.cat([v[i], v[j]], -1)


@op(LAYERS)
def stack(program, draw, values):
    i, j = pick(draw, values), pick(draw, values)
    if values[i].shape != values[j].shape:
        return None
    return lambda m, v: torch.stack([v[i], v[j]], -2).flatten(-2)


@op(LAYERS)
def heads(program, draw, values):
    """Attention with two heads."""
    i = pick(draw, values)
    n = values[i].shape[-1]
    if n % 2:
        return None
    k = program.add(nn.Linear(n, 3 * n))

    def step(m, v):
        q, key, value = (t.unflatten(-1, (2, -1)).transpose(1, 2) for t in m.parts[k](v[i]).chunk(3, -1))
        return F.scaled_dot_product_attention(q, key, value).transpose(1, 2).flatten(-2)

    return step


@op(LAYERS)
def reused(program, draw, values):
    """A linear layer that was used before."""
    i = pick(draw, values)
    n = values[i].shape[-1]
    fitting = [k for k, p in enumerate(program.parts) if isinstance(p, nn.Linear) and p.in_features == n]
    if not fitting:
        return None
    k = draw.choice(fitting)
    return lambda m, v: m.parts[k](v[i])


@op(LAYERS)
def transposed(program, draw, values):
    """A linear layer that was used before, the other way round."""
    i = pick(draw, values)
    n = values[i].shape[-1]
    fitting = [k for k, p in enumerate(program.parts) if isinstance(p, nn.Linear) and p.out_features == n]
    if not fitting:
        return None
    k = draw.choice(fitting)
    return lambda m, v: v[i] @ m.parts[k].weight


@op(LAYERS)
def experts(program, draw, values):
    """A mixture of two matrices."""
    i = pick(draw, values)
    n = values[i].shape[-1]
    k = program.add(Table(2, n, draw.choice((3, 4))))
    return lambda m, v: torch.einsum("bti,eio->beto", v[i], m.parts[k].table).tanh().sum(1)


class Table(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.table = nn.Parameter(torch.randn(*shape))

    def forward(self):
        return self.table


@op(LAYERS)
def written(program, draw, values):
    """Two values written to the parts of a new one."""
    i, j = pick(draw, values), pick(draw, values)

    def step(m, v):
        a, b = v[i], v[j]
        out = a.new_zeros(*a.shape[:-1], a.shape[-1] + b.shape[-1] + 1)
        out[..., : a.shape[-1]] = a
        out[..., a.shape[-1] + 1 :] = b
        return out

    return step
