# ruff: noqa: E501
"""Write docs/results/transformers.md: barriers between small transformers, under permutations and under all symmetries.

The digits come with scikit-learn, the text (the help topics of ``pydoc_data``) with Python: nothing is downloaded.

    python benchmarks/results_transformers.py [--pairs 3] [--parts vit gpt] [--cache DIR] [--out docs/results]
"""

import argparse
import json
import math
import os
import platform
import time
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

import skfusion
from skfusion.align import TransformerMatching, WeightMatching
from skfusion.landscape import excess
from skfusion.state import distance, weighted_sum
from skfusion.symmetry import canonicalise
from skfusion.tracing import symmetry_of

POINTS = np.linspace(0, 1, 11)
CONTEXT = 32


class ViT(nn.Module):
    """A vision transformer of patches of 2 x 2 pixels, made of torch's own layers."""

    def __init__(self, width=32, heads=4, depth=2, n_classes=10):
        super().__init__()
        self.patches = nn.Linear(4, width)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.places = nn.Parameter(0.02 * torch.randn(1, 17, width))
        layer = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        self.blocks = nn.Sequential(
            *(nn.TransformerEncoderLayer(width, heads, 4 * width, **layer) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_classes)

    def forward(self, x):
        x = x.reshape(-1, 4, 2, 4, 2).transpose(2, 3).reshape(-1, 16, 4)
        x = torch.cat([self.token.expand(len(x), -1, -1), self.patches(x)], 1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


class Attention(nn.Module):
    """Causal attention, written by hand."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a perceptron, each behind a norm and beside a shortcut."""

    def __init__(self, width, heads):
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attention(self.norm_1(x))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class GPT(nn.Module):
    """A decoder that predicts the next character; its embeddings are not tied to its output."""

    def __init__(self, n_symbols, width=48, heads=4, depth=2):
        super().__init__()
        self.symbols, self.places = nn.Embedding(n_symbols, width), nn.Embedding(CONTEXT, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_symbols)

    def forward(self, x):
        x = self.symbols(x) + self.places(torch.arange(x.shape[1], device=x.device))
        return self.head(self.norm(self.blocks(x)))


def digits():
    """Return an architecture, batches to train on, and held-out rows."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = (
        torch.from_numpy(np.asarray(a))
        for a in train_test_split((X / 16).astype("float32"), y, test_size=500, stratify=y, random_state=0)
    )

    def batches(generator):
        for _ in range(60):
            yield from ((X[i], y[i]) for i in torch.randperm(len(X), generator=generator).split(64))

    return ViT, batches, X_test, y_test


def text():
    """Return an architecture, batches to train on, and held-out rows: all of 32 characters, each with the next one."""
    whole = "".join(topics[name] for name in sorted(topics))
    symbols = {c: i for i, c in enumerate(sorted(set(whole)))}
    codes = torch.tensor([symbols[c] for c in whole])
    train, test = codes[: len(codes) * 9 // 10], codes[len(codes) * 9 // 10 :]

    def batches(generator):
        for _ in range(1500):
            starts = torch.randint(len(train) - CONTEXT, (48, 1), generator=generator)
            rows = train[starts + torch.arange(CONTEXT + 1)]
            yield rows[:, :-1], rows[:, 1:]

    rows = test[: len(test) // (CONTEXT + 1) * (CONTEXT + 1)].reshape(-1, CONTEXT + 1)[:600]
    return lambda: GPT(len(symbols)), batches, rows[:, :-1], rows[:, 1:]


def trained(make, batches, seed):
    """Return the state of a network trained by AdamW with one cycle of the learning rate."""
    torch.manual_seed(seed)
    net, steps = make(), [*batches(torch.Generator().manual_seed(seed))]
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=len(steps))
    for x, y in steps:
        optimizer.zero_grad()
        F.cross_entropy(net(x).flatten(0, -2), y.flatten()).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        cycle.step()
    return {k: v.detach().clone() for k, v in net.state_dict().items()}


@torch.no_grad()
def judged(net, state, x, y):
    """Return loss and accuracy."""
    out = functional_call(net, state, (x,)).flatten(0, -2)
    return float(F.cross_entropy(out, y.flatten())), float((out.argmax(-1) == y.flatten()).float().mean())


def line(net, a, b, x, y):
    """Return the barrier, the accuracy of the ends and of the middle, and the distance."""
    points = [judged(net, weighted_sum([a, b], [1 - t, t]), x, y) for t in POINTS]
    loss, accuracy = (np.array(column) for column in zip(*points, strict=True))
    middle = len(POINTS) // 2
    return {
        "barrier": excess(POINTS, loss),
        "ends": float((accuracy[0] + accuracy[-1]) / 2),
        "loss": float((loss[0] + loss[-1]) / 2),
        "middle": float(accuracy[middle]),
        "distance": distance(a, b),
    }


def pair(part, make, batches, x, y, seed, cache):
    """Return what was measured for two networks."""
    start, ends = time.perf_counter(), []
    for k in (2 * seed, 2 * seed + 1):
        kept = cache / f"{part}-{k}.pt" if cache else None
        if kept is None or not kept.exists():
            state = trained(make, batches, k)
            if kept:
                torch.save(state, kept)
        else:
            state = torch.load(kept)
        ends.append(state)
    seconds = time.perf_counter() - start
    net = make().eval()
    a, b = ends
    begin = time.perf_counter()
    plain = symmetry_of(net, x[:4])
    traced = time.perf_counter()
    general = symmetry_of(net, x[:4], general=True)
    found = {"trained": seconds, "traced": traced - begin, "found": time.perf_counter() - traced, "kinds": general.kinds}
    rows = {"nothing": line(net, a, b, x, y)}
    begin = time.perf_counter()
    moved = WeightMatching()(b, a, plain).apply(b)
    rows["permutations"] = line(net, a, moved, x, y) | {"seconds": time.perf_counter() - begin}
    forms = [canonicalise(state, general) for state in ends]
    rows["nothing, canonical forms"] = line(net, *forms, x, y)
    moved = WeightMatching()(forms[1], forms[0], plain).apply(forms[1])
    rows["permutations, canonical forms"] = line(net, forms[0], moved, x, y)
    begin = time.perf_counter()
    alignments = TransformerMatching().align_all(ends, general)
    moved = [alignment.apply(state) for alignment, state in zip(alignments, ends, strict=True)]
    rows["all symmetries"] = line(net, *moved, x, y) | {"seconds": time.perf_counter() - begin}
    out = found | {"rows": rows, "function": max(abs(judged(net, s, x, y)[0] - judged(net, m, x, y)[0]) for s, m in zip(ends, moved, strict=True))}
    print(part, seed, json.dumps(out, indent=1), flush=True)
    return out


PARTS = {
    "vit": (digits, "Digits: a vision transformer, 2 layers of width 32 with 4 heads, `nn.TransformerEncoderLayer`"),
    "gpt": (text, "Characters of Python's help topics: a decoder, 2 layers of width 48 with 4 heads, written by hand"),
}


def main():
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.cache:
        args.cache.mkdir(parents=True, exist_ok=True)
    found = {}
    for part in args.parts:
        make, batches, x, y = PARTS[part][0]()
        found[part] = [pair(part, make, batches, x, y, seed, args.cache) for seed in range(args.pairs)]
    write(found, args.out)


def write(found, out):
    """Write the page."""


if __name__ == "__main__":
    main()
