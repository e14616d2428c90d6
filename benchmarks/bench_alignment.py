# ruff: noqa: E501
"""What it takes to find the symmetry of a network and to match the units of two, beside the package rebasin.

The second network is the first one with its units in a random order, so that the right match is known: distance 0. All
parameters with one axis, and BatchNorm's statistics, are perturbed first. Random weights, torchvision's architectures,
one thread. A time is that of one whole call, in seconds of the processor, which other programs disturb less than those
of a clock. With ``--others`` the second network is one of another random seed, of which no match is near. ``--growth``
fits the slope of the time in the number of parameters, over widths of one network.

rebasin takes part where ``--rebasin`` names a Python that has it and torchvision, in an environment of its own. It is
given up after ``--limit`` seconds; its networks have neutral BatchNorm statistics, as it does not move them.

    python benchmarks/bench_alignment.py --planted 20
    python benchmarks/bench_alignment.py --growth
    python benchmarks/bench_alignment.py --others --names resnet18 mobilenet_v2
    python benchmarks/bench_alignment.py [--repeats 3] [--rebasin /path/to/python] [--limit 330] [--quick]
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torchvision

import skfusion
from skfusion.align import WeightMatching
from skfusion.state import distance
from skfusion.tracing import symmetry_of

ASKED = {"resnet18": 10, "resnet50": 10, "efficientnet_b0": 8, "vit_b_16": 10, "mobilenet_v2": 3}
"""How many times sooner than rebasin a match is asked to be done."""
NAMES = [
    *("resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0", "shufflenet_v2_x1_0", "vit_b_16"),
    *("convnext_tiny", "swin_t", "densenet121", "vgg11"),
]
QUICK = ["resnet18", "mobilenet_v2"]

OF_REBASIN = """
import json, sys, time, torch, torchvision
from rebasin import PermutationCoordinateDescent
torch.set_num_threads(1)
name, path = sys.argv[1:]
a, b = (torchvision.models.get_model(name, weights=None).eval() for _ in range(2))
first, second = torch.load(path, weights_only=True)
a.load_state_dict(first), b.load_state_dict(second)
x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    before = b(x)
start = time.process_time()
found = PermutationCoordinateDescent(a, b, x)
traced = time.process_time() - start
start = time.process_time()
found.rebasin()
matched = time.process_time() - start
with torch.no_grad():
    off = float((b(x) - before).abs().max() / before.abs().max())
total = sum(float((p - q).square().sum()) for p, q in zip(a.parameters(), b.parameters()))
size = sum(float(p.square().sum()) for p in a.parameters())
print(json.dumps({"traced": traced, "matched": matched, "distance": (total / size) ** 0.5, "output": off}))
"""


def transformer(width):
    """Return a vision transformer of four layers."""
    return torchvision.models.VisionTransformer(224, 32, 4, 4, width, 4 * width)


WIDTHS = {
    "mobilenet_v2": (lambda width: torchvision.models.mobilenet_v2(width_mult=width), (0.5, 1.0, 2.0, 4.0)),
    "transformer": (transformer, (192, 384, 768, 1536)),
}
"""How to make a network of a width, and widths of which each has about four times the parameters of the last."""


def network(make, seed=0):
    """Return a network with random weights, by its name or what makes it; its outputs depend on all of them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = (torchvision.models.get_model(make, weights=None) if isinstance(make, str) else make()).eval()
        with torch.no_grad():
            for p in module.parameters():
                if p.dim() == 1 or p.abs().max() == 0:
                    p.add_(0.1 * torch.randn_like(p))
            for key, b in module.named_buffers():
                if key.endswith("running_mean"):
                    b.add_(0.1 * torch.randn_like(b))
                if key.endswith("running_var"):
                    b.mul_(1 + 0.5 * torch.rand_like(b))
    return module


def seconds(call):
    """Return what a call gives, and how long the processor takes for it."""
    start = time.process_time()
    found = call()
    return found, time.process_time() - start


def peak_of(name):
    """Return by how many states the peak memory of this process grows in a match."""

    def status(key):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))

    module = network(name)
    symmetry = symmetry_of(module, torch.randn(1, 3, 224, 224), verify=False)
    a = module.state_dict()
    b = symmetry.permute(symmetry.sample(1), a)
    size = sum(t.numel() * t.element_size() for t in a.values())
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = status("VmRSS")
    WeightMatching()(b, a, symmetry)
    return (status("VmHWM") - before) / size + 2  # the two states were there


def recovered(name, n):
    """Return how many of n random elements are recovered to a relative distance of 1e-5."""
    module = network(name)
    symmetry = symmetry_of(module, torch.randn(1, 3, 224, 224), verify=False)
    a = module.state_dict()
    size = distance(a, {k: torch.zeros_like(v) for k, v in a.items()})
    count = 0
    for seed in range(n):
        b = symmetry.permute(symmetry.sample(seed), a)
        count += distance(WeightMatching(random_state=seed)(b, a, symmetry).apply(b), a) <= 1e-5 * size
    return count


