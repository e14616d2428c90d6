"""Stores: what is put comes back, also after failures, crashes, and from two processes at once."""

import errno
import hashlib
import json
import math
import multiprocessing
import os
import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import skfusion
from skfusion.checkpoints.format import _safetensors
from skfusion.pool import DirectoryStore, Member, MemoryStore, ModelPool, PoolFormatError, Store

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


@pytest.fixture(params=["memory", "directory"])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else DirectoryStore(tmp_path / "deep" / "store")


class TestStores:
    def test_protocol(self, store):
        assert isinstance(store, Store)
        assert not isinstance({}, Store)

    def test_put_and_get_bitwise(self, store):
        given = Member("x", rich_state(), 0.1 + 0.2, {"seed": 3}, np.array([0, 2**64 - 1], dtype=np.uint64))
        store.put(given)
        found = store.get("x")
        assert_same_state(given.state, found.state)
        assert found.state["tied.one"].data_ptr() == found.state["tied.two"].data_ptr()
        assert found.state["tied.one"].data_ptr() != found.state["overlap"].data_ptr()
        assert (found.name, found.score, found.meta) == ("x", given.score, {"seed": 3})
        assert found.rows.dtype == np.uint64
        assert np.array_equal(found.rows, given.rows)

    def test_order_and_replacement(self, store):
        for name in "cab":
            store.put(member(name))
        store.put(member("a", 5.0, score=1.0))
        assert store.names() == ["c", "a", "b"]
        assert store.get("a").score == 1.0
        assert store.get("a").state["w"][0, 0] == 5.0
        store.delete("c")
        assert store.names() == ["a", "b"]

    def test_unknown_names(self, store):
        for act in (store.get, store.delete):
            with pytest.raises(KeyError, match=r"'z'.*there are \[\]"):
                act("z")
        store.put(member("a"))
        store.put(member("b"))
        for act in (store.get, store.delete):
            with pytest.raises(KeyError, match=r"'z'.*there are \['a', 'b'\]"):
                act("z")
        store.delete("a")
        store.delete("b")
        assert store.names() == []

    def test_later_changes_do_not_reach_the_store(self, store):
        given = member()
        store.put(given)
        given.state["w"].add_(1)
        assert store.get("a").state["w"].sum() == 0

    def test_changes_of_what_was_read_do_not_reach_a_directory(self, tmp_path):
        store = DirectoryStore(tmp_path)
        store.put(member())
        store.get("a").state["w"].add_(1)
        assert store.get("a").state["w"].sum() == 0

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "..",
            "../up",
            "/etc/passwd",
            "a/b\\c",
            "C:",
            "nul",
            "x" * 5000,
            "\u00fc \U0001f600 \u4e2d",
            "a\nb\0c",
            "\ud800",
            "pool.json",
            "*?<>|\"'",
        ],
    )
    def test_any_name(self, store, name, tmp_path):
        store.put(member(name, 1.0))
        store.put(member("other"))
        assert store.names() == [name, "other"]
        assert store.get(name).name == name
        assert store.get(name).state["w"][0, 0] == 1.0
        store.delete(name)
        assert store.names() == ["other"]
        assert {p.name for p in tmp_path.iterdir()} <= {"deep"}

    def test_names_of_like_spelling_are_different(self, store):
        names = ["a", "A", "\u00e9", "e\u0301", "a ", " a"]
        for k, name in enumerate(names):
            store.put(member(name, k))
        assert [store.get(n).state["w"][0, 0].item() for n in names] == [*range(6)]

    def test_names_are_strings(self, tmp_path):
        with pytest.raises(TypeError, match="must be a string; got 3"):
            DirectoryStore(tmp_path).put(member(3))

    def test_a_path_that_is_only_looked_at_is_not_made(self, tmp_path):
        assert DirectoryStore(tmp_path / "none").names() == []
        with pytest.raises(FileNotFoundError, match=r"no pool in .*none"):
            ModelPool.load(tmp_path / "none")
        assert [*tmp_path.iterdir()] == []

    def test_repr(self, tmp_path):
        assert repr(MemoryStore()) == "MemoryStore(0 members)"
        assert "here" in repr(DirectoryStore("here"))


