"""How long commands take to start, beside Python itself, ``import torch`` and mergekit.

Each command runs in a process of its own; all take turns, so that other programs disturb all alike. The median of the
repeats is shown, the least, and the least processor time, which other programs disturb less. Help must not wait for
torch or scikit-learn, and a merge waits for torch alone: ``skfusion merge`` here merges two files of one tensor, so
that its time is that until it is ready, and the ratio to ``import torch`` says what it adds.

    python benchmarks/bench_startup.py [--repeats 7] [--mergekit PYTHON]
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import safetensors.torch
import torch

import skfusion
from skfusion.pool import Member, ModelPool

HELP, READY, PACKAGE = 1.0, 1.5, 0.03
"""Seconds that are asked for: of any help, until a merge is done, and of the package above Python."""


def commands(folder, mergekit):
    """Return the words of each command, and the seconds that it may take, if any are asked for."""
    files = [folder / f"{k}.safetensors" for k in range(2)]
    for k, file in enumerate(files):
        safetensors.torch.save_file({"w": torch.full((2,), float(k))}, file)
    pool = folder / "pool"
    ModelPool([Member(f"m{k}", {"w": torch.full((2,), float(k))}) for k in range(2)]).save(pool)
    ours = [sys.executable, "-m", "skfusion"]
    merged = folder / "merged.safetensors"
    found = {
        'python -c "pass"': ([sys.executable, "-c", "pass"], None),
        'python -c "import skfusion"': ([sys.executable, "-c", "import skfusion"], PACKAGE),
        'python -c "import torch"': ([sys.executable, "-c", "import torch"], None),
        "skfusion --help": ([*ours, "--help"], HELP),
    }
    for name in ("compare", "diagnose", "merge", "pool"):
        found[f"skfusion {name} --help"] = ([*ours, name, "--help"], HELP)
    found["skfusion merge, of two small files"] = ([*ours, "merge", *files, "-o", merged, "--force"], READY)
    found["skfusion pool ls, of two members"] = ([*ours, "pool", "ls", pool], None)
    if mergekit:
        code = "from mergekit.scripts.merge_raw_pytorch import main; main()"
        found["mergekit-pytorch --help"] = ([mergekit, "-c", code, "--help"], None)
    return found


def timed(words):
    """Return how long a command takes, and the processor time of it."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def processor():
    """Return the name of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--mergekit", help="a Python that has mergekit")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    print(f"skfusion {skfusion.__version__}, torch {torch.__version__}, Python {platform.python_version()}; ", end="")
    print(f"{processor()}, {os.cpu_count()} cores, load at the start {load}; median of {args.repeats}.\n")
    with tempfile.TemporaryDirectory() as place:
        programs = commands(Path(place), args.mergekit)
        times = {name: [] for name in programs}
        for _ in range(args.repeats):
            for name, (words, _) in programs.items():
                times[name].append(timed(words))
    bare = median(wall for wall, _ in times['python -c "pass"'])
    print("| command | median, s | least, s | processor, s | asked |\n|---|---|---|---|---|")
    for name, (_, asked) in programs.items():
        walls, used = zip(*times[name], strict=True)
        above = bare if asked == PACKAGE else 0.0
        good = asked is not None and median(walls) - above <= asked
        verdict = "" if asked is None else f"{asked}: {'met' if good else '**missed**'}"
        print(f"| {name} | {median(walls):.2f} | {min(walls):.2f} | {min(used):.2f} | {verdict} |")


if __name__ == "__main__":
    main()
