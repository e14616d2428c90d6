"""Stores: what is put comes back."""

import json
import math
import re

import numpy as np
import pytest
import safetensors.torch
import torch
from pools_on_disk import (
    LOCK,
    assert_same_pool,
    assert_same_state,
    files,
    files_only,
    member,
    pool,
    rich_state,
    run,
    write_index,
)
from torch import nn

import skfusion
from skfusion.pool import DirectoryStore, Member, MemoryStore, ModelPool, PoolFormatError, Store


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
        loaded, read = ModelPool.load(tmp_path), ModelPool.load(tmp_path, lazy=False)
        loaded[1:].save(tmp_path)
        assert_same_pool(loaded[1:], pool(2, 3))
        assert_same_pool(ModelPool.load(tmp_path), pool(2, 3))
        assert_same_pool(read, pool(1, 2, 3))
        with pytest.raises(PoolFormatError, match="member 'm1', was removed after the pool was opened.*Load the pool"):
            loaded["m1"].state  # noqa: B018

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
