"""Thousands of damaged pools and checkpoints: each is refused in one clear line, or read as it was; nothing is lost.

Half of the cases are folders of pools of which a file is changed, cut, lengthened, swapped, replaced by a folder, a
link to itself or a pipe, removed, or edited as JSON. Each is loaded, then written to, and then recovered: whatever is
done, all files of states that were there stay, and every state that is whole is recovered. The other half are
checkpoints: changed at random, or crafted to run code.

    python benchmarks/stress_pool.py [--n 5000] [--seed 0] [--pools]

It prints how many cases ended in which way, and exits with 1 where one ended in a way that it must not.
"""

import argparse
import json
import os
import pickle
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

import skfusion
from skfusion.checkpoints import read_checkpoint
from skfusion.pool import DirectoryStore, Member, ModelPool, PoolFormatError
from skfusion.pool.stores import _writer

SLOW = 10
"""Seconds above which a case is one that must not be."""
FORBIDDEN = {
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess.Popen",
    "socket.connect",
    "shutil.rmtree",
    "os.remove",
}
executed = []
reading = []


def audit(event, args):
    """Note what a file that is read must never lead to."""
    if reading and event in FORBIDDEN:
        executed.append((event, args))


@contextmanager
def watched():
    """Watch what is done while a file is read."""
    reading.append(True)
    signal.alarm(SLOW)
    try:
        yield
    finally:
        signal.alarm(0)
        reading.pop()


class HangsError(Exception):
    """A file is read for ever."""


def hangs(number, frame):
    """End a case that takes too long."""
    raise HangsError