class TestFiles:
    def test_others_can_read_the_tensors(self, tmp_path):
        DirectoryStore(tmp_path).put(Member("x", rich_state()))
        (file,) = tmp_path.glob("state-*.safetensors")
        found = safetensors.torch.load_file(file)
        wanted = {k: v for k, v in rich_state().items() if k != "tied.two"}
        assert_same_state(wanted, {k: found[k] for k in wanted})
        assert "tied.two" not in found

    def test_index(self, tmp_path):
        rows = np.arange(4, dtype=np.uint64)
        members = [member("a", 0, rows=rows), member("b", 1, score=0.5, rows=rows.copy(), meta={"epoch": 3})]
        ModelPool(members, classes=["n", "y"]).save(tmp_path)
        index = json.loads((tmp_path / "pool.json").read_text("ascii"))
        assert index["format"] == 2
        assert index["version"] == skfusion.__version__
        assert index["classes"] == {"dtype": "<U1", "values": ["n", "y"]}
        assert index["base"] is None
        assert [m["score"] for m in index["members"]] == [None, 0.5]
        assert index["members"][0]["rows"] == index["members"][1]["rows"]
        assert index["members"][1]["meta"] == {"epoch": 3}
        assert len([*tmp_path.glob("rows-*")]) == 1
        assert len([*tmp_path.glob("state-*")]) == 2
        assert {p.name for p in tmp_path.iterdir()} - {LOCK} == {
            "pool.json",
            *(m[part] for m in index["members"] for part in ("state", "rows")),
        }

    def test_predictions_are_files_of_their_own(self, tmp_path):
        p = np.array([[0.25, 0.75]], np.float32)
        members = [member("a", predictions=p), member("b", predictions=p.copy()), member("c", predictions=p + 1)]
        ModelPool([*members, member("d")]).save(tmp_path)
        entries = {m["name"]: m for m in json.loads((tmp_path / "pool.json").read_text("ascii"))["members"]}
        assert entries["a"]["predictions"] == entries["b"]["predictions"] != entries["c"]["predictions"]
        assert entries["d"]["predictions"] is None
        assert {entries[k]["predictions"] for k in "ac"} == {file.name for file in tmp_path.glob("predictions-*")}
        DirectoryStore(tmp_path).delete("c")
        assert len([*tmp_path.glob("predictions-*")]) == 1
        DirectoryStore(tmp_path).put(member("a"))
        DirectoryStore(tmp_path).put(member("b", predictions=p + 2))
        assert DirectoryStore(tmp_path).get("a").predictions is None
        assert np.array_equal(DirectoryStore(tmp_path).get("b").predictions, p + 2)

    def test_an_index_of_before_there_were_predictions(self, tmp_path):
        pool(1, 2).save(tmp_path)
        index = json.loads((tmp_path / "pool.json").read_text("ascii"))
        for entry in index["members"]:
            del entry["predictions"]
        write_index(tmp_path, {**index, "format": 1})
        assert_same_pool(ModelPool.load(tmp_path), pool(1, 2))

    def test_nothing_is_pickled(self, tmp_path):
        class Trap:
            def __reduce__(self):
                raise AssertionError

        pool(1).replace([member(net=Trap())]).save(tmp_path)
        assert ModelPool.load(tmp_path)[0].net is None
        assert ModelPool.load(tmp_path, net="mine")[0].net == "mine"

    def test_a_net_for_each_name(self, tmp_path):
        stored = pool(1, 2)
        stored.save(tmp_path)
        first, second = stored.names
        loaded = ModelPool.load(tmp_path, net={second: "b", first: "a"})
        assert [m.net for m in loaded] == ["a", "b"]
        with pytest.raises(ValueError, match=f"missing are .*{second}.*unknown .*'other'"):
            ModelPool.load(tmp_path, net={first: "a", "other": "b"})

    def test_equal_pools_have_equal_files(self, tmp_path):
        for name in "ab":
            ModelPool([Member("x", rich_state())], rich_state()).save(tmp_path / name)
        assert files(tmp_path / "a") == files(tmp_path / "b")
        assert len([*(tmp_path / "a").glob("state-*")]) == 2  # each says whose it is

    def test_files_have_the_usual_permissions(self, tmp_path):
        (tmp_path / "plain").write_text("")
        pool(1).save(tmp_path / "p")
        usual = (tmp_path / "plain").stat().st_mode
        assert {p.stat().st_mode for p in (tmp_path / "p").iterdir() if p.name != LOCK} == {usual}


