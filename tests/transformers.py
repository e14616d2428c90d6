"""Small transformers of many makes, and random states of them."""

import math

import torch
from torch import nn
from torch.nn import functional as F

N_SYMBOLS, N_PLACES, WIDTH, HEADS = 11, 6, 8, 2


class RMSNorm(nn.Module):
    """Root mean square normalisation, written by hand, with any epsilon."""

    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.eps, self.weight = eps, nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class Attention(nn.Module):
    """Attention by torch's function, or spelled out; with rotary positions, or fewer keys than queries."""

    def __init__(self, width, heads=HEADS, bias=True, causal=True, spelled=False, rotary=False, grouped=1):
        super().__init__()
        self.heads, self.size, self.causal, self.spelled, self.rotary = heads, width // heads, causal, spelled, rotary
        self.grouped = grouped
        self.q, self.o = nn.Linear(width, width, bias=bias), nn.Linear(width, width, bias=bias)
        self.k, self.v = (nn.Linear(width, width // grouped, bias=bias) for _ in range(2))

    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (-1, self.size)).transpose(1, 2) for f in (self.q, self.k, self.v))
        if self.rotary:
            q, k = rotated(q), rotated(k)
        if self.spelled:
            scores = q @ k.mT / math.sqrt(self.size)
            if self.causal:
                scores = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -torch.inf)
            y = scores.softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal, enable_gqa=self.grouped > 1)
        return self.o(y.transpose(1, 2).flatten(2))


def rotated(x):
    """Turn pairs of channels by an angle that grows with the position, as RoPE does."""
    n, half = x.shape[-2], x.shape[-1] // 2
    angles = torch.arange(n, dtype=x.dtype)[:, None] * 0.7 ** torch.arange(half, dtype=x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], -1)


class Perceptron(nn.Module):
    """Two layers with GELU or ReLU between, or a gated unit."""

    def __init__(self, width, kind="gelu", bias=True):
        super().__init__()
        self.kind = kind
        self.up, self.down = nn.Linear(width, 12, bias=bias), nn.Linear(12, width, bias=bias)
        if kind == "swiglu":
            self.gate = nn.Linear(width, 12, bias=bias)

    def forward(self, x):
        if self.kind == "swiglu":
            return self.down(F.silu(self.gate(x)) * self.up(x))
        return self.down(F.gelu(self.up(x)) if self.kind == "gelu" else self.up(x).relu())


class Block(nn.Module):
    """Attention and a perceptron, each behind a norm and beside a shortcut."""

    def __init__(self, width, norm, kind, bias=True, **attention):
        super().__init__()
        self.norm_1, self.norm_2 = norm(width), norm(width)
        self.attention = Attention(width, bias=bias, **attention)
        self.mlp = Perceptron(width, kind, bias)

    def forward(self, x):
        x = x + self.attention(self.norm_1(x))
        return x + self.mlp(self.norm_2(x))


class Decoder(nn.Module):
    """Predicts the next of some symbols; LLaMA's make with RMSNorm and gated units, else GPT's."""

    def __init__(self, norm=nn.LayerNorm, kind="gelu", tied=False, bias=True, width=WIDTH, depth=2, **attention):
        super().__init__()
        self.symbols, self.places = nn.Embedding(N_SYMBOLS, width), nn.Embedding(N_PLACES, width)
        self.blocks = nn.Sequential(*(Block(width, norm, kind, bias, **attention) for _ in range(depth)))
        self.norm, self.head = norm(width), nn.Linear(width, N_SYMBOLS, bias=False)
        if tied:
            self.head.weight = self.symbols.weight

    def forward(self, x):
        x = self.symbols(x) + self.places(torch.arange(x.shape[1]))
        return self.head(self.norm(self.blocks(x)))


class Vision(nn.Module):
    """A vision transformer of torch's own layers, on images of 8 x 8 pixels in 4 patches."""

    def __init__(self, width=WIDTH, heads=HEADS, norm_first=True):
        super().__init__()
        self.patches = nn.Linear(16, width)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, 5, width))
        make = {"batch_first": True, "norm_first": norm_first, "activation": "gelu"}
        self.blocks = nn.Sequential(*(nn.TransformerEncoderLayer(width, heads, 12, **make) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 3)

    def forward(self, x):
        x = x.reshape(-1, 2, 4, 2, 4).transpose(2, 3).reshape(-1, 4, 16)
        x = torch.cat([self.token.expand(len(x), -1, -1), self.patches(x)], 1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


MAKES = {
    "gpt": Decoder,
    "gpt without biases": lambda: Decoder(bias=False),
    "gpt spelled out": lambda: Decoder(spelled=True),
    "gpt with relu": lambda: Decoder(kind="relu"),
    "gpt with tied embeddings": lambda: Decoder(tied=True),
    "llama": lambda: Decoder(RMSNorm, "swiglu", bias=False),
    "llama of torch's norm": lambda: Decoder(nn.RMSNorm, "swiglu", bias=False),
    "llama with tied embeddings": lambda: Decoder(RMSNorm, "swiglu", tied=True, bias=False),
    "llama with rotary positions": lambda: Decoder(RMSNorm, "swiglu", bias=False, rotary=True, width=16),
    "llama with grouped keys": lambda: Decoder(RMSNorm, "swiglu", bias=False, heads=4, grouped=2, width=16),
    "vision": Vision,
    "vision with norms behind": lambda: Vision(norm_first=False),
}


def make(name):
    """Return a network in double precision and its inputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = MAKES[name]().double().eval()
        image = torch.randn(3, 8, 8, dtype=torch.float64)
        symbols = torch.randint(0, N_SYMBOLS, (3, N_PLACES))
    return net, image if isinstance(net, Vision) else symbols


def random_state(net, seed):
    """Return a state whose weights are all random: gains of both signs, biases that are not zero."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in net.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
        state[name] = 0.5 * noise if tensor.dim() < 2 else 1.5 * noise / math.sqrt(tensor.shape[-1])
        if tensor.dim() < 2 and "norm" in name and name.endswith("weight"):
            state[name] = 0.3 * noise.sign() + noise
    if getattr(net, "head", None) is not None and hasattr(net, "symbols") and net.head.weight is net.symbols.weight:
        state["head.weight"] = state["symbols.weight"]
    return state


def outputs(net, state, x):
    """Return what a network computes with the weights of a state."""
    with torch.no_grad():
        return torch.func.functional_call(net, state, (x,))


class Tabular(nn.Module):
    """A transformer of the columns of a table: each number scales a vector of its column."""

    def __init__(self, n_columns=4, width=WIDTH):
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.randn(n_columns, width)) for _ in range(2))
        self.block = nn.TransformerEncoderLayer(width, HEADS, 12, batch_first=True, norm_first=True)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.norm(self.block(x[..., None] * self.weight + self.bias)).mean(1))
