"""What merging on disk takes, beside ``cat`` and beside mergekit: memory, time, and the time to start.

N files of one network are averaged, as safetensors and as files of ``torch.save``, in a process of its own. Memory is
the peak of its anonymous memory (RssAnon, looked at every millisecond) over that after the imports: pages of mapped
files do not count, as the system takes them back where memory is short. Times are the least of some repeats, in which
all programs take turns, as other programs only ever add to them; processor time, which they disturb less, is beside.

``cat`` reads the same files, once into nothing and once into a file on the same disk that is synced at the end, as the
merge does. Both are timed with all inputs in the system's cache, and with all of them evicted from it before each run.

mergekit takes part where ``--mergekit`` names a Python that has it (``pip install mergekit``, in an environment of its
own, as it needs transformers). It writes float32 sums and no hashes, and syncs nothing; ours are double sums in a
synced file, with SHA-256 of each input and, beside that, without. Reading at the speed of ``cat`` to a synced file
means: the bytes that are read, over the time until the result is on the disk.

    python benchmarks/bench_merge.py [--counts 2 8 16] [--size 100] [--repeats 5] [--mergekit PYTHON]
        [--kinds safetensors pt] [--tables merges cat starts] [--quick]
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch

import skfusion

KINDS = {"safetensors": 40, "pt": 120}
"""Formats, and how much memory above the imports is asked for at most, in MB."""
ASKED_IMPORT, ASKED_OF_CAT = 2.5, 0.5
WIDTH = 512

PRELUDE = """
import sys, time
from pathlib import Path
start = time.perf_counter()
"""
OURS = (
    PRELUDE
    + """
from skfusion.merge import Uniform
from skfusion.checkpoints import merge_checkpoints

def merge(out, paths):
    merge_checkpoints(paths, Path(out) / "out.safetensors", Uniform(), overwrite=True)
"""
)
NO_HASHES = OURS.replace("overwrite=True", "overwrite=True, hashes=False")
MERGEKIT = (
    PRELUDE
    + """
import logging
logging.disable()
from mergekit.graph import Executor
from mergekit.options import MergeOptions
from mergekit.scripts.merge_raw_pytorch import RawPyTorchMergeConfig, plan_flat_merge

def merge(out, paths):
    models = [{"model": path, "parameters": {"weight": 1.0}} for path in paths]
    config = RawPyTorchMergeConfig.model_validate({"merge_method": "linear", "models": models})
    tasks = plan_flat_merge(config, out, False, False, MergeOptions(lazy_unpickle=LAZY))
    Executor(tasks, math_device="cpu", storage_device="cpu").execute()
"""
)
RUN = """
print(time.perf_counter() - start, flush=True)
sys.stdin.readline()
wall, processor = time.perf_counter(), time.process_time()
merge(sys.argv[1], sys.argv[2:])
print(time.perf_counter() - wall, time.process_time() - processor, flush=True)
sys.stdin.readline()
"""


class Cost(NamedTuple):
    """Seconds of import, of the merge, and of the processor; megabytes above the imports."""

    start: float
    wall: float
    processor: float
    memory: float


def least(costs):
    """Return the least times, and the largest memory."""
    start, wall, processor, memory = zip(*costs, strict=True)
    return Cost(min(start), min(wall), min(processor), max(memory))


def write(folder, n, size):
    """Write n networks of some megabytes in each format."""
    layers = max(1, round(size * 1e6 / 4 / (12 * WIDTH**2)))
    for k in range(n):
        generator, state = torch.Generator().manual_seed(k), {}
        for i in range(layers):
            for name, shape in [("qkv", (3 * WIDTH, WIDTH)), ("out", (WIDTH, WIDTH)), ("up", (4 * WIDTH, WIDTH))]:
                state[f"{i}.{name}.weight"] = torch.randn(shape, generator=generator)
                state[f"{i}.{name}.bias"] = torch.randn(shape[0], generator=generator)
            state[f"{i}.down.weight"] = torch.randn(WIDTH, 4 * WIDTH, generator=generator)
        safetensors.torch.save_file(state, folder / f"{k}.safetensors")
        torch.save(state, folder / f"{k}.pt")


def evict(paths):
    """Take files out of the system's cache."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def fetch(paths):
    """Bring files into the system's cache."""
    subprocess.run(["cat", *paths], stdout=subprocess.DEVNULL, check=True)


def anonymous(pid):
    """Return the anonymous memory of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) * 1024 / 1e6


def cost_of(python, program, out, paths, prepare):
    """Run a program on files and return its cost."""
    out.mkdir(exist_ok=True)
    words = [python, "-c", program + RUN, str(out), *map(str, paths)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, text=True, bufsize=1, **pipes) as child:
        start = float(child.stdout.readline())
        before = peak = anonymous(child.pid)
        prepare(paths)
        with ThreadPoolExecutor(1) as pool:
            child.stdin.write("go\n")
            line = pool.submit(child.stdout.readline)
            while not line.done():
                peak = max(peak, anonymous(child.pid))
                time.sleep(0.001)
        child.stdin.write("end\n")
    shutil.rmtree(out)
    wall, processor = map(float, line.result().split())
    return Cost(start, wall, processor, peak - before)


def cat(paths, prepare, out=None):
    """Return how long ``cat`` of files takes, into nothing or into a file that is synced."""
    prepare(paths)
    start = time.perf_counter()
    with open(os.devnull if out is None else out, "wb") as file:
        subprocess.run(["cat", *paths], stdout=file, check=True)
        if out is not None:
            os.fsync(file.fileno())
    found = time.perf_counter() - start
    if out is not None:
        out.unlink()
    return found


def started(words, repeats):
    """Return the least time that a command takes."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found.append(time.perf_counter() - start)
    return min(found)