class TestPools:
    def test_round_trip(self, tmp_path):
        rows = np.arange(4, dtype=np.uint64)
        p = np.random.RandomState(0).normal(size=(5, 3))
        members = [
            Member("b", rich_state(), 0.1 + 0.2, {"history": [{"loss": 0.5}, {"loss": math.nan}], "none": None}, rows),
            Member("a", {"unlike": torch.zeros(1)}, rows=rows, predictions=np.asfortranarray(p)),
            Member("c", {}, math.inf, {"a": math.inf, "b": -math.inf}, rows[:0], predictions=p[:0].astype("float16")),
            Member("d", {"w": torch.ones(1)}, -math.inf),
        ]
        saved = ModelPool(members, rich_state(), [3, 1])
        saved.save(tmp_path)
        loaded = ModelPool.load(tmp_path)
        assert_same_pool(saved, loaded)
        assert loaded.base["tied.one"].data_ptr() == loaded.base["tied.two"].data_ptr()
        assert loaded[0].rows is loaded[1].rows
        assert loaded[3].rows is None

    def test_after_a_restart(self, tmp_path):
        saved = ModelPool([Member("x", rich_state(), 0.1)], classes=["n", "y"])
        saved.save(tmp_path)
        run(f"""
            import pickle
            from skfusion import ModelPool
            pool = ModelPool.load({str(tmp_path)!r})
            state = pool["x"].state
            assert state["tied.one"].data_ptr() == state["tied.two"].data_ptr()
            assert pool["x"].score == 0.1 and pool.classes.tolist() == ["n", "y"]
            pool.save({str(tmp_path / "again")!r})
        """)
        assert files(tmp_path / "again") == {k: v for k, v in files_only(tmp_path).items() if k != "again"}

    @pytest.mark.parametrize(
        "classes",
        [
            None,
            np.array([0, 1, 2]),
            np.array([-1, 1], dtype=np.int8),
            np.array([2**64 - 1, 0], dtype=np.uint64),
            np.array([0.1, 1.5], dtype=np.float32),
            np.array([0.1, math.nan, math.inf]),
            np.array([False, True]),
            np.array(["no", "\u00fc\U0001f600"]),
            np.array(["no", "yes", 3, 0.5, True, None], dtype=object),
            np.array([1, 2], dtype=">i4"),
        ],
    )
    def test_classes_keep_their_dtype(self, tmp_path, classes):
        pool(1, classes=classes).save(tmp_path)
        found = ModelPool.load(tmp_path).classes
        if classes is None:
            assert found is None
        else:
            assert found.dtype == classes.dtype
            assert repr(found) == repr(classes)
            assert [type(c) for c in found.tolist()] == [type(c) for c in classes.tolist()]

    @pytest.mark.parametrize(
        "classes", [np.array(["2020-01-01"], dtype="M8[D]"), np.array([b"x"]), np.array([(1, 2), None], dtype=object)]
    )
    def test_classes_that_cannot_be_stored(self, tmp_path, classes):
        with pytest.raises(ValueError, match=f"{re.escape(str(classes.dtype))}.*LabelEncoder"):
            pool(1, classes=classes).save(tmp_path / "p")
        assert not (tmp_path / "p").exists()

    def test_trained_network_predicts_the_same(self, tmp_path):
        module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        module(torch.randn(16, 4))
        module.eval()
        ModelPool([Member("x", module.state_dict())]).save(tmp_path)
        again = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)).eval()
        again.load_state_dict(ModelPool.load(tmp_path)["x"].state)
        x = torch.randn(5, 4)
        assert torch.equal(module(x), again(x))

    def test_a_store_reads_and_extends_a_pool(self, tmp_path):
        pool(1, 2, base={"w": torch.ones(2)}, classes=[4, 5]).save(tmp_path)
        store = DirectoryStore(tmp_path)
        assert store.names() == ["m1", "m2"]
        store.put(member("new", rows=np.arange(3, dtype=np.uint64)))
        loaded = ModelPool.load(tmp_path)
        assert loaded.names == ["m1", "m2", "new"]
        assert loaded.classes.tolist() == [4, 5]
        assert loaded.base["w"].tolist() == [1.0, 1.0]

    def test_an_emptied_store_is_no_pool(self, tmp_path):
        store = DirectoryStore(tmp_path)
        store.put(member())
        store.delete("a")
        assert files(tmp_path).keys() == {"pool.json"}
        with pytest.raises(FileNotFoundError, match="no pool in"):
            ModelPool.load(tmp_path)

    def test_overwriting_removes_what_is_not_needed(self, tmp_path):
        pool(1, 2, 3, base={"w": torch.ones(2)}).save(tmp_path)
        before = files(tmp_path)
        pool(3, 4).save(tmp_path)
        after = files(tmp_path)
        assert ModelPool.load(tmp_path).names == ["m3", "m4"]
        assert len(after) == 3
        assert len(after.keys() & before.keys() - {"pool.json"}) == 1

    def test_a_pool_can_be_saved_over_itself(self, tmp_path):
        pool(1, 2, 3).save(tmp_path)
        loaded = ModelPool.load(tmp_path)
        loaded[1:].save(tmp_path)
        assert loaded["m1"].state["w"][0, 0] == 1.0
        assert_same_pool(ModelPool.load(tmp_path), pool(2, 3))

    def test_files_of_others_beside_a_pool_stay(self, tmp_path):
        pool(1).save(tmp_path)
        (tmp_path / "README.md").write_text("mine")
        (tmp_path / "state-mine.safetensors").write_text("mine")
        (tmp_path / "figures").mkdir()
        pool(2).save(tmp_path)
        assert (tmp_path / "README.md").read_text() == "mine"
        assert (tmp_path / "state-mine.safetensors").read_text() == "mine"
        assert (tmp_path / "figures").is_dir()

    def test_what_cannot_be_stored_is_named(self, tmp_path):
        pool(1).save(tmp_path)
        before = files(tmp_path)
        for bad, error, words in [
            (Member("x", {"w": torch.zeros(2, dtype=torch.complex128)}), ValueError, "'w' of member 'x'.*complex128"),
            (Member("x", {"w": torch.eye(2).to_sparse()}), ValueError, "'w' of member 'x'.*sparse"),
            (Member("x", {"w": torch.zeros(2, device="meta")}), ValueError, "'w' of member 'x'.*meta"),
            (Member("x", {"w": 3}), TypeError, "'w' of member 'x' is a int"),
            (Member("x", {}, meta={"net": object()}), ValueError, "'x' cannot be stored.*JSON"),
            (Member("x", {}, predictions=np.array(["a"])), ValueError, "predictions of member 'x' have dtype <U1"),
            (Member("x", {}, rows=np.array([{}])), ValueError, "rows of member 'x' have dtype object.*numbers"),
        ]:
            with pytest.raises(error, match=words):
                DirectoryStore(tmp_path).put(bad)
            with pytest.raises(error, match=words):
                ModelPool([member("good", 9), bad]).save(tmp_path)
            assert files(tmp_path) == before


