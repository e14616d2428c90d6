"""Functions between two linear layers that ask much of labels, and the sizes of the groups that are left."""

import torch
from torch import nn
from tracing.networks import between


def scatter_add(x):
    return torch.zeros_like(x).scatter_add(1, torch.tensor([[0, 1, 0, 1, 2, 2]]).expand(len(x), -1), x)


def set_items(x):
    out = torch.zeros(len(x), 6, dtype=x.dtype)
    out[:, :2] = x[:, 4:]
    out[:, 2:] = x[:, :4] * 2
    return out


# Functions between two linear layers of six units, and the sizes of the groups that are left.
ADVERSARIAL = {
    "flip": (lambda: between(lambda x: x.flip(1)), [6]),
    "sum with flip": (lambda: between(lambda x: x + x.flip(1)), []),
    "roll": (lambda: between(lambda x: x.roll(2, 1)), [6]),
    "roll twice": (lambda: between(lambda x: x.roll(1, 1) * x), []),
    "cumsum": (lambda: between(lambda x: x.cumsum(1)), []),
    "sort": (lambda: between(lambda x: x.sort(1)[0]), [6]),
    "top": (lambda: between(lambda x: x.topk(3, 1)[0], 6, 3), [6]),
    "order of sort": (lambda: between(lambda x: x.sort(1)[1].to(x.dtype)), []),
    "argmax": (lambda: between(lambda x: x * x.argmax(1, keepdim=True)), []),
    "max": (lambda: between(lambda x: x - x.max(1, keepdim=True)[0]), [6]),
    "scatter": (lambda: between(scatter_add), []),
    "set items": (lambda: between(set_items), [2, 4]),
    "slices": (lambda: between(lambda x: torch.cat([x[:, 2:], x[:, :2].relu()], 1)), [2, 4]),
    "strided slice": (lambda: between(lambda x: x[:, ::2] * x[:, 1::2], 6, 3), [3]),
    "fixed permutation": (lambda: between(lambda x: x[:, [3, 1, 5, 0, 2, 4]]), [6]),
    "fixed selection": (lambda: between(lambda x: x[:, [3, 1, 5]], 6, 3), [3, 3]),
    "halves": (lambda: between(lambda x: x.view(-1, 2, 3).sum(1), 6, 3), [2, 3]),
    "interleaved": (lambda: between(lambda x: x.view(-1, 2, 3).transpose(1, 2).reshape(-1, 6)), [2, 3]),
    "softmax": (lambda: between(lambda x: x.softmax(1)), [6]),
    "constant mask": (lambda: between(lambda x: x * torch.tensor([1.0, 1, 0, 1, 0, 1]).to(x.dtype)), []),
    "outer product": (lambda: between(lambda x: (x[:, :, None] * x[:, None]).flatten(1), 6, 36), []),
    "lower triangle": (lambda: between(lambda x: (x[:, :, None] * x[:, None]).tril().flatten(1), 6, 36), []),
    "repeat": (lambda: between(lambda x: x.repeat(1, 2), 6, 12), [6]),
    "normalised": (lambda: between(lambda x: x / x.norm(dim=1, keepdim=True)), [6]),
    "distances": (lambda: between(lambda x: torch.diff(x, dim=1), 6, 5), []),
    "gather": (lambda: between(lambda x: x.gather(1, torch.tensor([[0, 0, 1, 2, 5, 5]]).expand(len(x), -1))), []),
    "response norm": (
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.LocalResponseNorm(3), nn.Conv2d(6, 2, 3), nn.AvgPool2d(4)),
        [],
    ),
    "noise": (lambda: between(lambda x: x + torch.randn_like(x)), []),
}