def growth(repeats):
    """Print how long networks of several widths take, and the slopes in the number of parameters."""
    print("| network | parameters | with proof | match | distance |\n|---|---|---|---|---|")
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    for name, (make, widths) in WIDTHS.items():
        sizes, times = [], []
        for width in widths:
            module = network(partial(make, width))
            proofs = [seconds(lambda m=module: symmetry_of(m, x)) for _ in range(repeats)]
            symmetry, a = proofs[0][0], module.state_dict()
            b = symmetry.permute(symmetry.sample(1), a)
            matches = [seconds(partial(WeightMatching(), b, a, symmetry)) for _ in range(repeats)]
            sizes.append(sum(p.numel() for p in module.parameters()))
            times.append([min(t for _, t in runs) for runs in (proofs, matches)])
            cells = (
                f"{sizes[-1]:,} | {times[-1][0]:.2f} | {times[-1][1]:.3f} | {distance(matches[0][0].apply(b), a):.1g}"
            )
            print(f"| {name} {width} | {cells} |", flush=True)
        slopes = np.polyfit(np.log(sizes), np.log(times), 1)[0]
        print(f"| {name} | slope | {slopes[0]:.2f} | {slopes[1]:.2f} | |", flush=True)


def others(names):
    """Print how long networks of another random seed take to match, and how near they come."""
    print("| network | sweeps | match | distance before | after |\n|---|---|---|---|---|")
    x = torch.randn(1, 3, 224, 224)
    for name in names:
        module = network(name)
        a, b = module.state_dict(), network(name, 1).state_dict()
        symmetry = symmetry_of(module, x, verify=False)
        found, taken = seconds(partial(WeightMatching(), b, a, symmetry))
        before, after = distance(b, a), distance(found.apply(b), a)
        print(f"| {name} | {len(found.history) - 2} | {taken:.2f} | {before:.3f} | {after:.3f} |", flush=True)


def rebasin_of(python, name, a, b, limit):
    """Return what rebasin takes and finds, or why there is nothing."""
    path = Path(tempfile.gettempdir()) / f"rebasin-{name}.pt"
    torch.save((a, b), path)
    try:
        done = subprocess.run(
            [python, "-W", "ignore", "-c", OF_REBASIN, name, str(path)],
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"none in {limit} s"
    finally:
        path.unlink()
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["failed"])[-1][:60]
    return json.loads(done.stdout.strip().splitlines()[-1])


def neutral(state):
    """Return a state with neutral BatchNorm statistics."""
    neutral_of = {"running_mean": torch.zeros_like, "running_var": torch.ones_like}
    return {k: next((f(v) for end, f in neutral_of.items() if k.endswith(end)), v) for k, v in state.items()}


def main():
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rebasin", help="a Python that has rebasin")
    parser.add_argument("--limit", type=int, default=330)
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--planted", type=int, help="only count how many of so many random elements are recovered")
    parser.add_argument("--growth", action="store_true", help="only fit slopes over widths")
    parser.add_argument("--others", action="store_true", help="only match networks of other random seeds")
    parser.add_argument("--quick", action="store_true", help="two networks, once: whether it runs")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.peak_of:
        print(peak_of(args.peak_of))
        return
    if args.planted:
        for name in args.names:
            print(f"{name}: {recovered(name, args.planted)} of {args.planted} recovered", flush=True)
        return
    if args.growth:
        growth(args.repeats)
        return
    if args.others:
        others(args.names)
        return
    if args.quick:
        args.names, args.repeats = QUICK, 1
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__}, skfusion "
        f"{skfusion.__version__}; {torch.get_num_threads()} thread; median of {args.repeats}. Seconds of the processor.\n"
    )
    print(
        "| network | groups | forward | trace | with proof | match | distance | memory, states | rebasin trace + match | distance | its output is off by | gain | asked |"
    )
    print("|---" * 13 + "|")
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    for name in args.names:
        module = network(name)
        with torch.no_grad():
            module(x)
            forward = median(seconds(lambda m=module: m(x))[1] for _ in range(args.repeats))
        trace = median(seconds(lambda m=module: symmetry_of(m, x, verify=False))[1] for _ in range(args.repeats))
        symmetry, proof = seconds(lambda m=module: symmetry_of(m, x))
        a = module.state_dict()
        b = symmetry.permute(symmetry.sample(1), a)
        matches = [seconds(partial(WeightMatching(), b, a, symmetry)) for _ in range(args.repeats)]
        match = median(t for _, t in matches)
        rest = distance(matches[0][0].apply(b), a) / distance(a, {k: torch.zeros_like(v) for k, v in a.items()})
        command = [sys.executable, __file__, "--peak-of", name]
        memory = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        cells = ["", "", "", ""]
        if args.rebasin:
            c = neutral(a)
            other = rebasin_of(args.rebasin, name, c, symmetry.permute(symmetry.sample(1), c), args.limit)
            if isinstance(other, str):
                cells = [other, "", "", ""]
            else:
                gain = other["matched"] / match
                judged = f" ({'yes' if gain >= ASKED[name] else 'no'})" if name in ASKED else ""
                cells = [
                    f"{other['traced']:.2f} + {other['matched']:.2f}",
                    f"{other['distance']:.2g}",
                    f"{other['output']:.0e}",
                    f"{gain:.1f}x{judged}",
                ]
        asked = f"{ASKED[name]}x" if name in ASKED else ""
        print(
            f"| {name} | {len(symmetry.groups)} | {forward:.2f} | {trace:.2f} | {proof:.2f} | {match:.2f} | {rest:.1g} | {memory:.2f} | "
            + " | ".join([*cells, asked])
            + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()