def files_only(path):
    return {p.name: p.read_bytes() for p in Path(path).iterdir() if p.is_file() and p.name != LOCK}


class TestFailures:
    @pytest.mark.parametrize("act", ["save", "put", "delete"])
    def test_a_full_disk_leaves_the_old_pool(self, tmp_path, monkeypatch, act):
        old = pool(1, 2, base={"w": torch.ones(2)}, classes=[0, 1])
        old.save(tmp_path)
        before = files(tmp_path)
        store = DirectoryStore(tmp_path)
        change = {
            "save": lambda: pool(3, 4, 5, base={"w": torch.zeros(2)}).save(tmp_path),
            "put": lambda: store.put(member("m1", 8.0, rows=np.arange(3, dtype=np.uint64))),
            "delete": lambda: store.delete("m1"),
        }[act]
        sync, failures = os.fsync, []
        for allowed in range(20):
            calls = iter(range(100))

            def full(handle, calls=calls, allowed=allowed):
                if next(calls) >= allowed:
                    raise OSError(errno.ENOSPC, "No space left on device")
                sync(handle)

            monkeypatch.setattr(os, "fsync", full)
            try:
                change()
                break
            except OSError as error:
                failures.append(error.errno)
            assert files(tmp_path) == before
            assert_same_pool(ModelPool.load(tmp_path), old)
        assert {*failures} == {errno.ENOSPC}
        assert len(failures) >= {"save": 5, "put": 3, "delete": 1}[act]
        monkeypatch.undo()
        assert len(files(tmp_path)) == len({*index_files(tmp_path), "pool.json"})
        assert files(tmp_path) != before

    def test_a_limit_of_the_system_leaves_the_old_pool(self, tmp_path):
        pytest.importorskip("resource", reason="this system has no such limits")
        pool(1).save(tmp_path)
        before = files(tmp_path)
        run(f"""
            import resource, signal, torch
            from skfusion.pool import Member, ModelPool
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
            members = [Member("a", {{"w": torch.ones(100)}}), Member("b", {{"w": torch.ones(10000)}})]
            try:
                ModelPool(members).save({str(tmp_path)!r})
            except OSError:
                pass
            else:
                raise AssertionError
        """)
        assert files(tmp_path) == before

    def test_a_failed_first_save_leaves_nothing(self, tmp_path, monkeypatch):
        def full(handle):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            pool(1).save(tmp_path / "p")
        assert files(tmp_path / "p") == {}
        monkeypatch.undo()
        pool(1).save(tmp_path / "p")
        assert ModelPool.load(tmp_path / "p").names == ["m1"]

    def test_an_interrupt_leaves_the_old_pool(self, tmp_path, monkeypatch):
        pool(1).save(tmp_path)
        before = files(tmp_path)

        def interrupt(source, target):
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pool(2).save(tmp_path)
        assert files(tmp_path) == before

    @pytest.mark.parametrize("moment", ["writing a state", "before the index", "after the index"])
    def test_a_crashed_writer(self, tmp_path, moment):
        pool(1, 2).save(tmp_path)
        before = files(tmp_path)
        run(
            f"""
            import os, torch
            from skfusion.pool import Member, ModelPool
            replace, moment = os.replace, {moment!r}
            def crash(source, target):
                index = str(target).endswith("pool.json")
                if moment == "writing a state" or (index and moment == "before the index"):
                    os._exit(9)
                replace(source, target)
                if index:
                    os._exit(9)
            os.replace = crash
            ModelPool([Member("new", {{"w": torch.ones(3)}}), Member("too", {{"w": torch.ones(4)}})]).save(
                {str(tmp_path)!r}
            )
            """,
            code=9,
        )
        left = files(tmp_path)
        assert len(left) > len(before)
        names = ["new", "too"] if moment == "after the index" else ["m1", "m2"]
        assert ModelPool.load(tmp_path).names == DirectoryStore(tmp_path).names() == names
        DirectoryStore(tmp_path).put(member("next"))
        assert DirectoryStore(tmp_path).names() == [*names, "next"]
        assert files(tmp_path).keys() == {"pool.json", *index_files(tmp_path)}

    def test_leftovers_of_a_crashed_first_save_are_no_foreign_files(self, tmp_path):
        (tmp_path / ".writing-0123456789abcdef").write_bytes(b"half")
        (tmp_path / f"state-{'0' * 64}.safetensors").write_bytes(b"half")
        assert DirectoryStore(tmp_path).names() == []
        pool(1).save(tmp_path)
        # No index tells that the state was never a pool's, so it stays.
        assert files(tmp_path).keys() == {"pool.json", f"state-{'0' * 64}.safetensors", *index_files(tmp_path)}


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


