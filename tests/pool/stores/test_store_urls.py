"""Pools at URLs: data before the index, downloads when they are used, and every file checked against its hash."""

import gc
import json
import os
import pickle
import shutil
import tempfile

import fsspec
import numpy as np
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from pools_on_disk import assert_same_pool, files, member, pool, write_index
from sklearn.naive_bayes import GaussianNB

from skfusion.connect import Simplicial
from skfusion.pool import DirectoryStore, Member, ModelPool, PoolFormatError, load_subspace, save_subspace
from skfusion.pool.stores import _writer

X = np.random.RandomState(0).normal(size=(20, 2))
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture
def url(monkeypatch):
    """Return the URL of an empty folder in memory."""
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    return "memory://deep/pool"


@pytest.fixture
def calls(monkeypatch):
    """Return what is asked of the memory, in order."""
    done = []

    def recorded(name, method):
        def call(self, path, *args, **kwargs):
            done.append((name, path.rpartition("/")[2]))
            return method(self, path, *args, **kwargs)

        return call

    for name in ("pipe_file", "get_file", "rm_file", "cat_file"):
        monkeypatch.setattr(MemoryFileSystem, name, recorded(name, getattr(MemoryFileSystem, name)))
    return done


def content():
    return {path: bytes(file.getbuffer()) for path, file in MemoryFileSystem.store.items()}


def whole():
    rows = np.arange(4, dtype=np.uint64)
    members = [member(f"m{k}", k, score=k, rows=rows, predictions=np.full((2, 2), k, np.float32)) for k in range(3)]
    return ModelPool(members, base={"w": torch.ones(2)}, classes=["n", "y"])


def kinds(calls, name):
    return [file.partition("-")[0] for what, file in calls if what == name]


def test_a_pool_comes_back(url, tmp_path):
    whole().save(url)
    assert_same_pool(ModelPool.load(url), whole())
    assert_same_pool(ModelPool.load(url, lazy=False), whole())
    assert [m.net for m in ModelPool.load(url, "mine")] == ["mine"] * 3
    whole().save(tmp_path)
    assert {path.rpartition("/")[2]: data for path, data in content().items()} == files(tmp_path)
    pickled = pickle.dumps(ModelPool.load(url))
    MemoryFileSystem.store.clear()
    assert_same_pool(pickle.loads(pickled), whole())


def test_estimators_come_back(url):
    ModelPool([Member("x", estimator=GaussianNB().fit(X, Y)), member("net")]).save(url)
    loaded = ModelPool.load(url)
    assert np.array_equal(loaded["x"].estimator.predict(X), GaussianNB().fit(X, Y).predict(X))
    loaded["x"].estimator.theta_[:] = 0  # of this session alone
    assert ModelPool.load(url)["x"].estimator.theta_.any()


def test_files_are_downloaded_when_they_are_used(url, calls):
    whole().save(url)
    calls.clear()
    loaded = ModelPool.load(url)
    assert [m.score for m in loaded] == [0, 1, 2]
    assert calls == [("cat_file", "pool.json")]
    for _ in range(2):
        assert loaded["m1"].state["w"][0, 0] == 1.0
    assert loaded["m0"].rows is loaded["m2"].rows
    assert kinds(calls, "get_file") == ["state", "rows"]


def test_the_index_is_uploaded_last_and_what_is_there_is_not_uploaded_again(url, calls):
    whole().save(url)
    assert kinds(calls, "pipe_file")[-1] == "pool.json"
    assert len(calls) == 1 + 3 + 3 + 1 + 1 + 1  # and asked for the index once
    calls.clear()
    whole()[1:].save(url)
    assert kinds(calls, "pipe_file") == ["pool.json"]
    assert sorted(kinds(calls, "rm_file")) == ["predictions", "state"]
    assert_same_pool(ModelPool.load(url), whole()[1:])
    pool(1).save(url)
    assert len(content()) == 2


