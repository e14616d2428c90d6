# ruff: noqa: E501
"""What it takes to transport the units of one network to those of another, beside POT and the package sinkhorn-rebasin.

Pairs of perceptrons 64-n-n-10 on the digits, trained from two seeds; and a copy of the first whose units are in another
order, for which the distance that is left should be 0. A time is the least processor time of some repeats of one whole
call, on one thread; the barrier is the excess of the held-out loss halfway over the mean of the ends.

The others run where ``--peer`` names a Python that has POT and sinkhorn-rebasin, in an environment of its own: POT's
solvers in the layer loop of the OTFusion paper, restated with arrays, and as many steps of sinkhorn-rebasin as of ours.

    python benchmarks/bench_transport.py [--widths 64 128 256 512] [--repeats 3] [--steps 30] [--peer /path/to/python]
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from skfusion.align import OTFusion, SinkhornRebasin, WeightMatching
from skfusion.objective import Batch, ModuleObjective
from skfusion.state import distance
from skfusion.tracing import symmetry_of

PEER = """
import json, sys, time
import numpy as np
path, kind, steps, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
start = time.process_time()
if kind == "sinkhorn-rebasin":
    import torch
    from torch import nn
    torch.set_num_threads(1)
    from rebasin import RebasinNet
    from rebasin.loss import DistL2Loss
else:
    import ot
imported = time.process_time() - start
data = dict(np.load(path))
layers = [k.removesuffix(".weight") for k in data if k.endswith(".weight") and k.startswith("a:")]
layers = [k.removeprefix("a:") for k in layers]

def fused():
    into, out = None, {}
    for i, name in enumerate(layers):
        w, bias, ref, ref_bias = (data[f"{s}:{name}.{t}"].astype(float) for s in "ba" for t in ("weight", "bias"))
        w = w if into is None else w @ into
        if i < len(layers) - 1:
            cost = ot.dist(np.column_stack([w, bias]), np.column_stack([ref, ref_bias]), metric="euclidean")
            a, b = ot.unif(len(w)), ot.unif(len(ref))
            plan = ot.emd(a, b, cost, numItermax=10**7) if kind == "emd" else ot.sinkhorn(a, b, cost, 0.02 * cost.mean(), method="sinkhorn_log", numItermax=1000, stopThr=1e-6, warn=False)
            make, into = (plan / b).T, plan / a[:, None]
            w, bias = make @ w, make @ bias
        out[f"{name}.weight"], out[f"{name}.bias"] = w, bias
    return out

def learned():
    torch.manual_seed(0)
    size = {k: data[f"a:{k}.weight"].shape for k in layers}
    def net(which):
        parts = [m for k in layers for m in (nn.Linear(*size[k][::-1]), nn.ReLU())][:-1]
        module = nn.Sequential(*parts)
        module.load_state_dict({f"{k}.{t}": torch.tensor(data[f"{which}:{k}.{t}"]) for k in layers for t in ("weight", "bias")})
        return module
    pi, loss = RebasinNet(net("b"), input_shape=(1, size[layers[0]][1])), DistL2Loss(net("a"))
    pi.identity_init()
    optimizer = torch.optim.AdamW(pi.p.parameters(), lr=0.1)
    pi.train()
    for _ in range(steps):
        optimizer.zero_grad()
        loss(pi()).backward()
        optimizer.step()
    pi.eval()
    return {k: v.detach().numpy() for k, v in pi().state_dict().items()}

times = []
for _ in range(repeats):
    start = time.process_time()
    found = learned() if kind == "sinkhorn-rebasin" else fused()
    times.append(time.process_time() - start)
np.savez(path, **found)
print(json.dumps({"seconds": min(times), "import": imported}))
"""


def trained(x, y, width, seed):
    """Return a trained perceptron."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(20):
        for i in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[i]), y[i]).backward()
            optimizer.step()
    return net.eval()


def least(call, repeats):
    """Return what a call gives, and its least seconds."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        found = call()
        times.append(time.process_time() - start)
    return found, min(times)


def ours(steps):
    """Return the aligners by name."""
    return {
        "WeightMatching()": WeightMatching(),
        "OTFusion()": OTFusion(),
        "OTFusion(cost='activations')": OTFusion(cost="activations"),
        "OTFusion(masses='importance')": OTFusion(masses="importance"),
        "OTFusion(reg=0.02)": OTFusion(reg=0.02),
        f"SinkhornRebasin(n_steps={steps})": SinkhornRebasin(n_steps=steps),
        f"SinkhornRebasin('midpoint', n_steps={steps})": SinkhornRebasin("midpoint", n_steps=steps),
    }


def of_peer(python, kind, a, b, steps, repeats):
    """Return the state that another package gives, its seconds, and those of its import."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "states.npz")
        np.savez(path, **{f"a:{k}": t.numpy() for k, t in a.items()}, **{f"b:{k}": t.numpy() for k, t in b.items()})
        call = [python, "-c", PEER, str(path), kind, str(steps), str(repeats)]
        run = subprocess.run(
            call, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        if run.returncode:
            return None, run.stderr.strip().splitlines()[-1], 0.0
        told = json.loads(run.stdout.splitlines()[-1])
        found = np.load(path)
        return {k: torch.tensor(found[k]).to(a[k]) for k in a}, told["seconds"], told["import"]


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--peer")
    args = parser.parse_args()
    torch.set_num_threads(1)
    x, y = (torch.tensor(v) for v in load_digits(return_X_y=True))
    x, n = (x / 16).float(), 1200
    loss = nn.functional.cross_entropy
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread\n")
    print(
        "| width | aligner | seconds | barrier | distance of the pair | of a permuted copy |\n|---|---|---|---|---|---|"
    )
    for width in args.widths:
        net, other = (trained(x[:n], y[:n], width, seed) for seed in range(2))
        a, b = net.state_dict(), other.state_dict()
        symmetry = symmetry_of(net, x[:4])
        copy = symmetry.permute(symmetry.sample(0), a)
        rows = [Batch(x[i], y[i]) for i in torch.arange(n).split(200)]
        data = ModuleObjective(net, lambda rows=rows: rows, criterion=lambda out, batch: loss(out, batch.y))

        def held_out(state, net=net):
            with torch.no_grad():
                return float(loss(torch.func.functional_call(net, state, (x[n:],)), y[n:]))

        ends = (held_out(a) + held_out(b)) / 2

        def line(name, seconds, moved, back, a=a, ends=ends, width=width, held_out=held_out):
            barrier = held_out({k: (a[k] + moved[k]) / 2 for k in a}) - ends
            print(
                f"| {width} | {name} | {seconds:.3f} | {barrier:.3f} | {distance(moved, a):.2f} | {distance(back, a):.2g} |",
                flush=True,
            )

        line("none", 0.0, b, copy)
        for name, align in ours(args.steps).items():
            found, seconds = least(partial(align, b, a, symmetry, data), args.repeats)
            line(name, seconds, found.apply(b), align(copy, a, symmetry, data).apply(copy))
        for kind in ("emd", "sinkhorn", "sinkhorn-rebasin") if args.peer else ():
            moved, seconds, imported = of_peer(args.peer, kind, a, b, args.steps, args.repeats)
            if moved is None:
                print(f"| {width} | {kind} | {seconds} | | | |")
                continue
            back, *_ = of_peer(args.peer, kind, a, copy, args.steps, 1)
            shown = kind if kind == "sinkhorn-rebasin" else f"POT's {kind} in a loop over layers"
            line(f"{shown} (import {imported:.1f} s)", seconds, moved, back)


if __name__ == "__main__":
    main()