class TestDamage:
    @pytest.fixture
    def path(self, tmp_path):
        pool(1, 2, 3, base={"w": torch.ones(2)}).save(tmp_path)
        return tmp_path

    def state_file(self, path, name):
        index = json.loads((path / "pool.json").read_text())
        return path / next(m["state"] for m in index["members"] if m["name"] == name)

    @pytest.mark.parametrize("damage", ["empty", "header", "truncated", "flipped", "longer", "missing", "swapped"])
    def test_member(self, path, damage):
        file = self.state_file(path, "m2")
        data = file.read_bytes()
        if damage == "missing":
            file.unlink()
        else:
            file.write_bytes(
                {
                    "empty": b"",
                    "header": data[:20],
                    "truncated": data[:-1],
                    "flipped": data[:-1] + bytes([data[-1] ^ 1]),
                    "longer": data + b"0",
                    "swapped": self.state_file(path, "m1").read_bytes(),
                }[damage]
            )
        for read in (lambda: ModelPool.load(path), lambda: DirectoryStore(path).get("m2")):
            with pytest.raises(PoolFormatError) as caught:
                read()
            assert str(file) in str(caught.value)
            assert "member 'm2'" in str(caught.value)
            assert ("missing" if damage == "missing" else "damaged") in str(caught.value)
            assert f"DirectoryStore({str(path)!r}).get(name)" in str(caught.value)
        store = DirectoryStore(path)
        assert store.names() == ["m1", "m2", "m3"]
        assert store.get("m3").state["w"][0, 0] == 3.0
        pool(1, 2, 3).save(path)
        assert_same_pool(ModelPool.load(path), pool(1, 2, 3))

    def test_a_damaged_member_can_be_deleted_or_replaced(self, path):
        self.state_file(path, "m1").write_bytes(b"")
        self.state_file(path, "m2").unlink()
        store = DirectoryStore(path)
        store.delete("m1")
        store.put(member("m2", 2))
        assert ModelPool.load(path).names == ["m2", "m3"]

    def test_base_and_rows(self, path):
        index = json.loads((path / "pool.json").read_text())
        (path / index["base"]).unlink()
        with pytest.raises(PoolFormatError, match="holds the base, is missing"):
            ModelPool.load(path)
        assert DirectoryStore(path).get("m1").name == "m1"
        DirectoryStore(path).put(member("r", rows=np.arange(3, dtype=np.uint64)))
        (file,) = path.glob("rows-*")
        file.write_bytes(b"")
        with pytest.raises(PoolFormatError, match="training rows of member 'r', is damaged"):
            DirectoryStore(path).get("r")

    @pytest.mark.parametrize("damage", [b"", None])
    def test_predictions(self, path, damage):
        DirectoryStore(path).put(member("p", predictions=np.ones((2, 2))))
        (file,) = path.glob("predictions-*")
        file.write_bytes(damage) if damage is not None else file.unlink()
        what = "is missing" if damage is None else "is damaged"
        with pytest.raises(PoolFormatError, match=f"the predictions of member 'p', {what}"):
            DirectoryStore(path).get("p")
        assert DirectoryStore(path).get("m1").name == "m1"

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (b"", "is damaged"),
            (b'{"format": 1, "kind"', "is damaged.*backup"),
            (b"\xff\xfe", "is damaged"),
            (b"[]", "not written by skfusion"),
            (b'{"name": "my-app", "format": 1}', "not written by skfusion"),
            (b'{"kind": "skfusion.ModelPool", "format": "1"}', "not written by skfusion"),
            (b'{"kind": "skfusion.ModelPool", "format": 1}', "is damaged.*'classes'"),
        ],
    )
    def test_index(self, path, text, words):
        (path / "pool.json").write_bytes(text)
        self.refused(path, words)

    @pytest.mark.parametrize(
        "change",
        [
            {"state": "../other/state.safetensors"},
            {"state": "/etc/passwd"},
            {"state": 3},
            {"rows": ["x"]},
            {"predictions": "../secret.safetensors"},
            {"predictions": 3},
            {"name": 3},
            {"name": None},
            {"score": "high"},
            {"score": []},
            {"meta": []},
        ],
    )
    def test_entry_of_the_index(self, path, change):
        index = json.loads((path / "pool.json").read_text())
        index["members"][1].update(change)
        write_index(path, index)
        self.refused(path, "is damaged")

    def test_newer_format(self, path):
        index = json.loads((path / "pool.json").read_text())
        (path / "pool.json").write_text(json.dumps({"kind": index["kind"], "format": 12, "version": "9.8.7"}))
        self.refused(path, rf"format 12, written by skfusion 9.8.7.*{skfusion.__version__}.*up to 2\. Upgrade")

    def test_fields_that_are_not_known_do_no_harm(self, path):
        index = json.loads((path / "pool.json").read_text())
        index["members"][0]["comment"] = index["comment"] = "x"
        write_index(path, index)
        assert ModelPool.load(path).names == ["m1", "m2", "m3"]

    def refused(self, path, words):
        before = files(path)
        store = DirectoryStore(path)
        for act in (
            lambda: ModelPool.load(path),
            lambda: pool(7).save(path),
            lambda: store.put(member()),
            lambda: store.get("m1"),
            lambda: store.delete("m1"),
            store.names,
        ):
            with pytest.raises(PoolFormatError, match=words) as caught:
                act()
            assert str(path) in str(caught.value)
            assert files(path) == before

    def test_foreign_directory(self, tmp_path):
        path = tmp_path / "photos"
        path.mkdir()
        (path / "me.jpg").write_bytes(b"x")
        (path / "sub").mkdir()
        before = sorted(path.iterdir())
        store = DirectoryStore(path)
        for act in (
            lambda: ModelPool.load(path),
            lambda: pool(7).save(path),
            lambda: store.put(member()),
            lambda: store.get("a"),
            lambda: store.delete("a"),
            store.names,
        ):
            with pytest.raises(PoolFormatError, match=r"photos is not a pool.*me\.jpg, sub.*new or empty directory"):
                act()
        assert sorted(path.iterdir()) == before

    def test_a_file_is_no_directory(self, tmp_path):
        (tmp_path / "model.pt").write_bytes(b"x")
        for act in (pool(1).save, ModelPool.load, lambda p: DirectoryStore(p).put(member())):
            with pytest.raises(PoolFormatError, match=r"model\.pt is a file; a pool is a directory"):
                act(tmp_path / "model.pt")
        assert (tmp_path / "model.pt").read_bytes() == b"x"


