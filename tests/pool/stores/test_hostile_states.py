"""States, arrays and folders that somebody has made to do harm, with the right hashes: one line, and nothing is run."""

import hashlib
import json
import os
import pickle
import time

import numpy as np
import pytest
import torch
from pools_on_disk import member, pool, write_index

from skfusion.checkpoints.format import state_to_bytes
from skfusion.pool import DirectoryStore, Member, ModelPool, PoolFormatError

JOURNAL = f"journal-{'0' * 16}.jsonl"
WHOLE = state_to_bytes({"w": torch.arange(4.0), "b": torch.ones(2)}, "a member")


def file_of(header, data=bytes(24), length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def with_header(**changes):
    length = int.from_bytes(WHOLE[:8], "little")
    header = json.loads(WHOLE[8 : 8 + length])
    return file_of({**header, **changes}, WHOLE[8 + length :])


def ours(**known):
    text = json.dumps({"order": ["w", "b"], "ties": {}, **known})
    return with_header(__metadata__={"skfusion": text})


def tensor(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


CASES = {
    "empty": b"",
    "a pickle": pickle.dumps({"w": 1}),
    "header has no end": file_of(b"{}", length=2**63 - 1),
    "header is longer than the file": file_of(b"{}", length=10**6),
    "header is of nothing": file_of(b"", length=0),
    "header is no JSON": file_of(b"\xff" * 50),
    "header is deep": file_of(b"[" * 100_000 + b"]" * 100_000),
    "tensor is huge": with_header(w=tensor([2**40, 2**40], 0, 16)),
    "tensor overflows": with_header(w=tensor([2**62, 4], 0, 16)),
    "tensor ends beyond": with_header(w=tensor([4], 0, 10**12)),
    "tensors overlap": with_header(w=tensor([4], 0, 16)),
    "tensor begins after its end": with_header(w=tensor([4], 16, 0)),
    "shape is below zero": with_header(w=tensor([-4], 0, 16)),
    "dtype is unknown": with_header(w=tensor([4], 0, 16, "X64")),
    "order names what is not there": ours(order=["w", "other"]),
    "order is a number": ours(order=3),
    "order has lists": ours(order=[["w"]]),
    "a tie of what is not there": ours(ties={"b": "other"}),
    "ties are a list": ours(ties=[["b", "w"]]),
    "ours is no dictionary": with_header(__metadata__={"skfusion": "[1]"}),
    "ours is deep": with_header(__metadata__={"skfusion": "[" * 100_000 + "]" * 100_000}),
    "ours is no JSON": with_header(__metadata__={"skfusion": "{"}),
}


def planted(path, kind, data):
    """Write a pool whose member 'm2' has some bytes in the place of one of its files, under their hash."""
    rows, p = np.arange(3, dtype=np.uint64), np.ones((2, 2), np.float32)
    ModelPool([member("m1", 1), member("m2", 2, rows=rows, predictions=p)]).save(path)
    name = f"{kind}-{hashlib.sha256(data).hexdigest()}.safetensors"
    (path / name).write_bytes(data)
    index = json.loads((path / "pool.json").read_text())
    index["members"][1][kind] = name
    write_index(path, index)
    return path / name


@pytest.mark.parametrize("kind", ["state", "rows", "predictions"])
@pytest.mark.parametrize("case", CASES)
def test_a_crafted_file_is_refused_and_named(tmp_path, kind, case):
    file, start = planted(tmp_path, kind, CASES[case]), time.perf_counter()
    for found in (ModelPool.load(tmp_path)["m2"], DirectoryStore(tmp_path).get("m2")):
        with pytest.raises(PoolFormatError, match="member 'm2', is damaged") as caught:
            getattr(found, kind)
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1500
    assert ModelPool.load(tmp_path)["m1"].state["w"][0, 0] == 1.0
    if kind == "state":
        with pytest.warns(UserWarning, match=f"{file.name} is left out, as it is damaged"):
            assert "m1" in ModelPool.recover(tmp_path).names
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "/dev/zero", "/dev/stdin", "."])
@pytest.mark.parametrize("kind", ["state", "index", "journal"])
def test_links_lead_to_nothing_else(tmp_path, target, kind):
    (tmp_path / "secret").write_text("mine\n")
    path = tmp_path / "p"
    pool(1).save(path)
    index = json.loads((path / "pool.json").read_text())
    names = {"state": index["members"][0]["state"], "index": "pool.json", "journal": JOURNAL}
    link = path / names[kind]
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    if kind == "journal":
        write_index(path, {**index, "journal": link.name})
    for act in (lambda: ModelPool.load(path)[0].state, lambda: DirectoryStore(path).get("m1").state):
        with pytest.raises(PoolFormatError) as caught:
            act()
        assert str(path) in str(caught.value)
        assert "mine" not in str(caught.value)
        assert "root:" not in str(caught.value)
    if kind != "state":
        with pytest.raises(PoolFormatError):
            DirectoryStore(path).put(Member("new", {"w": torch.ones(1)}))
        assert os.readlink(link) == target
    assert (tmp_path / "secret").read_text() == "mine\n"


@pytest.mark.parametrize("text", ["", "mine", '{"check": "00'])
@pytest.mark.parametrize("act", ["put", "delete"])
def test_a_journal_that_is_a_link_is_not_written(tmp_path, text, act):
    (tmp_path / "secret").write_text(text)
    pool(1, 2).save(tmp_path / "p")
    (tmp_path / "p" / JOURNAL).symlink_to("../secret")
    index = json.loads((tmp_path / "p" / "pool.json").read_text())
    write_index(tmp_path / "p", {**index, "journal": JOURNAL, "comment": "x" * 5000})
    store = DirectoryStore(tmp_path / "p")
    assert store.names() == ["m1", "m2"]
    with pytest.raises(PoolFormatError, match=f"{JOURNAL} is no plain file"):
        store.put(member("new")) if act == "put" else store.delete("m1")
    assert (tmp_path / "secret").read_text() == text
    assert DirectoryStore(tmp_path / "p").names() == ["m1", "m2"]