class Evil:
    """Runs code where it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (self.canary,)


# ------------------------------------------------------------------------------------------------------------ mutations


def mutate(path, rng, others):
    """Damage a file, and return what was done to it."""
    data = path.read_bytes()
    kinds = ["flip", "flip", "flip", "cut", "cut", "lengthen", "splice", "empty", "zeros", "swap"]
    kinds += ["remove", "folder", "loop", "pipe"]
    kind = rng.choice(kinds) if data else "lengthen"
    if kind in ("remove", "folder", "loop", "pipe"):
        path.unlink()
        if kind != "remove":
            {"folder": path.mkdir, "loop": lambda: path.symlink_to(path.name), "pipe": lambda: os.mkfifo(path)}[kind]()
        return kind
    place = rng.randrange(max(1, len(data)))
    noise = rng.randbytes(rng.randrange(1, 40))
    path.write_bytes(
        {
            "flip": lambda: data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :],
            "cut": lambda: data[:place],
            "lengthen": lambda: data + noise,
            "splice": lambda: data[:place] + noise + data[place + rng.randrange(40) :],
            "empty": lambda: b"",
            "zeros": lambda: bytes(len(data)),
            "swap": lambda: rng.choice(others).read_bytes(),
        }[kind]()
    )
    return kind


def edit(path, rng):
    """Edit the index as JSON, without a check sum, and return what was done to it."""
    index = json.loads(path.read_text())
    index.pop("check", None)
    entry = rng.choice(index["members"])
    wrong = rng.choice([None, 3, True, [], {}, "x", "../../etc/passwd", 10**400, -1.5, "a" * 5000, {"$float": "x"}])
    part = rng.choice(["state", "rows", "predictions", "name", "score", "meta"])
    kind = rng.choice(["entry", "top", "missing", "twice", "deep", "bytes", "members"])
    if kind == "entry":
        entry[part] = wrong
    elif kind == "top":
        index[rng.choice(["members", "classes", "base", "journal", "kind", "format", "version"])] = wrong
    elif kind == "missing":
        (index if rng.random() < 0.5 else entry).popitem()
    elif kind == "twice":
        index["members"].append(dict(entry))
    elif kind == "members":
        index["members"] = rng.choice([[], {}, None, [None], [[]], ["m1"]])
    if rng.random() < 0.5 and isinstance(index.get("format"), int):
        index["format"] = 1  # in which there was no check sum
    text = json.dumps(index).encode()
    if kind == "deep":
        text = text[:-1] + b', "more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    elif kind == "bytes":
        text = b"\xff\xfe" + text
    path.write_bytes(text)
    return f"JSON, {kind}"


# ---------------------------------------------------------------------------------------------------------------- pools


def make_pools(folder):
    """Write the pools that are damaged: a small one, one with a journal, and one of the older format."""
    rows, p = np.arange(5, dtype=np.uint64), np.full((2, 2), 0.5, np.float32)

    def member(k):
        meta = {"epoch": k, "history": [{"loss": 0.5}, {"loss": float("inf")}]}
        return Member(
            f"m{k}", {"w": torch.full((4,), float(k)), "b": torch.tensor(k)}, k / 7, meta, rows, predictions=p
        )

    ModelPool([member(k) for k in range(3)], {"w": torch.zeros(4)}, ["no", "yes"]).save(folder / "small")
    small, _writer.SMALL = _writer.SMALL, 500
    store = DirectoryStore(folder / "journal")
    for k in range(5):
        store.put(member(k))
    _writer.SMALL = small
    shutil.copytree(folder / "small", folder / "format 1")
    index = json.loads((folder / "format 1" / "pool.json").read_text())
    old = {key: value for key, value in index.items() if key not in ("check", "journal")}
    (folder / "format 1" / "pool.json").write_text(json.dumps({**old, "format": 1}))
    return ["small", "journal", "format 1"]


def told_of(pool):
    """Return all that is known of a pool, to compare."""

    def plain(array):
        return None if array is None else np.asarray(array).tolist()

    def numbers(state):
        return state and [(name, t.dtype, t.tolist()) for name, t in state.items()]

    members = [
        (m.name, numbers(m.state), repr(m.score), repr(m.meta), plain(m.rows), plain(m.predictions)) for m in pool
    ]
    return members, (numbers(pool.base), plain(pool.classes))


def clear(error, path):
    """Return whether an error is one line that names a file or the folder."""
    return "\n" not in str(error) and str(path) in str(error) and len(str(error)) < 1500


def try_pool(path, whole):
    """Load a pool and return what came of it."""
    try:
        with warnings.catch_warnings(record=True) as caught, watched():
            warnings.simplefilter("always")
            found = told_of(ModelPool.load(path))
    except PoolFormatError as error:
        return "refused" if clear(error, path) else f"BAD: not clear: {error}"
    except Exception as error:
        return f"BAD: {type(error).__name__}: {error}"
    if found == whole:
        return "read as it was"
    if caught and all(m in whole[0] for m in found[0]):
        return "read in part, with a warning"
    return "read as another pool"


def pool_case(folder, kinds, wholes, rng):
    """Damage a pool, load it, write to it, recover it; return what came of it."""
    name = rng.choice(kinds)
    path = folder / "case"
    shutil.copytree(folder / name, path)
    files = sorted(p for p in path.iterdir() if p.name != ".pool.lock")
    index = path / "pool.json"
    target = index if rng.random() < 0.4 else rng.choice(files)
    how = edit(index, rng) if rng.random() < 0.3 else mutate(target, rng, files)
    came = try_pool(path, wholes[name])
    if came == "read as another pool":
        # In format 1 an edited or flipped index may be another valid one; there was nothing to tell it by.
        old = json.loads((path / "pool.json").read_bytes()).get("format") == 1
        came = "read as another pool, of format 1" if old else f"BAD: read as another pool ({name}, {how})"
    states = {p.name: p.read_bytes() for p in path.glob("state-*") if p.is_file() and not p.is_symlink()}
    try:
        DirectoryStore(path).put(Member("new", {"w": torch.ones(1)}))
    except Exception as error:
        if not isinstance(error, PoolFormatError) or not clear(error, path):
            came = f"BAD: put: {type(error).__name__}: {error}"
    left = {p.name: p.read_bytes() for p in path.glob("state-*") if p.is_file() and not p.is_symlink()}
    if not states.items() <= left.items():
        came = f"BAD: {len(states.items() - left.items())} states were lost ({name}, {how})"
    intact = [p.name for p in (folder / name).glob("state-*") if states.get(p.name) == p.read_bytes()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = ModelPool.recover(path)
    n_found = len(found) + (found.base is not None) - ("new" in found.names)
    if n_found < len(intact):
        came = f"BAD: {n_found} of {len(intact)} states were recovered ({name}, {how})"
    return f"pool {came}" if not came.startswith("BAD") else came


# ---------------------------------------------------------------------------------------------------------- checkpoints


def make_checkpoints(folder):
    """Write the checkpoints that are damaged."""
    torch.manual_seed(0)
    state = {"a.weight": torch.randn(6, 4), "a.bias": torch.randn(6), "steps": torch.tensor(3)}
    safetensors.torch.save_file(state, folder / "plain.safetensors")
    torch.save({"epoch": 3, "state_dict": state}, folder / "zip.pt")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
    shards = folder / "shards"
    shards.mkdir()
    safetensors.torch.save_file({"a.weight": state["a.weight"]}, shards / "1.safetensors")
    safetensors.torch.save_file({k: state[k] for k in ("a.bias", "steps")}, shards / "2.safetensors")
    places = {"a.weight": "1.safetensors", "a.bias": "2.safetensors", "steps": "2.safetensors"}
    (shards / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return ["plain.safetensors", "zip.pt", "old.pt", "shards"], state


def checkpoint_case(folder, kinds, state, rng):
    """Damage a checkpoint, or craft one, and read it; return what came of it."""
    name, canary = rng.choice(kinds), folder / "canary"
    path = folder / f"case-{name}"
    shutil.copytree(folder / name, path) if name == "shards" else shutil.copy(folder / name, path)
    if rng.random() < 0.1:
        path = folder / "case.pt"
        evil = {"w": torch.ones(2), "x": Evil(str(canary))}
        if rng.random() < 0.5:
            path.write_bytes(pickle.dumps(evil, protocol=rng.randrange(6)))
        else:
            torch.save(evil, path, _use_new_zipfile_serialization=rng.random() < 0.5)
    else:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        mutate(rng.choice(files), rng, files)
    try:
        with warnings.catch_warnings(), watched():
            warnings.simplefilter("ignore")
            found = read_checkpoint(path)
            same = found.keys() == state.keys() and all(torch.equal(found[k], state[k]) for k in state)
        came = "read as it was" if same else "read with other numbers, where its format has no check sum"
        if not same and name == "zip.pt":
            came = "BAD: a changed archive was read, whose check sums tell"
    except (ValueError, OSError) as error:
        one_line = "\n" not in str(error) and len(str(error)) < 1500
        came = "refused" if one_line else f"BAD: {len(str(error).splitlines())} lines: {str(error)[:200]!r}"
    except Exception as error:
        came = f"BAD: {type(error).__name__}: {str(error)[:200]}"
    if canary.exists():
        came = "BAD: code in a file was run"
        canary.rmdir()
    return came if came.startswith("BAD") else f"checkpoint {came}"


def main():
    """Run the cases and print how they ended."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=5000, help="cases, half of them pools")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pools", action="store_true", help="pools only")
    args = parser.parse_args()
    print(f"skfusion {skfusion.__version__}, torch {torch.__version__}, Python {platform.python_version()}; ", end="")
    print(f"{args.n} cases, seed {args.seed}.")
    sys.addaudithook(audit)
    signal.signal(signal.SIGALRM, hangs)
    ends, slowest, start = Counter(), (0.0, ""), time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "pools").mkdir()
        (folder / "checkpoints").mkdir()
        pools = make_pools(folder / "pools")
        wholes = {name: told_of(ModelPool.load(folder / "pools" / name)) for name in pools}
        kinds, state = make_checkpoints(folder / "checkpoints")
        for k in range(args.n):
            rng, began = random.Random(f"{args.seed} {k}"), time.perf_counter()
            if k % 2 == 0 or args.pools:
                end = pool_case(folder / "pools", pools, wholes, rng)
            else:
                end = checkpoint_case(folder / "checkpoints", kinds, state, rng)
            if executed:
                end = f"BAD: {executed.pop()}"
            seconds = time.perf_counter() - began
            slowest = max(slowest, (seconds, end))
            ends[end if seconds < SLOW else f"BAD: {seconds:.0f} s: {end}"] += 1
            for case in [*(folder / "pools").glob("case*"), *(folder / "checkpoints").glob("case*")]:
                shutil.rmtree(case) if case.is_dir() and not case.is_symlink() else case.unlink()
    for end, n in sorted(ends.items()):
        print(f"{n:6d}  {end}")
    print(f"{time.perf_counter() - start:.0f} s in all; the slowest case took {slowest[0]:.2f} s.")
    sys.exit(any(end.startswith("BAD") for end in ends))


if __name__ == "__main__":
    main()
