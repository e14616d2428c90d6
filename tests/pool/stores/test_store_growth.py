"""What a put does not grow with: the members before it, however the store came about, and nobody waits for its data."""

import os
import pickle
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from pools_on_disk import files, index_files, member, pool, run

from skfusion.checkpoints import format as formats
from skfusion.checkpoints.format import _index
from skfusion.collect._run_folder import RunFolder
from skfusion.pool import DirectoryStore, Member, ModelPool
from skfusion.pool.stores import _directory_store, _staged, _writer


@pytest.fixture(autouse=True)
def forgotten():
    """Let no index of another test be known."""
    _directory_store._known_index.cache_clear()


@pytest.fixture
def parsed(monkeypatch):
    """Return the names of the members whose entries are parsed, from the index or from lines of the journal."""
    names, of_index, of_line = [], _index.index_from_bytes, _index.event_from_line

    def index_from_bytes(text, path):
        index = of_index(text, path)
        names.extend(entry["name"] for entry in index["members"])
        return index

    def event_from_line(line, path):
        event, what = of_line(line, path)
        names.append(what["name"])
        return event, what

    monkeypatch.setattr(_index, "index_from_bytes", index_from_bytes)
    monkeypatch.setattr(_index, "event_from_line", event_from_line)
    return names


def folder_of(store):
    return pickle.loads(pickle.dumps(RunFolder(store.path))).store


@pytest.mark.parametrize("arrive", [lambda store: pickle.loads(pickle.dumps(store)), folder_of])
def test_tasks_that_each_get_a_store_read_the_index_once(tmp_path, monkeypatch, parsed, arrive):
    monkeypatch.setattr(_writer, "SMALL", 1000)
    given, counts = DirectoryStore(tmp_path), []
    for k in range(128):
        arrive(given).put(member(f"m{k}", k))
        counts.append(len(parsed))
    assert given.names() == ModelPool.load(tmp_path).names == [f"m{k}" for k in range(128)]
    assert counts[127] < 5 * 128  # each entry some times, where stores that know nothing would read 128 * 127 / 2
    assert counts[127] <= 3 * counts[63]


def test_a_store_that_came_by_pickle_sees_what_others_write(tmp_path):
    given = DirectoryStore(tmp_path)
    a, b = (pickle.loads(pickle.dumps(given)) for _ in range(2))
    given.put(member("x", 1))
    assert a.names() == b.names() == ["x"]
    a.put(member("y", 2))
    given.delete("x")
    assert a.names() == b.names() == given.names() == ["y"]
    pool(3).save(tmp_path)
    assert a.names() == b.names() == ["m3"]
    assert b.get("m3").state["w"][0, 0] == 3.0


