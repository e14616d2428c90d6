"""Small networks with attention."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class Function(nn.Module):
    """Parts, and a function of them and the input."""

    def __init__(self, forward, **parts):
        super().__init__()
        self._forward = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *x):
        return self._forward(self, *x)


class Gpt(nn.Module):
    """A small decoder whose head is its embedding."""

    def __init__(self, n_layers=2, width=12, n_heads=3, n_tokens=11, length=6, tied=True):
        super().__init__()
        self.n_heads = n_heads
        self.tokens, self.places = nn.Embedding(n_tokens, width), nn.Embedding(length, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * n_layers))
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(n_layers))
        self.proj = nn.ModuleList(nn.Linear(width, width) for _ in range(n_layers))
        self.up = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(n_layers))
        self.down = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(n_layers))
        self.last = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_tokens, bias=False)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, ids):
        n, length = ids.shape
        x = self.tokens(ids) + self.places(torch.arange(length))
        for i, qkv in enumerate(self.qkv):
            h = self.norms[2 * i](x)
            q, k, v = (p.view(n, length, self.n_heads, -1).transpose(1, 2) for p in qkv(h).chunk(3, -1))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.proj[i](y.transpose(1, 2).reshape(n, length, -1))
            x = x + self.down[i](F.gelu(self.up[i](self.norms[2 * i + 1](x))))
        return self.head(self.last(x))


def own_attention():
    """Attention by hand, with the axis of the three projections in the middle."""

    def forward(m, x):
        n, length, _ = x.shape
        q, k, v = m.qkv(m.stem(x)).reshape(n, length, 3, 2, 4).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(4), -1)
        return m.out((weights @ v).transpose(1, 2).flatten(2))

    return Function(forward, stem=nn.Linear(3, 5), qkv=nn.Linear(5, 24), out=nn.Linear(8, 2))


def reversed_heads():
    """Each head attends to the one at the other end: no head moves, and all order their channels alike."""

    def forward(m, x):
        heads = m.a(x).unflatten(-1, (3, 4)).transpose(1, 2)
        return m.b(F.scaled_dot_product_attention(heads, heads.flip(1), heads).transpose(1, 2).flatten(2))

    return Function(forward, a=nn.Linear(3, 12), b=nn.Linear(12, 2))


def grouped_queries():
    """Four heads of queries share two of keys and values."""

    def forward(m, x):
        n, length, _ = x.shape
        x = m.stem(x)
        q = m.q(x).view(n, length, 4, 3).transpose(1, 2)
        k, v = (p(x).view(n, length, 2, 3).transpose(1, 2) for p in (m.k, m.v))
        k, v = (t[:, :, None].expand(n, 2, 2, length, 3).reshape(n, 4, length, 3) for t in (k, v))
        y = F.scaled_dot_product_attention(q, k, v)
        return m.out(y.transpose(1, 2).reshape(n, length, 12))

    return Function(
        forward, stem=nn.Linear(3, 5), q=nn.Linear(5, 12), k=nn.Linear(5, 6), v=nn.Linear(5, 6), out=nn.Linear(12, 2)
    )


class CrossAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 8), nn.Linear(4, 6)
        self.attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True)
        self.out = nn.Linear(8, 2)

    def forward(self, x, context):
        b = self.b(context)
        y, weights = self.attention(self.a(x), b, b)
        return {"y": self.out(y), "weights": weights}


def encoder(norm_first):
    layer = nn.TransformerEncoderLayer(12, 3, 10, batch_first=True, norm_first=norm_first)
    stack = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return nn.Sequential(nn.Linear(3, 12), stack, nn.Linear(12, 2))
