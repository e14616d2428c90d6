"""Killed writers, several at once, and thousands of damaged files: nothing acknowledged is lost, nothing wrong is read.

A writer of networks and estimators is killed at random moments: each change that it was told is done must be there.
Several writers add members at once, while a reader looks.

Half of the damaged cases are folders of pools of which a file is changed, cut, lengthened, swapped, replaced by a
folder, a link to itself or a pipe, removed, edited as JSON, or damaged and given the hash of what it is then. Each is
loaded, then written to, and then recovered: whatever is done, all files of states that were there stay, and every state
that is whole is recovered. The other half are checkpoints: changed at random, or crafted to run code.

    python benchmarks/stress_pool.py [--n 5000] [--kills 200] [--writers 4] [--puts 50] [--seed 0] [--pools]

It prints how many cases ended in which way, and exits with 1 where one ended in a way that it must not.
"""

import argparse
import hashlib
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
from _stress_writers import kills, together
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

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


def plant(path, rng, others):
    """Damage the file of a member, name it after the hash that it has then, and let the index refer to it."""
    index = path / "pool.json"
    text = index.read_text()
    named = [file for file in others if file.name in text and file.suffix != ".jsonl"]
    file = rng.choice(named)
    kind = mutate(file, rng, others)
    if not file.is_file():
        return kind
    data = file.read_bytes()
    name = f"{file.name.partition('-')[0]}-{hashlib.sha256(data).hexdigest()}{file.suffix}"
    file.rename(path / name)
    rest = json.loads(text.replace(file.name, name))
    rest.pop("check", None)
    body = json.dumps(rest)[1:]
    index.write_text(f'{{"check": "{hashlib.sha256(body.encode()).hexdigest()}", {body}')
    return f"planted, {kind}"


def edit(path, rng):
    """Edit the index as JSON, without a check sum, and return what was done to it."""
    index = json.loads(path.read_text())
    index.pop("check", None)
    entry = rng.choice(index["members"])
    wrong = rng.choice([None, 3, True, [], {}, "x", "../../etc/passwd", 10**400, -1.5, "a" * 5000, {"$float": "x"}])
    part = rng.choice(["state", "rows", "predictions", "estimator", "name", "score", "meta"])
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
    """Write the pools that are damaged: a small one, with estimators, with a journal, and of the oldest format."""
    rows, p = np.arange(5, dtype=np.uint64), np.full((2, 2), 0.5, np.float32)

    def member(k):
        meta = {"epoch": k, "history": [{"loss": 0.5}, {"loss": float("inf")}]}
        return Member(
            f"m{k}", {"w": torch.full((4,), float(k)), "b": torch.tensor(k)}, k / 7, meta, rows, predictions=p
        )

    ModelPool([member(k) for k in range(3)], {"w": torch.zeros(4)}, ["no", "yes"]).save(folder / "small")
    X, y = np.random.RandomState(0).normal(size=(30, 2)), np.arange(30) % 2
    fitted = [LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())]
    estimators = [Member(f"e{k}", estimator=e.fit(X, y), rows=rows) for k, e in enumerate(fitted)]
    ModelPool([*estimators, member(1)]).save(folder / "estimators")
    small, _writer.SMALL = _writer.SMALL, 500
    store = DirectoryStore(folder / "journal")
    for k in range(5):
        store.put(member(k))
    _writer.SMALL = small
    shutil.copytree(folder / "small", folder / "format 1")
    index = json.loads((folder / "format 1" / "pool.json").read_text())
    old = {key: value for key, value in index.items() if key not in ("check", "journal")}
    (folder / "format 1" / "pool.json").write_text(json.dumps({**old, "format": 1}))
    return ["small", "estimators", "journal", "format 1"]


def plain(array):
    """Return an array to compare."""
    return None if array is None else np.asarray(array).tolist()


def numbers(state):
    """Return a state to compare."""
    return state and [(name, t.dtype, t.tolist()) for name, t in state.items()]


def told_of(m):
    """Return all that is known of a member, to compare."""
    known = (m.name, repr(m.score), repr(m.meta), plain(m.rows), plain(m.predictions))
    if m.is_network:
        return known, numbers(m.state)
    final = m.estimator[-1] if hasattr(m.estimator, "steps") else m.estimator
    return known, repr(m.estimator), plain(final.coef_), plain(final.intercept_), plain(final.classes_)


def whole_of(pool):
    """Return all that is known of a pool, to compare."""
    return {m.name: told_of(m) for m in pool}, (numbers(pool.base), plain(pool.classes))


def clear(error, path):
    """Return whether an error is one line that names a file or the folder."""
    return "\n" not in str(error) and str(path) in str(error) and len(str(error)) < 1500


