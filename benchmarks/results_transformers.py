# ruff: noqa: E501
"""Write docs/results/transformers.md: barriers between small transformers, under permutations and under all symmetries.

The digits come with scikit-learn, the text (the help topics of ``pydoc_data``) with Python: nothing is downloaded.

    python benchmarks/results_transformers.py [--pairs 3] [--parts vit gpt] [--cache DIR] [--out docs/results]
"""

import argparse
import os
import platform
import time
from collections import Counter
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
from skfusion.align import LearnedTransformerMatching, TransformerMatching, WeightMatching
from skfusion.landscape import excess
from skfusion.objective import Batch, ModuleObjective
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


def ends_of(part, make, batches, seed, cache):
    """Return two states, trained from seeds of their own, or as they were kept."""
    out = []
    for k in (2 * seed, 2 * seed + 1):
        kept = cache / f"{part}-{k}.pt" if cache else None
        state = torch.load(kept) if kept and kept.exists() else trained(make, batches, k)
        if kept:
            torch.save(state, kept)
        out.append(state)
    return out


def pair(part, make, batches, x, y, seed, cache):
    """Return what was measured for two networks."""
    a, b = ends = ends_of(part, make, batches, seed, cache)
    net = make().eval()
    plain = symmetry_of(net, x[:4])
    begin = time.perf_counter()
    general = symmetry_of(net, x[:4], general=True)
    found = {"found": time.perf_counter() - begin, "kinds": dict(Counter(general.kinds.values()))}
    rows = {"nothing": line(net, a, b, x, y)}
    begin = time.perf_counter()
    moved = WeightMatching()(b, a, plain).apply(b)
    rows["permutations"] = line(net, a, moved, x, y) | {"seconds": time.perf_counter() - begin}
    forms = [canonicalise(state, general) for state in ends]
    moved = WeightMatching()(forms[1], forms[0], plain).apply(forms[1])
    rows["permutations, of canonical forms"] = line(net, forms[0], moved, x, y)
    generator = torch.Generator().manual_seed(seed)
    objective = ModuleObjective(
        net,
        lambda: (Batch(*rows) for rows in batches(generator)),
        criterion=lambda out, batch: F.cross_entropy(out.flatten(0, -2), batch.y.flatten()),
    )
    for name, align in {
        "all symmetries": TransformerMatching(),
        "all symmetries, learned": LearnedTransformerMatching(),
    }.items():
        begin = time.perf_counter()
        alignments = align.align_all(ends, general, objective)
        moved = [alignment.apply(state) for alignment, state in zip(alignments, ends, strict=True)]
        rows[name] = line(net, *moved, x, y) | {"seconds": time.perf_counter() - begin}
        gap = max(abs(judged(net, s, x, y)[0] - judged(net, m, x, y)[0]) for s, m in zip(ends, moved, strict=True))
        found["function"] = max(found.get("function", 0), gap)
    print(part, seed, {name: round(row["barrier"], 3) for name, row in rows.items()}, flush=True)
    return found | {"rows": rows}


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


INTRO = """# Transformers: barriers under permutations, and under all symmetries

Two transformers of one architecture, trained from different seeds, differ by more than the order of their units: the residual stream may be
rotated, and queries and keys, values and outputs of each head changed by a matrix and its inverse. Here the loss is followed along the line between
two networks, on held-out rows, 11 points a line, for {pairs} pairs each; a number a pair. The barrier is the largest excess over the line between the
losses of the ends, which stay what they are: all that is moved computes what it did, to {function:.0e} nats in single precision.
"""

NOTES = """*Permutations* are those of `WeightMatching` (git re-basin), of the states as they are and of their canonical forms (gains of norms folded, streams
centred, balanced heads). *All symmetries* is `TransformerMatching`, which needs no data; *learned* is `LearnedTransformerMatching` with 200 mini-batches of
the training rows, which turns the stream and the heads further to lower the loss on the line. The members keep their architecture throughout.
"""


def several(pairs, name, key, form):
    """Return a number of each pair."""
    return ", ".join(format(p["rows"][name][key], form) for p in pairs)


def table(pairs):
    """Return the table of one part."""
    lines = [
        "| matched by | barrier, nats | accuracy of the ends, % | of the middle, % | distance | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in pairs[0]["rows"].items():
        seconds = several(pairs, name, "seconds", ".1f") if "seconds" in row else ""
        ends, middle = (", ".join(f"{100 * p['rows'][name][key]:.1f}" for p in pairs) for key in ("ends", "middle"))
        lines.append(
            f"| {name} | {several(pairs, name, 'barrier', '.2f')} | {ends} | {middle} | {several(pairs, name, 'distance', '.0f')} | {seconds} |"
        )
    return "\n".join(lines)


def verdict(pairs):
    """Return in words what became of the barrier."""
    means = {name: np.mean([p["rows"][name]["barrier"] for p in pairs]) for name in pairs[0]["rows"]}
    before, ordered, general, learned = (
        means[n] for n in ("nothing", "permutations", "all symmetries", "all symmetries, learned")
    )
    lower = sum(p["rows"]["all symmetries"]["barrier"] < p["rows"]["permutations"]["barrier"] for p in pairs)
    return (
        f"The mean barrier is {before:.2f} nats before, {ordered:.2f} after permutations, {general:.2f} after all symmetries by weights, which is lower in "
        f"{lower} of {len(pairs)} pairs, and {learned:.2f} after they are learned: {100 * (1 - learned / before):.0f} % of it is gone."
    )


def write(found, out):
    """Write the page."""
    everything = [p for pairs in found.values() for p in pairs]
    text = [INTRO.format(pairs=len(next(iter(found.values()))), function=max(p["function"] for p in everything))]
    for part, pairs in found.items():
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(pairs[0]["kinds"].items()))
        text.append(f"## {PARTS[part][1]}\n\n{table(pairs)}\n\n{verdict(pairs)}\n")
        text.append(f"Groups of units: {kinds}; found and proved in {np.median([p['found'] for p in pairs]):.1f} s.\n")
    text.append(NOTES)
    text.append(
        "## How it was made\n\n```sh\npython benchmarks/results_transformers.py\n```\n\n"
        f"Python {platform.python_version()}, torch {torch.__version__}, skfusion {skfusion.__version__}, one thread of {os.cpu_count()} cores. Seeds are 0, 1, 2...; none was chosen.\n"
    )
    (out / "transformers.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