def test_relative_paths_are_of_where_the_process_is(tmp_path, monkeypatch):
    stored = pickle.dumps(DirectoryStore("p"))
    for name in "ab":
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        pickle.loads(stored).put(member(name))
    assert [ModelPool.load(tmp_path / name / "p").names for name in "ab"] == [["a"], ["b"]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are no copies here")
def test_a_copy_of_the_process_does_not_wait_for_a_lock_of_its_parent(tmp_path):
    run(f"""
        import os, pickle, torch
        from skfusion.pool import DirectoryStore, Member
        stored = pickle.dumps(DirectoryStore({str(tmp_path)!r}))
        with pickle.loads(stored)._lock:
            child = os.fork()
            if child == 0:
                import threading
                def put():
                    pickle.loads(stored).put(Member("child", {{"w": torch.ones(2)}}))
                thread = threading.Thread(target=put, daemon=True)
                thread.start()
                thread.join(60)
                os._exit(thread.is_alive())
            assert os.waitpid(child, 0)[1] == 0
    """)
    assert ModelPool.load(tmp_path).names == ["child"]


# ------------------------------------------------------------------------------------------------- data before the lock


def interrupted(monkeypatch, act):
    """Have something done, once, when the data of a put were written and the directory is not locked yet."""
    writing, left = _directory_store.writing, [act]

    def later(*args):
        if left:
            left.pop()()
        return writing(*args)

    monkeypatch.setattr(_directory_store, "writing", later)


def temporaries(path):
    return [*Path(path).glob(".writing-*")]


def test_others_write_while_the_data_of_a_put_are_written(tmp_path, monkeypatch):
    pool(1).save(tmp_path)
    replacing, writers = _staged.formats.replacing, []

    def slow(path, *args, **options):
        if path.name.startswith(formats.WRITING) and not writers:
            writers.append(
                threading.Thread(target=DirectoryStore(tmp_path).put, args=(member("quick", 2),), daemon=True)
            )
            writers[0].start()
            writers[0].join(60)
        return replacing(path, *args, **options)

    monkeypatch.setattr(_staged.formats, "replacing", slow)
    DirectoryStore(tmp_path).put(member("slow", 3))
    assert not writers[0].is_alive()
    assert ModelPool.load(tmp_path).names == ["m1", "quick", "slow"]
    assert files(tmp_path).keys() == {"pool.json", *index_files(tmp_path)}


def test_no_data_are_written_while_the_directory_is_locked(tmp_path, monkeypatch):
    pool(1).save(tmp_path)
    replacing, locked, written = formats.replacing, [False], []
    real = _writer._locked

    def marked(directory):
        locked[0] = True
        return real(directory)

    def noted(path, *args, **options):
        written.append((path.name.partition("-")[0], locked[0]))
        return replacing(path, *args, **options)

    monkeypatch.setattr(_writer, "_locked", marked)
    monkeypatch.setattr(formats, "replacing", noted)
    one = member("a", 2, rows=np.arange(4, dtype=np.uint64), predictions=np.ones((2, 2), np.float32))
    DirectoryStore(tmp_path).put(one)
    assert written == [(".writing", False)] * 3 + [("pool.json", True)]
    assert ModelPool.load(tmp_path)["a"].rows.tolist() == [0, 1, 2, 3]


def test_what_another_writer_has_removed_is_written_again(tmp_path, monkeypatch):
    pool(1).save(tmp_path)

    def clean_up():
        assert len(temporaries(tmp_path)) == 1
        (tmp_path / formats.PENDING).touch()  # as of a writer that has crashed
        DirectoryStore(tmp_path).put(member("other", 2))
        assert temporaries(tmp_path) == []

    interrupted(monkeypatch, clean_up)
    DirectoryStore(tmp_path).put(member("mine", 3))
    assert ModelPool.load(tmp_path, lazy=False).names == ["m1", "other", "mine"]
    assert files(tmp_path).keys() == {"pool.json", *index_files(tmp_path)}


def test_what_another_writer_removes_half_written_is_written_again(tmp_path, monkeypatch):
    pool(1).save(tmp_path)
    replacing, left = _staged.formats.replacing, [True]

    @contextmanager
    def overtaken(path, *args, **options):
        with replacing(path, *args, **options) as file:
            yield file
            if left:
                left.pop()
                (tmp_path / formats.PENDING).touch()  # as of a writer that has crashed
                DirectoryStore(tmp_path).put(member("other", 2))
                assert temporaries(tmp_path) == []

    monkeypatch.setattr(_staged.formats, "replacing", overtaken)
    DirectoryStore(tmp_path).put(member("mine", 3))
    assert ModelPool.load(tmp_path, lazy=False).names == ["m1", "other", "mine"]
    assert files(tmp_path).keys() == {"pool.json", *index_files(tmp_path)}


def test_a_file_that_vanishes_before_the_lock_is_written_again(tmp_path, monkeypatch):
    store = DirectoryStore(tmp_path)
    store.put(member("a", 1))
    store.put(member("b", 2))
    interrupted(monkeypatch, lambda: DirectoryStore(tmp_path).delete("a"))
    store.put(member("a", 1))  # its file was there when its data would have been written
    assert ModelPool.load(tmp_path, lazy=False)["a"].state["w"][0, 0] == 1.0


def test_classes_that_change_meanwhile_stand_in_the_file(tmp_path, monkeypatch):
    pool(1, classes=["n", "y"]).save(tmp_path)
    interrupted(monkeypatch, lambda: pool(1, classes=["a", "b", "c"]).save(tmp_path))
    DirectoryStore(tmp_path).put(member("x", 5))
    assert files(tmp_path).keys() == {"pool.json", *index_files(tmp_path)}
    (tmp_path / "pool.json").unlink()
    assert ModelPool.recover(tmp_path).classes.tolist() == ["a", "b", "c"]


def test_a_pool_that_is_removed_meanwhile_is_begun_anew(tmp_path, monkeypatch):
    pool(1).save(tmp_path / "p")
    interrupted(monkeypatch, lambda: [path.unlink() for path in (tmp_path / "p").iterdir()])
    DirectoryStore(tmp_path / "p").put(member("x", 5))
    assert ModelPool.load(tmp_path / "p", lazy=False).names == ["x"]


def test_nothing_is_left_of_a_put_that_fails_before_the_lock(tmp_path, monkeypatch):
    pool(1).save(tmp_path)
    before = files(tmp_path)

    def fail():
        raise KeyboardInterrupt

    interrupted(monkeypatch, fail)
    with pytest.raises(KeyboardInterrupt):
        DirectoryStore(tmp_path).put(member("x", 5))
    assert files(tmp_path) == before


def test_what_a_killed_writer_has_left_is_removed_once_it_is_old(tmp_path):
    pool(1).save(tmp_path)
    source = f"""
        import os, torch
        from skfusion.pool import DirectoryStore, Member
        from skfusion.pool.stores import _directory_store
        _directory_store.writing = lambda *args: os._exit(9)
        DirectoryStore({str(tmp_path)!r}).put(Member("x", {{"w": torch.ones(50)}}))
    """
    run(source, code=9)
    run(source, code=9)
    young, old = temporaries(tmp_path)
    hours_ago = time.time() - 2 * _writer.OLD
    os.utime(old, (hours_ago, hours_ago))
    DirectoryStore(tmp_path).put(member("y", 2))
    assert temporaries(tmp_path) == [young]
    assert ModelPool.load(tmp_path, lazy=False).names == ["m1", "y"]


def test_a_first_put_waits_for_the_lock_with_its_data(tmp_path):
    def put(k):
        DirectoryStore(tmp_path / "p").put(Member(f"m{k}", {"w": torch.full((9,), float(k))}))

    threads = [threading.Thread(target=put, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = ModelPool.load(tmp_path / "p", lazy=False)
    assert sorted(found.names) == [f"m{k}" for k in range(4)]
    assert files(tmp_path / "p").keys() == {"pool.json", *index_files(tmp_path / "p")}
