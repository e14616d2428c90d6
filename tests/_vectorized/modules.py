"""Small networks that vectorized modules must compute like a loop."""

import torch
from torch import nn


class Scaled(nn.Module):
    """A function, or a layer without parameters, of an input that a parameter has scaled."""

    def __init__(self, f):
        super().__init__()
        self.f, self.scale = f, nn.Parameter(1 + 0.1 * torch.randn(6))

    def forward(self, x):
        return self.f(x * self.scale)


class Weighted(nn.Module):
    """A function of the input and a parameter."""

    def __init__(self, f, *shape):
        super().__init__()
        self.f, self.w = f, nn.Parameter(torch.randn(*shape))

    def forward(self, *x):
        return self.f(*x, self.w)


class Attending(nn.Module):
    """Self-attention with options of its call."""

    def __init__(self, dropout=0.0, batch_first=True, n_keys=6, **options):
        super().__init__()
        self.layer = nn.MultiheadAttention(6, 2, dropout, batch_first=batch_first, kdim=n_keys, vdim=n_keys)
        self.n_keys, self.options = n_keys, options

    def forward(self, x):
        key = x[..., : self.n_keys]
        return self.layer(x, key, key, **self.options)


class Tied(nn.Module):
    """Two names of one matrix."""

    def __init__(self, n=6):
        super().__init__()
        self.a, self.b = nn.Linear(n, n), nn.Linear(n, n, bias=False)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(self.a(x).tanh())


class Averaging(nn.Module):
    """Assigns a new tensor to its buffer in every forward pass, as is common, instead of writing into it."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 2)
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return self.head(x - self.mean)


class Table(nn.Module):
    """A module of a dict: categories, numbers, and two heads."""

    def __init__(self):
        super().__init__()
        self.table, self.norm = nn.Embedding(7, 3, padding_idx=0), nn.LayerNorm(5)
        self.a, self.b = nn.Linear(5, 2), nn.Linear(5, 1)

    def forward(self, batch):
        x = self.norm(torch.cat([self.table(batch["code"]), batch["number"]], dim=-1))
        return {"a": self.a(x), "b": (self.b(x).squeeze(-1), x)}


def conv1d():
    parts = nn.Conv1d(2, 4, 3, padding=1), nn.BatchNorm1d(4), nn.ReLU(), nn.MaxPool1d(2), nn.AdaptiveAvgPool1d(1)
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(4, 2))


def conv2d():
    parts = nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(1)
    more = nn.Conv2d(4, 4, 1, groups=2), nn.GroupNorm(2, 4), nn.Dropout2d(0.4), nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(*parts, *more, nn.Flatten(), nn.Linear(4, 2))


def encoder(**options):
    return nn.TransformerEncoderLayer(6, 2, 8, **{"dropout": 0.3, "batch_first": True, **options})


def in_place(x, w):
    x = x * 1
    x += w
    x *= 2
    x[:, 0] = 0
    x[:, 1] -= w[0]
    return x