class TestTogether:
    def test_two_processes_put(self, tmp_path):
        source = """
            import pathlib, sys, time, torch
            from skfusion.pool import DirectoryStore, Member
            path, mine, other = sys.argv[1:]
            store = DirectoryStore(path)
            pathlib.Path(f"{path}-{mine}").touch()
            while not pathlib.Path(f"{path}-{other}").exists():
                time.sleep(0.001)
            for k in range(10):
                store.put(Member(f"{mine}-{k}", {"w": torch.full((100,), float(k))}, score=k))
        """
        processes = [start(source, tmp_path / "s", *names) for names in ("ab", "ba")]
        assert [finish(p) for p in processes] == [0, 0]
        store = DirectoryStore(tmp_path / "s")
        assert sorted(store.names()) == sorted(f"{name}-{k}" for name in "ab" for k in range(10))
        assert [store.get(f"b-{k}").state["w"][99].item() for k in range(10)] == [*range(10)]
        assert files(tmp_path / "s").keys() == {"pool.json", *index_files(tmp_path / "s")}
        assert len(index_files(tmp_path / "s")) == 20

    def test_a_reader_sees_one_pool_or_the_other(self, tmp_path):
        pool(0, 1).save(tmp_path)
        process = start(
            """
            import sys, torch
            from skfusion.pool import Member, ModelPool
            for k in range(30):
                ModelPool([Member(f"m{j}", {"w": torch.full((3,), float(k))}) for j in range(2)]).save(sys.argv[1])
            """,
            tmp_path,
        )
        seen = set()
        while process.poll() is None:
            values = [m.state["w"].flatten()[0].item() for m in ModelPool.load(tmp_path)]
            assert values == [0.0, 1.0] or values[0] == values[1]
            seen.add(values[1])
            assert DirectoryStore(tmp_path).get("m1").name == "m1"
        assert finish(process) == 0
        assert len(seen) > 1

    @pytest.mark.parametrize("late", [False, True])
    def test_a_writer_between_two_looks_of_a_reader(self, tmp_path, monkeypatch, late):
        pool(1, 2).save(tmp_path)
        check, writers = _safetensors.check_digest, [pool(3, 4), pool(5, 6)]

        def interfere(path):
            if late:
                check(path)
            if writers:
                writers.pop().save(tmp_path)
            if not late:
                check(path)

        monkeypatch.setattr(_safetensors, "check_digest", interfere)
        assert_same_pool(ModelPool.load(tmp_path), pool(3, 4))
        assert writers == []

    def test_threads_put(self, tmp_path):
        def put(name):
            for k in range(5):
                DirectoryStore(tmp_path).put(member(f"{name}-{k}", k))

        threads = [threading.Thread(target=put, args=(name,)) for name in "abc"]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(DirectoryStore(tmp_path).names()) == 15

    def test_a_store_travels_to_other_processes(self, tmp_path):
        store = DirectoryStore(tmp_path)
        with multiprocessing.get_context("spawn").Pool(1) as workers:
            workers.apply(store.put, (member("far", 4.0),))
        assert store.get("far").state["w"][0, 0] == 4.0


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
