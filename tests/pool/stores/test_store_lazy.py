"""Pools are read when they are used: what is not asked for costs nothing, and what is gone or damaged is named."""

import gc
import pickle
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from pools_on_disk import assert_same_pool, assert_same_state, member, pool, rich_state
from sklearn.base import clone

from skfusion.checkpoints import format as formats
from skfusion.pool import DirectoryStore, Member, MemoryStore, ModelPool, PoolFormatError

ROWS = np.arange(4, dtype=np.uint64)


@pytest.fixture
def read(monkeypatch):
    """Return the names of the files that are hashed, which all are that are read."""
    names, check = [], formats.check_digest
    monkeypatch.setattr(formats, "check_digest", lambda path: names.append(path.name) or check(path))
    return names


def whole():
    members = [member(f"m{k}", k, score=k, rows=ROWS, predictions=np.full((2, 2), k, np.float32)) for k in range(3)]
    return ModelPool(members, base={"w": torch.ones(2)}, classes=[0, 1])


def kinds(names):
    return sorted(name.partition("-")[0] for name in names)


def test_nothing_is_read_before_it_is_used(tmp_path, read):
    whole().save(tmp_path)
    for path in tmp_path.glob("*-*"):
        path.write_bytes(b"")  # the weights could not even be read
    loaded = ModelPool.load(tmp_path)
    assert [m.score for m in loaded] == [0, 1, 2]
    assert loaded[1:].names == loaded[["m1", "m2"]].names == clone(loaded)[1:].names == ["m1", "m2"]
    assert loaded.replace(classes=[1, 2]).classes.tolist() == [1, 2]
    assert DirectoryStore(tmp_path).get("m1").replace(score=3.0).score == 3.0
    assert "m1" in repr(loaded[1])
    assert loaded[0].is_network
    assert read == []


def test_each_file_is_read_once(tmp_path, read):
    whole().save(tmp_path)
    loaded = ModelPool.load(tmp_path)
    assert loaded["m1"].state["w"][0, 0] == 1.0
    assert loaded["m1"].state["w"].data_ptr() == loaded["m1"].state["w"].data_ptr()
    assert kinds(read) == ["state"]
    assert loaded["m0"].rows is loaded["m2"].rows  # in one file, as the members were trained on the same rows
    assert kinds(read) == ["rows", "state"]
    assert loaded["m0"].predictions[0, 0] == 0.0
    assert loaded[:2].base["w"].tolist() == [1.0, 1.0]
    assert kinds(read) == ["predictions", "rows", "state", "state"]
    assert_same_pool(loaded, whole())
    assert len(read) == 3 + 3 + 1 + 1


def test_a_store_hashes_a_file_once(tmp_path, read):
    whole().save(tmp_path)
    store = DirectoryStore(tmp_path)
    for _ in range(3):
        assert store.get("m1").state["w"][0, 0] == 1.0
    assert kinds(read) == ["state"]
    (file,) = (path for path in tmp_path.iterdir() if path.name == read[0])
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(PoolFormatError, match="member 'm1', is damaged: its content has changed"):
        store.get("m1").state  # noqa: B018


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux tells what is mapped")
def test_tensors_are_mapped_so_that_only_those_that_are_used_take_memory(tmp_path):
    large = {f"w{k}": torch.full((2**14,), float(k)) for k in range(8)}
    DirectoryStore(tmp_path).put(Member("large", large))
    state = DirectoryStore(tmp_path).get("large").state
    lines = (line.split() for line in Path("/proc/self/maps").read_text().splitlines())
    (place,) = (line[0].split("-") for line in lines if str(tmp_path) in line[-1])
    start, end = (int(number, 16) for number in place)
    assert all(start <= tensor.data_ptr() < end for tensor in state.values())
    assert_same_state(state, large)


def test_everything_can_be_read_at_once(tmp_path, read):
    folder = tempfile.mkdtemp()
    whole().save(folder)
    loaded = ModelPool.load(folder, lazy=False)
    shutil.rmtree(folder)
    assert len(read) == 3 + 3 + 1 + 1
    assert_same_pool(loaded, whole())


def test_a_folder_that_is_gone_is_named_with_the_remedy(tmp_path):
    whole().save(tmp_path / "p")
    loaded = ModelPool.load(tmp_path / "p")
    shutil.rmtree(tmp_path / "p")
    for use in (lambda: loaded["m1"].state, lambda: loaded["m1"].rows, lambda: loaded.base, lambda: loaded.states):
        with pytest.raises(PoolFormatError, match=r"is missing, as is the whole folder.*load\(path, lazy=False\)"):
            use()


