"""Stores that several processes and threads use at once."""

import multiprocessing
import threading
from contextlib import suppress

import numpy as np
import pytest
from pools_on_disk import (
    assert_same_pool,
    files,
    finish,
    index_files,
    member,
    pool,
    start,
)
from sklearn.linear_model import Ridge

from skfusion.checkpoints import format as formats
from skfusion.pool import DirectoryStore, ModelPool, PoolFormatError


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

    def test_four_processes_add_networks_and_estimators(self, tmp_path):
        source = """
            import sys, numpy as np, torch
            from sklearn.linear_model import Ridge
            from skfusion.pool import DirectoryStore, Member
            from skfusion.pool.stores import _writer
            _writer.SMALL = 1000  # so that the journal is used, too
            store, X = DirectoryStore(sys.argv[1]), np.arange(8.0).reshape(4, 2)
            for k in range(6):
                one = Member(f"{sys.argv[2]}-{k}", {"w": torch.ones(5) * k}, k, rows=np.arange(3, dtype=np.uint64))
                if k % 3 == 0:
                    one = one.replace(state=None, estimator=Ridge().fit(X, X[:, 0] + k))
                store.put(one)
                assert f"{sys.argv[2]}-{k}" in store.names()
        """
        processes = [start(source, tmp_path / "s", name) for name in "abcd"]
        assert [finish(p) for p in processes] == [0] * 4
        found = ModelPool.load(tmp_path / "s")
        assert sorted(found.names) == sorted(f"{name}-{k}" for name in "abcd" for k in range(6))
        for one in found:
            k = int(one.name[2:])
            assert one.score == k
            assert one.rows.tolist() == [0, 1, 2]
            if k % 3:
                assert one.state["w"].tolist() == [k] * 5
            else:
                X = np.arange(8.0).reshape(4, 2)
                assert np.array_equal(one.estimator.predict(X), Ridge().fit(X, X[:, 0] + k).predict(X))
        names = {p.name for p in (tmp_path / "s").iterdir() if p.suffix in (".safetensors", ".skops")}
        assert len(names) == 4 * 6 + 1

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
            values = [m.state["w"].flatten()[0].item() for m in ModelPool.load(tmp_path, lazy=False)]
            assert values == [0.0, 1.0] or values[0] == values[1]
            seen.add(values[1])
            with suppress(PoolFormatError):  # where a file was removed since it was opened, and no mixture
                values = [m.state["w"].flatten()[0].item() for m in ModelPool.load(tmp_path)]
                assert values == [0.0, 1.0] or values[0] == values[1]
        assert finish(process) == 0
        assert len(seen) > 1

    @pytest.mark.parametrize("late", [False, True])
    def test_a_writer_between_two_looks_of_a_reader(self, tmp_path, monkeypatch, late):
        pool(1, 2).save(tmp_path)
        check, writers = formats.check_digest, [pool(3, 4), pool(5, 6)]

        def interfere(path):
            if late:
                check(path)
            if writers:
                writers.pop().save(tmp_path)
            if not late:
                check(path)

        monkeypatch.setattr(formats, "check_digest", interfere)
        assert_same_pool(ModelPool.load(tmp_path, lazy=False), pool(3, 4))
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