def met(good):
    """Say whether a demand is met."""
    return "met" if good else "**missed**"


def table_of_merges(folder, args):
    """Print what merging takes, for each format, number of files and program."""
    programs = {"skfusion": (sys.executable, OURS), "skfusion --no-hash": (sys.executable, NO_HASHES)}
    if args.mergekit:
        programs["mergekit"] = (args.mergekit, MERGEKIT.replace("LAZY", "False"))
        programs["mergekit, lazy_unpickle"] = (args.mergekit, MERGEKIT.replace("LAZY", "True"))
    else:
        print("mergekit does not take part: --mergekit names no Python.\n")
    print("| files | program | peak, MB | asked | wall, s | processor, s | wall / mergekit |")
    print("|---|---|---|---|---|---|---|")
    for kind in args.kinds:
        asked = KINDS[kind]
        for n in args.counts:
            paths = [folder / f"{k}.{kind}" for k in range(n)]
            used = [p for p in programs if kind == "pt" or "lazy" not in p]
            runs = {p: [] for p in used}
            for _ in range(args.repeats):
                for p in used:
                    runs[p].append(cost_of(*programs[p], folder / "out", paths, fetch))
            for p in used:
                c, ours = least(runs[p]), p.startswith("skfusion")
                verdict = f"{asked}: {met(c.memory <= asked)}" if ours else ""
                theirs = min((least(runs[q]).wall for q in used if not q.startswith("skfusion")), default=None)
                ratio = f"{c.wall / theirs:.2f}: {met(c.wall <= theirs)}" if ours and theirs else ""
                print(
                    f"| {n} {kind} | {p} | {c.memory:.0f} | {verdict} | {c.wall:.2f} | {c.processor:.2f} | {ratio} |",
                    flush=True,
                )
    print()


def table_of_cat(folder, args):
    """Print the throughput of merging beside that of ``cat``."""
    print("| safetensors files | inputs | program | GB/s | cat to nothing | cat to a synced file | asked |")
    print("|---|---|---|---|---|---|---|")
    programs = {"skfusion": OURS, "skfusion --no-hash": NO_HASHES}
    for n in args.counts:
        paths = [folder / f"{k}.safetensors" for k in range(n)]
        size = sum(path.stat().st_size for path in paths) / 1e9
        for title, prepare in [("evicted", evict), ("in the cache", fetch)]:
            ours, nothing, copy = {p: [] for p in programs}, [], []
            for _ in range(args.repeats):
                for p, code in programs.items():
                    ours[p].append(cost_of(sys.executable, code, folder / "out", paths, prepare).wall)
                nothing.append(cat(paths, prepare))
                copy.append(cat(paths, prepare, folder / "copy"))
            for p, times in ours.items():
                speed, *others = (size / min(each) for each in (times, nothing, copy))
                cells = " | ".join(f"{other:.2f} ({speed / other:.2f}x)" for other in others)
                verdict = f"half of the second: {met(speed / others[1] >= ASKED_OF_CAT)}"
                print(f"| {n}, {size:.2f} GB | {title} | {p} | {speed:.2f} | {cells} | {verdict} |", flush=True)
    print()


def table_of_starts(folder, args):
    """Print how long the programs take to start."""
    print("| command | seconds | asked |\n|---|---|---|")
    code = "from skfusion.cli import main; main()"
    own = started([sys.executable, "-c", code, "merge", "--help"], args.repeats)
    print(f"| skfusion merge --help | {own:.2f} | {ASKED_IMPORT}: {met(own <= ASKED_IMPORT)} |")
    print(f'| python -c "import torch" | {started([sys.executable, "-c", "import torch"], args.repeats):.2f} | |')
    if args.mergekit:
        code = "from mergekit.scripts.merge_raw_pytorch import main; main()"
        print(f"| mergekit-pytorch --help | {started([args.mergekit, '-c', code, '--help'], args.repeats):.2f} | |")
    print()


def main():
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[2, 8, 16])
    parser.add_argument("--size", type=float, default=100, help="megabytes of a file")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--kinds", nargs="+", default=[*KINDS], choices=[*KINDS])
    parser.add_argument("--tables", nargs="+", default=["merges", "cat", "starts"])
    parser.add_argument("--mergekit", help="a Python that has mergekit")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; the system's temporary one by default")
    parser.add_argument("--quick", action="store_true", help="small files, once: whether it runs")
    args = parser.parse_args()
    if args.quick:
        args.size, args.repeats = 10, 1
    os.environ["OMP_NUM_THREADS"] = "1"
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    print(f"skfusion {skfusion.__version__}, torch {torch.__version__}, Python {platform.python_version()}, ", end="")
    print(f"{os.cpu_count()} cores; load at the start {load}; one thread of torch; {args.size:.0f} MB a file.\n")
    with tempfile.TemporaryDirectory(dir=args.folder) as place:
        folder = Path(place)
        write(folder, max(args.counts), args.size)
        tables = {"merges": table_of_merges, "cat": table_of_cat, "starts": table_of_starts}
        for name in args.tables:
            tables[name](folder, args)


if __name__ == "__main__":
    main()
