"""The journal of a large pool: puts cost the same however many came before, and nothing of it can change unseen."""

import os
import pickle

import pytest
import torch
from pools_on_disk import files, finish, member, pool, run, start

from skfusion.pool import DirectoryStore, ModelPool, PoolFormatError
from skfusion.pool.stores import _writer


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Return a store of three members whose last two stand in the journal."""
    monkeypatch.setattr(_writer, "SMALL", 300)
    store = DirectoryStore(tmp_path)
    store.put(member("a", meta={"text": "x" * 2000}))
    store.put(member("b", 1, score=0.5))
    store.put(member("c", 2))
    return store


def journal(path):
    (found,) = path.glob("journal-*.jsonl")
    return found


def names(path):
    """Return what a process that has just started reads."""
    return ModelPool.load(path).names


def test_puts_stand_in_the_journal_and_are_part_of_the_pool(store, tmp_path):
    index = (tmp_path / "pool.json").read_bytes()
    store.put(member("b", 5, score=0.25))
    store.delete("a")
    assert (tmp_path / "pool.json").read_bytes() == index
    assert len(journal(tmp_path).read_text().splitlines()) == 4
    assert store.names() == names(tmp_path) == ["b", "c"]
    assert ModelPool.load(tmp_path)["b"].score == store.get("b").score == 0.25
    assert len([*tmp_path.glob("state-*")]) == 2
    ModelPool.load(tmp_path).save(tmp_path)
    assert journal(tmp_path).read_bytes() == b""
    assert names(tmp_path) == ["b", "c"]


def test_the_cost_of_a_put_does_not_grow(tmp_path, monkeypatch):
    written, text = [], _writer.formats.entry_to_text
    monkeypatch.setattr(_writer, "SMALL", 1000)
    monkeypatch.setattr(_writer.formats, "entry_to_text", lambda entry: written.append(entry) or text(entry))
    store = DirectoryStore(tmp_path)
    for k in range(120):
        store.put(member(f"m{k}", k, meta={"history": [0.5] * 20}))
    assert len(written) < 4 * 120  # were all written anew, 7260
    assert names(tmp_path) == [f"m{k}" for k in range(120)]


def test_stores_see_what_others_have_put(store, tmp_path):
    other = DirectoryStore(tmp_path)
    assert other.names() == ["a", "b", "c"]
    for k in range(30):  # more than the index is long, so that it is written anew between
        store.put(member(f"m{k}", k, meta={"text": "x" * 200}))
        assert other.names() == store.names()
        assert other.get(f"m{k}").state["w"][0, 0] == k
    assert pickle.loads(pickle.dumps(store)).names() == store.names()


def test_a_line_that_a_failed_writer_took_back_is_forgotten(store, tmp_path):
    other, path = DirectoryStore(tmp_path), journal(tmp_path)
    before = path.read_bytes()
    store.put(member("x", 1))
    assert other.names() == ["a", "b", "c", "x"]
    path.write_bytes(before)
    assert other.names() == ["a", "b", "c"]
    DirectoryStore(tmp_path).put(member("y", 1))  # a line of the same length
    assert other.names() == ["a", "b", "c", "y"]


def test_half_a_line_is_dropped_and_told(store, tmp_path):
    with journal(tmp_path).open("ab") as file:
        file.write(b'{"check": "00')
    assert DirectoryStore(tmp_path).names() == ["a", "b", "c"]
    with pytest.warns(UserWarning, match="ends in half a line"):
        ModelPool.load(tmp_path)
    store.put(member("d"))
    assert names(tmp_path) == ["a", "b", "c", "d"]


def test_a_changed_or_missing_journal_is_damage(store, tmp_path):
    path = journal(tmp_path)
    text = path.read_bytes()
    lines = text.splitlines(keepends=True)
    changed = [text.replace(b"0.5", b"0.6"), text[:-1] + b" \n", lines[0] + b"{}\n", lines[0] + b"\n" + lines[1], None]
    for damaged in [*changed, text[:40] + b"\n"]:
        path.unlink() if damaged is None else path.write_bytes(damaged)
        before = files(tmp_path)
        fresh = DirectoryStore(tmp_path)
        for act in (lambda: ModelPool.load(tmp_path), fresh.names, lambda fresh=fresh: fresh.put(member("d"))):
            with pytest.raises(PoolFormatError, match=rf"{path.name}.*ModelPool\.recover"):
                act()
        assert files(tmp_path) == before
        path.write_bytes(text)
    assert sorted(ModelPool.recover(tmp_path).names) == names(tmp_path) == ["a", "b", "c"]


def test_a_failed_put_leaves_the_journal_as_it_was(store, tmp_path, monkeypatch):
    before, sync = files(tmp_path), os.fsync
    for allowed in range(3):  # of the state, of its directory, of the journal
        calls = iter(range(9))

        def full(handle, calls=calls, allowed=allowed):
            if next(calls) == allowed:
                raise KeyboardInterrupt
            sync(handle)

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(KeyboardInterrupt):
            store.put(member("d", 9))
        monkeypatch.undo()
        assert files(tmp_path) == before
        assert store.names() == names(tmp_path) == ["a", "b", "c"]


@pytest.mark.parametrize("moment", ["before", "half", "after"])
def test_a_writer_that_is_killed_at_the_journal(store, tmp_path, moment):
    run(
        f"""
        import os, torch
        from skfusion.pool import DirectoryStore, Member
        from skfusion.pool.stores import _writer
        append, moment = _writer._append, {moment!r}
        def crash(path, line, end):
            if moment != "before":
                append(path, line if moment == "after" else line[:30], end)
            os._exit(9)
        _writer._append = crash
        DirectoryStore({str(tmp_path)!r}).put(Member("b", {{"w": torch.ones(3)}}))
        """,
        code=9,
    )
    assert DirectoryStore(tmp_path).names() == ["a", "b", "c"]
    assert len(DirectoryStore(tmp_path).get("b").state["w"].shape) == (1 if moment == "after" else 2)
    DirectoryStore(tmp_path).put(member("d", 4))
    assert names(tmp_path) == ["a", "b", "c", "d"]
    assert len([*tmp_path.glob("state-*")]) == 4
    assert {p.name for p in tmp_path.iterdir() if p.suffix not in (".safetensors", ".jsonl")} <= {
        "pool.json",
        ".pool.lock",
    }


def test_a_writer_that_is_killed_while_it_merges_the_journal(store, tmp_path):
    run(
        f"""
        import os, sys, torch
        from skfusion.pool import DirectoryStore, Member
        from skfusion.pool.stores import _writer
        replace = os.replace
        def crash(source, target):
            if str(target).endswith("pool.json"):
                os._exit(9)
            replace(source, target)
        os.replace = crash
        DirectoryStore({str(tmp_path)!r}).put(Member("big", {{"w": torch.ones(3)}}, meta={{"text": "x" * 5000}}))
        """,
        code=9,
    )
    assert names(tmp_path) == ["a", "b", "c"]
    store.put(member("d", 4))
    assert names(tmp_path) == ["a", "b", "c", "d"]
    assert len([*tmp_path.glob("state-*")]) == 4
    assert len([*tmp_path.glob("journal-*")]) == 1


def test_two_processes_put_into_the_journal(tmp_path):
    source = """
        import sys, torch
        from skfusion.pool import DirectoryStore, Member
        from skfusion.pool.stores import _writer
        _writer.SMALL = 2000
        store = DirectoryStore(sys.argv[1])
        for k in range(20):
            store.put(Member(f"{sys.argv[2]}-{k}", {"w": torch.full((3,), float(k))}, meta={"text": "x" * 100}))
    """
    processes = [start(source, tmp_path / "s", name) for name in "ab"]
    assert [finish(p) for p in processes] == [0, 0]
    found = ModelPool.load(tmp_path / "s")
    assert sorted(found.names) == sorted(f"{name}-{k}" for name in "ab" for k in range(20))
    assert all(torch.equal(m.state["w"], torch.full((3,), float(m.name[2:]))) for m in found)
    assert len([*(tmp_path / "s").glob("state-*")]) == 40


def test_only_what_the_index_listed_is_removed(tmp_path):
    pool(1, 2).save(tmp_path)
    backup = (tmp_path / "pool.json").read_bytes()
    DirectoryStore(tmp_path).put(member("later", 7))
    (tmp_path / "pool.json").write_bytes(backup)  # an older index, restored
    DirectoryStore(tmp_path).put(member("new", 8))
    pool(5).save(tmp_path)
    assert sorted(ModelPool.recover(tmp_path).names) == ["later", "m5"]


@pytest.mark.parametrize("name", ["pool.json", "state", ".pool.lock", ".pool.pending"])
@pytest.mark.parametrize("kind", ["folder", "loop", "pipe"])
def test_what_is_no_file_is_refused(tmp_path, name, kind):
    pool(1).save(tmp_path)
    path = next(tmp_path.glob("state-*")) if name == "state" else tmp_path / name
    path.unlink(missing_ok=True)
    {"folder": path.mkdir, "loop": lambda: path.symlink_to(path.name), "pipe": lambda: os.mkfifo(path)}[kind]()
    store = DirectoryStore(tmp_path)
    acts = [lambda: ModelPool.load(tmp_path)[0].state, lambda: store.get("m1").state, lambda: store.put(member("m1"))]
    if name == "state":
        acts = acts[:2]
    elif name.startswith("."):
        acts = acts[2:]
    for act in acts:
        with pytest.raises(PoolFormatError) as caught:
            act()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