@pytest.mark.parametrize("error", [OSError("no route"), RuntimeError("reset by\npeer"), KeyboardInterrupt()])
def test_an_upload_that_fails_leaves_the_earlier_pool(url, error, monkeypatch):
    pool(7, 8, base={"w": torch.zeros(1)}).save(url)
    before, pipe = content(), MemoryFileSystem.pipe_file
    for allowed in range(9):  # three states, three predictions, rows, the base, the index
        left = iter(range(allowed))

        def fail(self, path, value, left=left, **kwargs):
            if next(left, None) is None:
                raise error
            pipe(self, path, value, **kwargs)

        monkeypatch.setattr(MemoryFileSystem, "pipe_file", fail)
        with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OSError) as caught:
            whole().save(url)
        assert isinstance(error, KeyboardInterrupt) or "memory:///deep/pool cannot be" in str(caught.value)
        assert content() == before
        assert_same_pool(ModelPool.load(url), pool(7, 8, base={"w": torch.zeros(1)}))
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", pipe)
    whole().save(url)
    assert_same_pool(ModelPool.load(url), whole())


def test_a_member_that_cannot_be_stored_leaves_the_earlier_pool(url):
    pool(7).save(url)
    before = content()
    with pytest.raises(ValueError, match="Member 'bad' cannot be stored"):
        ModelPool([member("good"), member("bad", meta={"a": object()})]).save(url)
    assert content() == before


def test_a_damaged_download_is_named_and_others_load(url):
    whole().save(url)
    for damage in (b"", b"half", None):
        index = json.loads(MemoryFileSystem.store["/deep/pool/pool.json"].getbuffer().tobytes())
        path = f"/deep/pool/{index['members'][1]['state']}"
        data = content()[path]
        if damage is None:
            data = data[:-1] + bytes([data[-1] ^ 1])
        fsspec.filesystem("memory").pipe_file(path, damage if damage is not None else data)
        loaded = ModelPool.load(url)
        for _ in range(2):
            with pytest.raises(PoolFormatError, match=r"memory:///deep/pool/state-\w+.safetensors.*'m1', is damaged"):
                loaded["m1"].state  # noqa: B018
        assert loaded["m2"].state["w"][0, 0] == 2.0
    fsspec.filesystem("memory").rm_file(path)
    with pytest.raises(PoolFormatError, match="'m1', is missing. Restore it.*remove it and save"):
        ModelPool.load(url)["m1"].state  # noqa: B018
    whole().save(url)
    assert_same_pool(ModelPool.load(url), whole())


def test_a_pool_that_is_replaced_after_it_was_opened(url, monkeypatch):
    whole().save(url)
    loaded = ModelPool.load(url)
    assert loaded["m0"].state["w"][0, 0] == 0.0
    pool(5, 6).save(url)
    with pytest.raises(PoolFormatError, match="'m1', was removed after the pool was opened.*Load the pool again"):
        loaded["m1"].state  # noqa: B018
    get, writers = MemoryFileSystem.get_file, [pool(1, 2)]

    def interfere(self, path, target, **kwargs):
        if writers:
            writers.pop().save(url)
        get(self, path, target, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, "get_file", interfere)
    assert_same_pool(ModelPool.load(url, lazy=False), pool(1, 2))


def test_errors_of_the_place_name_it(url, monkeypatch):
    whole().save(url)
    loaded = ModelPool.load(url)

    def fail(self, path, *args, **kwargs):
        raise TimeoutError("timed out")

    for name in ("get_file", "cat_file", "ls"):
        monkeypatch.setattr(MemoryFileSystem, name, fail)
    for act in (lambda: loaded["m1"].state, lambda: ModelPool.load(url), lambda: whole().save(url)):
        with pytest.raises(OSError, match="memory:///deep/pool.*cannot be read.*timed out"):
            act()


def test_what_is_no_pool_is_refused_and_left(url):
    with pytest.raises(FileNotFoundError, match="no pool in memory:///deep/pool"):
        ModelPool.load(url)
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/deep/pool/me.jpg", b"x")
    with pytest.raises(PoolFormatError, match="memory:///deep/pool is not a pool.*me.jpg"):
        pool(1).save(url)
    memory.rm_file("/deep/pool/me.jpg")
    newer = json.dumps({"kind": "skfusion.ModelPool", "format": 12, "version": "9.8.7"}).encode()
    for text, words in [(newer, "format 12.*Upgrade"), (b"[]", "not written by skfusion"), (b"{", "is damaged")]:
        memory.pipe_file("/deep/pool/pool.json", text)
        for act in (lambda: ModelPool.load(url), lambda: pool(1).save(url)):
            with pytest.raises(PoolFormatError, match=words) as caught:
                act()
            assert "memory:///deep/pool" in str(caught.value)
            assert tempfile.gettempdir() not in str(caught.value)
        assert content() == {"/deep/pool/pool.json": text}