@pytest.mark.parametrize("change", ["save", "put", "delete"])
def test_what_another_writer_has_removed_is_named(tmp_path, change):
    whole().save(tmp_path)
    loaded, got = ModelPool.load(tmp_path), DirectoryStore(tmp_path).get("m1")
    if change == "save":
        pool(7, 8).save(tmp_path)
    elif change == "put":
        DirectoryStore(tmp_path).put(member("m1", 9))
    else:
        DirectoryStore(tmp_path).delete("m1")
    for use in (lambda: loaded["m1"].state, lambda: got.state):
        with pytest.raises(PoolFormatError, match=r"member 'm1', was removed after the pool was opened.*Load the pool"):
            use()
    if change != "save":
        assert loaded["m2"].state["w"][0, 0] == 2.0
        assert loaded.base["w"].tolist() == [1.0, 1.0]


def test_a_missing_file_that_the_index_lists_is_damage(tmp_path):
    whole().save(tmp_path)
    for path in (*tmp_path.glob("state-*"), *tmp_path.glob("rows-*")):
        path.unlink()
    loaded = ModelPool.load(tmp_path)
    for use, owner in [
        (lambda: loaded["m2"].state, "member 'm2'"),
        (lambda: loaded["m2"].rows, "the training rows of member 'm2'"),
        (lambda: loaded.base, "the base"),
    ]:
        with pytest.raises(PoolFormatError, match=f"{owner}, is missing. Restore the file from a backup"):
            use()
    assert loaded["m2"].predictions[0, 0] == 2.0


def test_a_pool_that_is_not_read_yet_can_be_saved_anywhere(tmp_path):
    whole().save(tmp_path / "a")
    for target in ("a", "b"):
        ModelPool.load(tmp_path / "a").save(tmp_path / target)
        assert_same_pool(ModelPool.load(tmp_path / target), whole())
    assert {p.name for p in (tmp_path / "a").iterdir()} == {p.name for p in (tmp_path / "b").iterdir()}
    ModelPool.load(tmp_path / "a")[1:].replace(base=None).save(tmp_path / "a")
    assert_same_pool(ModelPool.load(tmp_path / "a"), whole()[1:].replace(base=None))


def test_members_move_between_stores(tmp_path):
    store, memory = DirectoryStore(tmp_path / "a"), MemoryStore()
    store.put(Member("x", rich_state(), rows=ROWS))
    memory.put(store.get("x"))
    DirectoryStore(tmp_path / "b").put(store.get("x"))
    shutil.rmtree(tmp_path / "a")
    assert_same_state(memory.get("x").state, rich_state())
    assert_same_state(DirectoryStore(tmp_path / "b").get("x").state, rich_state())


def test_a_pickled_pool_works_without_its_folder(tmp_path):
    whole().save(tmp_path / "p")
    pickled = pickle.dumps(ModelPool.load(tmp_path / "p"))
    shutil.rmtree(tmp_path / "p")
    assert_same_pool(pickle.loads(pickled), whole())


def test_a_folder_that_changes_hands_while_it_is_read_is_read_whole_or_not_at_all(tmp_path):
    whole().save(tmp_path)
    first = {m.name: m.state["w"][0, 0].item() for m in whole()}
    loaded = ModelPool.load(tmp_path)
    seen = {"m0": loaded["m0"].state["w"][0, 0].item()}
    ModelPool([member(f"m{k}", 10 + k) for k in range(3)]).save(tmp_path)
    for name in ("m1", "m2"):
        with pytest.raises(PoolFormatError, match=f"'{name}', was removed after"):
            seen[name] = loaded[name].state["w"][0, 0].item()
    assert seen.items() <= first.items()


def test_threads_read_rows_of_many_members_once(tmp_path, read):
    whole().save(tmp_path)
    loaded, found = ModelPool.load(tmp_path), []
    threads = [threading.Thread(target=lambda m=m: found.append(m.rows)) for m in loaded]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(rows is found[0] for rows in found)
    assert kinds(read) == ["rows"]


def test_a_pool_does_not_keep_what_is_not_used_any_more(tmp_path):
    whole().save(tmp_path)
    loaded = ModelPool.load(tmp_path)
    member = loaded[0]
    assert member.deferred("state") is not None
    assert member.state
    assert member.deferred("state") is None
    del loaded
    gc.collect()
    assert member.rows.tolist() == ROWS.tolist()


def test_what_tensors_are_is_known_without_reading_them(tmp_path, read):
    tensors = {"w": torch.ones(3, 2, dtype=torch.bfloat16), "n": torch.tensor(7)}
    members = [Member("a", tensors), Member("b", {"w": torch.ones(2)}), Member("c", tensors)]
    ModelPool(members).save(tmp_path)
    loaded = ModelPool.load(tmp_path)
    assert loaded.to_frame().equals(ModelPool(members).to_frame())
    assert loaded.to_frame()["n_numbers"].tolist() == [7, 2, 7]
    assert loaded.to_frame()["architecture"].tolist() == ["A", "B", "A"]
    assert "7 numbers" in loaded["a"]._repr_html_()
    assert read == []
    loaded[:1].save(tmp_path)  # the files of the others are gone
    assert loaded.to_frame()["n_numbers"].isna().tolist() == [False, True, True]
