"""Small networks with symmetries that are known: the sizes of their groups, those indexed by others written apart."""

import torch
import torch.nn.functional as F
from torch import nn
from tracing.attention import CrossAttention, Function, Gpt, encoder, grouped_queries, own_attention, reversed_heads


def mlp():
    return nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 2))


def mlp_of(layer):
    return nn.Sequential(nn.Linear(3, 7), layer, nn.ReLU(), nn.Linear(7, 2))


def between(f, n_in=6, n_out=None, n_input=3):
    """A function between two linear layers."""
    return Function(lambda m, x: m.b(f(m.a(x))), a=nn.Linear(n_input, n_in), b=nn.Linear(n_out or n_in, 2))


def residual(n_blocks=3):
    def forward(m, x):
        x = m.stem(x)
        for norm, a, b in zip(m.norms, m.a, m.b, strict=True):
            x = x + b(F.gelu(a(norm(x))))
        return m.head(x)

    return Function(
        forward,
        stem=nn.Linear(3, 6),
        norms=nn.ModuleList(nn.LayerNorm(6) for _ in range(n_blocks)),
        a=nn.ModuleList(nn.Linear(6, 9) for _ in range(n_blocks)),
        b=nn.ModuleList(nn.Linear(9, 6) for _ in range(n_blocks)),
        head=nn.Linear(6, 2),
    )


def branches():
    return Function(
        lambda m, x: m.head(torch.cat([m.a(x).relu(), m.b(x).tanh()], -1)),
        a=nn.Linear(3, 4),
        b=nn.Linear(3, 5),
        head=nn.Linear(9, 2),
    )


def tied_autoencoder():
    return Function(
        lambda m, x: F.linear(torch.tanh(m.encoder(x)), m.encoder.weight.t(), m.bias),
        encoder=nn.Linear(5, 4),
        bias=nn.Parameter(torch.randn(5)),
    )