def test_a_crafted_index_reaches_no_other_file(url, tmp_path):
    pool(1).save(tmp_path)
    index = json.loads((tmp_path / "pool.json").read_text())
    index["members"][0]["state"] = "../secret.safetensors"
    write_index(tmp_path, index)
    fsspec.filesystem("memory").pipe_file("/deep/pool/pool.json", (tmp_path / "pool.json").read_bytes())
    with pytest.raises(PoolFormatError, match="not the name of a state file"):
        ModelPool.load(url)


def test_a_directory_with_a_journal_can_be_copied_there(url, tmp_path, monkeypatch):
    monkeypatch.setattr(_writer, "SMALL", 300)
    store = DirectoryStore(tmp_path)
    store.put(member("a", meta={"text": "x" * 2000}))
    store.put(member("b", 1))
    memory = fsspec.filesystem("memory")
    for path in tmp_path.iterdir():
        memory.pipe_file(f"/deep/pool/{path.name}", path.read_bytes())
    loaded = ModelPool.load(url)
    assert loaded.names == ["a", "b"]
    assert loaded["b"].state["w"][0, 0] == 1.0
    loaded[1:].save(url)
    assert ModelPool.load(url).names == ["b"]
    assert not [path for path in content() if "journal" in path]


def test_states_are_recovered(url):
    whole().save(url)
    fsspec.filesystem("memory").rm_file("/deep/pool/pool.json")
    with pytest.raises(PoolFormatError, match=r"ModelPool.recover\('memory:///deep/pool'\)"):
        ModelPool.load(url)
    assert_same_pool(ModelPool.recover(url), whole())


def test_subspaces(url):
    line = Simplicial(n_connectors=0)([{"w": torch.tensor([v])} for v in (0.0, 4.0)])
    save_subspace(line, url)
    assert load_subspace(url).at([0.75, 0.25])["w"].item() == 1.0


def test_downloads_are_removed_when_they_are_not_needed(url, tmp_path, monkeypatch):
    whole().save(url)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    loaded = ModelPool.load(url)
    state = loaded["m1"].state
    assert os.listdir(tmp_path)
    del loaded
    gc.collect()
    assert os.listdir(tmp_path) == []
    assert state["w"][0, 0] == 1.0


class TestFiles:
    def test_a_url_of_a_file_is_a_directory(self, tmp_path):
        url = f"file://{tmp_path}/p"
        whole().save(url)
        assert_same_pool(ModelPool.load(url), whole())
        store = DirectoryStore(url)
        assert str(store.path) == f"{tmp_path}/p"
        store.put(member("new", 4))
        assert DirectoryStore(tmp_path / "p").get("new").state["w"][0, 0] == 4.0
        shutil.copytree(tmp_path / "p", tmp_path / "q")
        assert_same_pool(ModelPool.load(f"local://{tmp_path}/q"), ModelPool.load(tmp_path / "p"))

    def test_a_store_needs_locks(self, url):
        with pytest.raises(ValueError, match=r"DirectoryStore needs a directory.*memory:///deep/pool.*save\(url\)"):
            DirectoryStore(url)

    def test_unknown_urls(self, monkeypatch):
        with pytest.raises(ValueError, match="'nowhere://x' cannot be opened: Protocol not known"):
            ModelPool.load("nowhere://x")

        def missing(path):
            raise ImportError("Install s3fs to access S3")

        monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
        with pytest.raises(ImportError, match="Install s3fs"):
            ModelPool.load("s3://bucket/pool")

    def test_paths_are_no_urls(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for name in ("a:b", "C:", "with space://x"):
            pool(1).save(name)
            assert ModelPool.load(name).names == ["m1"]