def try_pool(path, whole):
    """Load a pool, and each of its members, and return what came of it."""
    refused, found = [], {}
    with warnings.catch_warnings(record=True) as caught, watched():
        warnings.simplefilter("always")
        try:
            pool = ModelPool.load(path)
        except PoolFormatError as error:
            return "refused" if clear(error, path) else f"BAD: not clear: {error}"
        except Exception as error:
            return f"BAD: {type(error).__name__}: {error}"
        for m in pool:
            try:
                found[m.name] = told_of(m)
            except PoolFormatError as error:
                refused.append(error)
                if repr(m.name) not in str(error) and "rows" not in str(error):
                    return f"BAD: the member is not named: {error}"
            except Exception as error:
                return f"BAD: {type(error).__name__}: {error}"
        try:
            rest = numbers(pool.base), plain(pool.classes)
        except PoolFormatError as error:
            refused.append(error)
            rest = whole[1]
    if unclear := [error for error in refused if not clear(error, path)]:
        return f"BAD: not clear: {unclear[0]}"
    same = all(whole[0].get(name) == member for name, member in found.items()) and rest == whole[1]
    if same and refused:
        return "refused in part, and the other members read as they were"
    if same and found.keys() == whole[0].keys():
        return "read as it was"
    return "read in part, with a warning" if same and caught else "read as another pool"


def pool_case(folder, kinds, wholes, rng):
    """Damage a pool, load it, write to it, recover it; return what came of it."""
    name = rng.choice(kinds)
    path = folder / "case"
    shutil.copytree(folder / name, path)
    files = sorted(p for p in path.iterdir() if p.name != ".pool.lock")
    index, draw = path / "pool.json", rng.random()
    target = index if rng.random() < 0.4 else rng.choice(files)
    if draw < 0.25:
        how = edit(index, rng)
    elif draw < 0.5:
        how = plant(path, rng, files)
    else:
        how = mutate(target, rng, files)
    came = try_pool(path, wholes[name])
    if came == "read as another pool":
        # In format 1 an edited or flipped index may be another valid one; there was nothing to tell it by.
        old = json.loads((path / "pool.json").read_bytes()).get("format") == 1
        if how.startswith("planted"):  # its hash is that of what it is
            came = "read as what was planted"
        else:
            came = "read as another pool, of format 1" if old else f"BAD: read as another pool ({name}, {how})"
    states = content_of(path)
    try:
        DirectoryStore(path).put(Member("new", {"w": torch.ones(1)}))
    except Exception as error:
        if not isinstance(error, PoolFormatError) or not clear(error, path):
            came = f"BAD: put: {type(error).__name__}: {error}"
    left = content_of(path)
    if not states.items() <= left.items():
        came = f"BAD: {len(states.items() - left.items())} states were lost ({name}, {how})"
    intact = [file for file, data in content_of(folder / name).items() if states.get(file) == data]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = ModelPool.recover(path)
            n_found = len(found) + (found.base is not None) - ("new" in found.names)
        except PoolFormatError:
            n_found = 0
    if n_found < len(intact):
        came = f"BAD: {n_found} of {len(intact)} states were recovered ({name}, {how})"
    return f"pool {came}" if not came.startswith("BAD") else came


def content_of(path):
    """Return the files of states and estimators that are there."""
    files = [*path.glob("state-*"), *path.glob("estimator-*")]
    return {p.name: p.read_bytes() for p in files if p.is_file() and not p.is_symlink()}


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
    parser.add_argument("--n", type=int, default=5000, help="damaged cases, half of them pools")
    parser.add_argument("--kills", type=int, default=200, help="how often a writer is killed")
    parser.add_argument("--writers", type=int, default=4, help="writers at once")
    parser.add_argument("--puts", type=int, default=50, help="members that each of them adds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pools", action="store_true", help="pools only")
    args = parser.parse_args()
    print(f"skfusion {skfusion.__version__}, torch {torch.__version__}, Python {platform.python_version()}; ", end="")
    print(f"{args.kills} kills, {args.writers} writers, {args.n} damaged cases, seed {args.seed}.", flush=True)
    sys.addaudithook(audit)
    signal.signal(signal.SIGALRM, hangs)
    ends, slowest, start = Counter(), (0.0, ""), time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "pools").mkdir()
        (folder / "checkpoints").mkdir()
        pools = make_pools(folder / "pools")
        ends.update(kills(folder, args.kills, args.seed))
        ends.update(together(folder, args.writers, args.puts, args.seed) if args.writers else {})
        print(f"{time.perf_counter() - start:.0f} s for writers.", flush=True)
        wholes = {name: whole_of(ModelPool.load(folder / "pools" / name)) for name in pools}
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