def square_tied():
    """One square matrix used twice: the hidden units of both layers are the same."""
    return Function(
        lambda m, x: m.out(m.w(m.w(m.inp(x)).relu()).relu()),
        inp=nn.Linear(3, 6),
        w=nn.Linear(6, 6),
        out=nn.Linear(6, 2),
    )


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU())
        self.down2 = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.GroupNorm(2, 6), nn.ReLU())
        self.middle = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.GroupNorm(4, 8), nn.SiLU())
        self.up2 = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.dec2 = nn.Sequential(nn.Conv2d(12, 6, 3, padding=1), nn.ReLU())
        self.dec1 = nn.Sequential(nn.Conv2d(10, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.middle(F.max_pool2d(b, 2))
        b = self.dec2(torch.cat([self.up2(c), b], 1))
        return self.dec1(torch.cat([F.interpolate(b, scale_factor=2, mode="bilinear"), a], 1))


def squeeze_excite():
    def forward(m, x):
        x = m.a(x).relu()
        gate = m.up(m.down(F.adaptive_avg_pool2d(x, 1)).relu()).sigmoid()
        return m.b(x * gate).mean((2, 3))

    return Function(forward, a=nn.Conv2d(3, 6, 3), down=nn.Conv2d(6, 4, 1), up=nn.Conv2d(4, 6, 1), b=nn.Conv2d(6, 2, 3))


def channel_shuffle():
    """Two groups whose channels are dealt out to the groups of the next convolution."""

    def forward(m, x):
        x = m.a(m.stem(x)).relu()
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return m.c(m.b(x).relu()).mean((2, 3))

    return Function(
        forward,
        stem=nn.Conv2d(3, 8, 1),
        a=nn.Conv2d(8, 8, 1, groups=2),
        b=nn.Conv2d(8, 8, 3, groups=8),
        c=nn.Conv2d(8, 2, 1),
    )


class Experts(nn.Module):
    """A soft mixture of experts, each a matrix in a stack."""

    def __init__(self, n_experts=3):
        super().__init__()
        self.gate = nn.Linear(4, n_experts)
        self.a = nn.Parameter(torch.randn(n_experts, 4, 5))
        self.b = nn.Parameter(torch.randn(n_experts, 5, 2))

    def forward(self, x):
        h = torch.bmm(x.expand(len(self.a), *x.shape), self.a).relu()
        y = torch.bmm(h, self.b)
        return torch.einsum("be,ebo->bo", self.gate(x).softmax(-1), y)


class LastState(nn.Module):
    """The outputs of a recurrent layer, and its last state, read by linear layers."""

    def __init__(self, layer, width):
        super().__init__()
        self.layer, self.out = layer, nn.Linear(width, 2)

    def forward(self, x):
        return self.out(self.layer(x)[0])


def recurrent(kind, **options):
    width = 5 * (2 if options.get("bidirectional") else 1)
    return LastState(kind(3, 5, batch_first=True, **options), width)


def image(n=2, c=3, size=8):
    return torch.randn(n, c, size, size)


def rows(n=4, d=3):
    return torch.randn(n, d)


def sequence(n=2, length=5, d=3):
    return torch.randn(n, length, d)


# Name: (network, example, sizes of free groups, sizes of groups that others index).
KNOWN = {
    "mlp": (mlp, rows, [5, 7], []),
    "batch norm": (lambda: mlp_of(nn.BatchNorm1d(7)), rows, [7], []),
    "layer norm": (lambda: mlp_of(nn.LayerNorm(7)), rows, [7], []),
    "residual": (residual, rows, [6, 9, 9, 9], []),
    "two branches": (branches, rows, [4, 5], []),
    "tied autoencoder": (tied_autoencoder, lambda: rows(4, 5), [4], []),
    "one matrix twice": (square_tied, rows, [6], []),
    "gpt": (Gpt, lambda: torch.randint(11, (2, 6)), [3, 3, 12, 24, 24], [4, 4, 4, 4]),
    "gpt untied": (lambda: Gpt(tied=False), lambda: torch.randint(11, (2, 6)), [3, 3, 12, 24, 24], [4, 4, 4, 4]),
    "own attention": (own_attention, sequence, [2, 5], [4, 4]),
    "reversed heads": (reversed_heads, sequence, [4], []),
    "grouped queries": (grouped_queries, sequence, [2, 5], [2, 3, 3]),
    "cross attention": (CrossAttention, lambda: (sequence(), torch.randn(2, 4, 4)), [2, 6, 8, 8], [4, 4]),
    "encoder, norm first": (lambda: encoder(True), sequence, [3, 3, 10, 10, 12], [4, 4, 4, 4]),
    "encoder, norm last": (lambda: encoder(False), sequence, [3, 3, 10, 10, 12], [4, 4, 4, 4]),
    "lstm": (lambda: recurrent(nn.LSTM), sequence, [5], []),
    "gru": (lambda: recurrent(nn.GRU), sequence, [5], []),
    "rnn": (lambda: recurrent(nn.RNN), sequence, [5], []),
    "lstm of two layers": (lambda: recurrent(nn.LSTM, num_layers=2), sequence, [5, 5], []),
    "lstm with projection": (lambda: LastState(nn.LSTM(3, 5, proj_size=4, batch_first=True), 4), sequence, [4, 5], []),
    "gru of two directions": (lambda: recurrent(nn.GRU, bidirectional=True), sequence, [5, 5], []),
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 2)
        ),
        image,
        [4, 5],
        [],
    ),
    "depthwise": (
        lambda: nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, groups=6), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 1)),
        image,
        [6],
        [],
    ),
    "grouped": (
        lambda: nn.Sequential(
            nn.Conv1d(3, 8, 3), nn.ReLU(), nn.Conv1d(8, 12, 3, groups=4), nn.ReLU(), nn.Conv1d(12, 2, 3)
        ),
        lambda: torch.randn(2, 3, 9),
        [4],
        [2, 3],
    ),
    "grouped transposed": (
        lambda: nn.Sequential(
            nn.Conv1d(3, 8, 3), nn.ReLU(), nn.ConvTranspose1d(8, 12, 3, groups=4), nn.ReLU(), nn.Conv1d(12, 2, 3)
        ),
        lambda: torch.randn(2, 3, 9),
        [4],
        [2, 3],
    ),
    "u-net": (UNet, image, [2, 2, 4, 4, 6, 6], [2, 2, 3]),
    "squeeze and excite": (squeeze_excite, image, [4, 6], []),
    "pixel shuffle": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.PixelShuffle(2), nn.Conv2d(2, 2, 3)),
        image,
        [2],
        [],
    ),
    "channel shuffle": (channel_shuffle, image, [2, 4], [4]),
    "glu": (lambda: between(F.glu, 6, 3), rows, [3], []),
    "einsum": (lambda: between(lambda x: torch.einsum("bi,bi->bi", x, x.sigmoid())), rows, [6], []),
    "experts": (Experts, lambda: rows(4, 4), [3], [5]),
    "weight norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 6)), nn.ReLU(), nn.Linear(6, 2)),
        rows,
        [6],
        [],
    ),
    "bilinear": (
        lambda: Function(
            lambda m, x: m.c(m.b(m.a(x), m.a(x))), a=nn.Linear(3, 4), b=nn.Bilinear(4, 4, 5), c=nn.Linear(5, 2)
        ),
        rows,
        [4, 5],
        [],
    ),
    "embedding bag": (
        lambda: nn.Sequential(nn.EmbeddingBag(10, 6), nn.Linear(6, 2)),
        lambda: torch.randint(10, (3, 4)),
        [6],
        [],
    ),
    "patches": (
        lambda: Function(
            lambda m, x: m.b(F.unfold(m.a(x).relu(), 3).transpose(1, 2)), a=nn.Conv2d(3, 4, 1), b=nn.Linear(36, 2)
        ),
        image,
        [4],
        [],
    ),
    "prelu": (lambda: mlp_of(nn.PReLU(7)), rows, [7], []),
}
