"""Writers that are killed at any moment, and several at once: what they were told is written must be there."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import Ridge

from skfusion.pool import DirectoryStore, Member, ModelPool
from skfusion.pool.stores import _writer

X = np.arange(8.0).reshape(4, 2)
ROWS = np.arange(3, dtype=np.uint64)


def member(name, value):
    """Return a network, or an estimator for every third value, that can be told by its numbers."""
    if value % 3 == 0:
        return Member(name, score=value, rows=ROWS, estimator=Ridge().fit(X, X[:, 0] + value))
    predictions = np.full((2, 2), value, np.float32)
    return Member(name, {"w": torch.full((50,), float(value))}, value, {"epoch": value}, ROWS, predictions=predictions)


def value_of(found):
    """Return the value of a member, after all of it was compared with what was put."""
    value = int(found.score)
    assert found.rows.tolist() == ROWS.tolist()
    if value % 3 == 0:
        expected = Ridge().fit(X, X[:, 0] + value).predict(X)
        assert np.array_equal(found.estimator.predict(X), expected)
    else:
        assert found.state["w"].tolist() == [value] * 50
        assert found.predictions.tolist() == [[value] * 2] * 2
        assert found.meta == {"epoch": value}
    return value


def in_a_child(run):
    """Run a function in a copy of this process, and return its number and the end of a pipe that it writes lines to."""
    end, begin = os.pipe()
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.close(end)
            run(lambda *what: os.write(begin, json.dumps(what).encode() + b"\n"))
            code = 0
        finally:
            os._exit(code)
    os.close(begin)
    return process, end


def lines_of(end):
    """Return what a child has written, until it ended; the last line may be cut off."""
    data = b""
    while block := os.read(end, 2**16):
        data += block
    os.close(end)
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def changed(pool, act, name, value):
    """Return what a pool holds after a change."""
    if act == "save":
        return {f"{name}-{k}": value + k for k in range(3)}
    after = {**pool}
    if act == "put":
        after[name] = value
    else:
        del after[name]
    return after


def write(store, pool, rng, tell):
    """Change a pool for ever, and tell each change before and after it."""
    while True:
        act = rng.choice(["put"] * 12 + ["delete"] * 3 + ["save"])
        name, value = f"m{rng.randrange(30)}", rng.randrange(1000)
        if act == "delete":
            if not pool:
                continue
            name = rng.choice(sorted(pool))
        tell("begin", act, name, value)
        if act == "put":
            store.put(member(name, value))
        elif act == "delete":
            store.delete(name)
        else:
            ModelPool([member(*item) for item in changed(pool, act, name, value).items()]).save(store.path)
        tell("end", act, name, value)
        pool = changed(pool, act, name, value)


def kills(folder, n, seed, small=2000):
    """Kill a writer many times; return how it ended, a line for each kind of end, with the number of times."""
    path, rng, pool, ends = Path(folder) / "killed", random.Random(f"kills {seed}"), {}, {}
    before, changes = _writer.SMALL, 0
    for k in range(n):
        if k % 20 == 0:
            shutil.rmtree(path, ignore_errors=True)
            pool = {}
        _writer.SMALL = small if k % 2 else before
        process, end = in_a_child(
            lambda tell, pool=pool, k=k: write(DirectoryStore(path), pool, random.Random(f"{seed} {k}"), tell)
        )
        time.sleep(rng.uniform(0.02, 0.5))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        told, begun = lines_of(end), None
        for what, *change in told:
            begun = change if what == "begin" else None
            if what == "end":
                pool, changes = changed(pool, *change), changes + 1
        came, pool = state_after(path, pool, begun)
        ends[came] = ends.get(came, 0) + 1
    _writer.SMALL = before
    return {**ends, "acknowledged changes": changes}


def state_after(path, pool, begun):
    """Return how a killed writer has left its pool, and what it holds now."""
    store = DirectoryStore(path)
    try:
        found = {name: value_of(store.get(name)) for name in store.names()}
    except Exception as error:
        return f"BAD: after a kill: {type(error).__name__}: {error}", {}
    if found == pool:
        return "killed: all acknowledged changes are there", found
    if begun is not None and found == changed(pool, *begun):
        return "killed: all acknowledged changes are there, and the one at work", found
    lost = {name for name in pool if found.get(name) != pool[name]}
    return f"BAD: {len(lost)} acknowledged members were lost or changed, of {len(pool)}", found


def together(folder, n_writers, n, seed, small=2000):
    """Let several writers add members at once, while a reader looks; return how that ended."""
    path, before = Path(folder) / "together", _writer.SMALL
    _writer.SMALL = small

    def add(name):
        store = DirectoryStore(path)
        for k in range(n):
            store.put(member(f"{name}-{k}", k + 1))
            if k % 5 == 4:
                store.delete(f"{name}-{k - 1}")

    processes = [in_a_child(lambda tell, name=name: add(name)) for name in range(n_writers)]
    left, looks, bad = {process for process, _ in processes}, 0, []
    while left:
        for process in [*left]:
            done, status = os.waitpid(process, os.WNOHANG)
            if done:
                left.discard(process)
                bad += [f"a writer ended with {status}"] if status else []
        store = DirectoryStore(path)
        if names := store.names():
            value_of(store.get(names[0]))  # the first is never deleted
            looks += 1
    for _, end in processes:
        os.close(end)
    _writer.SMALL = before
    wanted = {f"{w}-{k}": k + 1 for w in range(n_writers) for k in range(n) if k % 5 != 3 or k + 1 >= n}
    found = {m.name: value_of(m) for m in ModelPool.load(path)}
    if found != wanted:
        bad.append(f"{len(wanted.items() ^ found.items())} members differ")
    files = {p.name for p in path.iterdir()}
    needed = {
        name
        for entry in DirectoryStore(path)._index.refresh().members.values()
        for name in entry.values()
        if isinstance(name, str) and name.endswith((".safetensors", ".skops"))
    }
    if extra := {name for name in files if name.endswith((".safetensors", ".skops"))} - needed:
        bad.append(f"{len(extra)} files are left over")
    if bad:
        return {f"BAD: {n_writers} writers at once: {', '.join(bad)}": 1}
    return {f"{n_writers} writers at once added {len(found)} members, read {looks} times meanwhile": 1}
