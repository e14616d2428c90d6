"""Stores after failures, crashes and damage: the old pool stays, or one clear error names the file."""

import errno
import json
import os
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch
from pools_on_disk import (
    assert_same_pool,
    files,
    index_files,
    member,
    pool,
    run,
    write_index,
)

import skfusion
from skfusion.checkpoints import format as formats
from skfusion.pool import DirectoryStore, ModelPool, PoolFormatError


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

    @pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT", "EROFS", "EIO", "ESTALE", "EACCES"])
    @pytest.mark.parametrize("act", ["save", "put", "delete"])
    def test_a_disk_that_fails_is_named_and_leaves_the_old_pool(self, tmp_path, monkeypatch, act, code):
        old = pool(1, 2)
        old.save(tmp_path)
        store, before = DirectoryStore(tmp_path), files(tmp_path)
        change = {
            "save": lambda: pool(3, 4).save(tmp_path),
            "put": lambda: store.put(member("m1", 8.0)),
            "delete": lambda: store.delete("m1"),
        }[act]
        number = getattr(errno, code)
        real, opened = Path.open, iter(range(99))

        def fail(path, mode="r", *args, **kwargs):
            if tmp_path in path.parents and mode != "rb" and next(opened) >= allowed:
                raise OSError(number, os.strerror(number), str(path))
            return real(path, mode, *args, **kwargs)

        failures = []
        for allowed in range(20):  # noqa: B007
            opened = iter(range(99))
            monkeypatch.setattr(Path, "open", fail)
            try:
                change()
                break
            except OSError as error:
                failures.append(error)
            finally:
                monkeypatch.undo()
            assert_same_pool(ModelPool.load(tmp_path), old)
            assert before.items() <= files(tmp_path).items()
        assert len(failures) >= 2
        for error in failures:
            assert error.errno == number
            assert str(tmp_path) in str(error)
            assert "is as before" in str(error)
            assert "\n" not in str(error)
        change() if act != "delete" else store.put(member("m2", 2, score=0.2))
        assert {"pool.json", *index_files(tmp_path)} == files(tmp_path).keys()

    def test_a_directory_that_cannot_be_made_or_locked_is_named(self, tmp_path, monkeypatch):
        def fail(*args, **kwargs):
            raise OSError(errno.EROFS, "Read-only file system", str(tmp_path))

        monkeypatch.setattr(Path, "mkdir", fail)
        with pytest.raises(OSError, match=r"The pool in .*deep.* cannot be written: Read-only.*save it where you may"):
            pool(1).save(tmp_path / "deep" / "p")
        monkeypatch.undo()
        for error in (
            NotImplementedError("FileSystem does not appear to support flock"),
            OSError(errno.ENOLCK, "No locks"),
        ):

            def unsupported(self, *args, error=error, **kwargs):
                raise error

            monkeypatch.setattr(filelock.FileLock, "acquire", unsupported)
            with pytest.raises(OSError, match=rf"{tmp_path}.*(cannot be locked: save the pool elsewhere|No locks)"):
                pool(1).save(tmp_path / "p")

    def test_new_directories_last(self, tmp_path, monkeypatch):
        synced = []
        monkeypatch.setattr(formats, "sync_directory", synced.append)
        DirectoryStore(tmp_path / "a" / "b").put(member())
        assert {tmp_path, tmp_path / "a"} <= {*synced}

    @pytest.mark.parametrize("part", ["index", "state"])
    def test_a_disk_that_vanishes_while_it_is_read_is_named(self, tmp_path, monkeypatch, part):
        pool(1, 2).save(tmp_path)
        loaded = ModelPool.load(tmp_path)
        first = loaded["m1"].state

        def gone(path, *args, **kwargs):
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(Path, "open", gone)
        with pytest.raises(OSError, match=rf"{tmp_path}.*cannot be read: Input/output error") as caught:
            ModelPool.load(tmp_path) if part == "index" else loaded["m2"].state
        assert caught.value.errno == errno.EIO
        assert part == "index" or "member 'm2'" in str(caught.value)
        monkeypatch.undo()
        assert loaded["m1"].state is first
        assert loaded["m2"].state["w"][0, 0] == 2.0  # it is back

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
        for read in (
            lambda: ModelPool.load(path, lazy=False),
            lambda: ModelPool.load(path)["m2"].state,
            lambda: DirectoryStore(path).get("m2").state,
        ):
            with pytest.raises(PoolFormatError) as caught:
                read()
            assert str(file) in str(caught.value)
            assert "member 'm2'" in str(caught.value)
            assert ("missing" if damage == "missing" else "damaged") in str(caught.value)
            assert f"DirectoryStore({str(path)!r}).get(name)" in str(caught.value)
        store = DirectoryStore(path)
        assert store.names() == ["m1", "m2", "m3"]
        assert store.get("m3").state["w"][0, 0] == 3.0
        assert ModelPool.load(path)["m3"].state["w"][0, 0] == 3.0
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
            ModelPool.load(path).base  # noqa: B018
        assert ModelPool.load(path)["m1"].state.keys() == DirectoryStore(path).get("m1").state.keys() == {"w", "steps"}
        DirectoryStore(path).put(member("r", rows=np.arange(3, dtype=np.uint64)))
        (file,) = path.glob("rows-*")
        file.write_bytes(b"")
        with pytest.raises(PoolFormatError, match="training rows of member 'r', is damaged"):
            DirectoryStore(path).get("r").rows  # noqa: B018
        assert DirectoryStore(path).get("r").state["w"][0, 0] == 0.0

    @pytest.mark.parametrize("damage", [b"", None])
    def test_predictions(self, path, damage):
        DirectoryStore(path).put(member("p", predictions=np.ones((2, 2))))
        (file,) = path.glob("predictions-*")
        file.write_bytes(damage) if damage is not None else file.unlink()
        what = "is missing" if damage is None else "is damaged"
        with pytest.raises(PoolFormatError, match=f"the predictions of member 'p', {what}"):
            DirectoryStore(path).get("p").predictions  # noqa: B018
        assert DirectoryStore(path).get("p").state["w"][0, 0] == 0.0

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
        self.refused(path, rf"format 12, written by skfusion 9.8.7.*{skfusion.__version__}.*up to 3\. Upgrade")

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
