"""Members and pools for tests of stores, their comparison bit for bit, and processes that change them."""

import hashlib
import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import torch
from torch import nn

import skfusion
from skfusion.pool import Member, ModelPool

LOCK = ".pool.lock"
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def member(name="a", value=0.0, **fields):
    return Member(name, {"w": torch.full((3, 2), float(value)), "steps": torch.tensor(7)}, **fields)


def pool(*values, **fields):
    return ModelPool([member(f"m{v}", v, score=v / 10) for v in values], **fields)


def rich_state():
    torch.manual_seed(0)
    storage = torch.randn(4, 5)
    weight = torch.randn(3, 3)
    odd = torch.tensor([0x7FC00001, -1, 0, -(2**31)], dtype=torch.int32).view(torch.float32)
    return {
        "z.last": torch.randn(2, 3, 4).permute(2, 0, 1),
        "tied.one": weight,
        "bfloat16": torch.randn(3, 2).to(torch.bfloat16),
        "float16": torch.randn(3).to(torch.float16),
        "float64": torch.randn(3, dtype=torch.float64),
        "float8": torch.randn(4).to(torch.float8_e4m3fn),
        "complex": torch.randn(3, dtype=torch.complex64),
        "conjugate": torch.randn(3, dtype=torch.complex64).conj(),
        "bool": torch.tensor([True, False]),
        "int8": torch.tensor([-128, 127], dtype=torch.int8),
        "uint16": torch.tensor([0, 65535], dtype=torch.uint16),
        "scalar": torch.tensor(2**40),
        "empty": torch.zeros(0, 4),
        "empty.too": torch.zeros(0, 4, dtype=torch.int64),
        "tied.two": weight,
        "nan payloads and -0": odd,
        "overlap": storage,
        "overlap.rows": storage[1:3],
        "overlap.transposed": storage.T,
        "a.first": nn.Parameter(torch.randn(2)),
    }


def assert_same_state(a, b):
    assert [*a] == [*b]
    for key in a:
        x, y = (t.detach().resolve_conj().contiguous() for t in (a[key], b[key]))
        assert (x.dtype, x.shape) == (y.dtype, y.shape), key
        x, y = (torch.view_as_real(t) if t.is_complex() else t for t in (x, y))
        bits = BITS[x.element_size()]
        assert torch.equal(x.view(bits), y.view(bits)), key


def assert_same_predictions(a, b):
    assert (a.predictions is None) == (b.predictions is None)
    if a.predictions is not None:
        assert (a.predictions.dtype, a.predictions.shape) == (b.predictions.dtype, b.predictions.shape)
        assert a.predictions.tobytes() == b.predictions.tobytes()


def assert_same_pool(a, b):
    assert a.names == b.names
    for x, y in zip(a, b, strict=True):
        assert_same_state(x.state, y.state)
        assert x.score == y.score or (math.isnan(x.score) and math.isnan(y.score))
        assert repr(x.meta) == repr(y.meta)
        assert (x.rows is None) == (y.rows is None)
        assert x.rows is None or np.array_equal(x.rows, y.rows)
        assert_same_predictions(x, y)
    assert (a.base is None) == (b.base is None)
    if a.base is not None:
        assert_same_state(a.base, b.base)
    assert repr(a.classes) == repr(b.classes)


def files(path):
    """Return the contents of the files in a directory, without the lock, which carries nothing."""
    return {p.name: p.read_bytes() for p in Path(path).iterdir() if p.name != LOCK}


def files_only(path):
    return {p.name: p.read_bytes() for p in Path(path).iterdir() if p.is_file() and p.name != LOCK}


def index_files(path):
    index = json.loads((Path(path) / "pool.json").read_text())
    found = [index["base"], *(m[part] for m in index["members"] for part in ("state", "rows"))]
    return {name for name in found if name is not None}


def write_index(path, index):
    """Write an index as the library does, in its older format where it says so."""
    rest = json.dumps({key: value for key, value in index.items() if key != "check"})[1:]
    check = hashlib.sha256(rest.encode()).hexdigest()
    head = "{" if index["format"] == 1 else f'{{"check": "{check}", '
    (Path(path) / "pool.json").write_text(head + rest)


def start(source, *arguments):
    root = Path(skfusion.__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, code=0):
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    return process.returncode


def run(source, *arguments, code=0):
    """Run Python source in a process of its own, which must end with this exit code."""
    finish(start(source, *arguments), code)
