"""Pools whose index is lost: nothing is removed, and the states are read back."""

import hashlib
import json
import math
import os

import numpy as np
import pytest
import torch

from skfusion.checkpoints.format import state_to_bytes
from skfusion.pool import DirectoryStore, Member, ModelPool, PoolFormatError

ROWS = np.arange(4, dtype=np.uint64)


def whole_pool():
    members = [
        Member(
            f"m{k}", {"w": torch.full((3,), float(k))}, [0.5, math.nan, math.inf][k % 3], {"epoch": k, "loss": math.inf}
        )
        for k in (10, 2, 1)
    ]
    members[0] = members[0].replace(rows=ROWS, predictions=np.ones((2, 2), np.float32))
    return ModelPool(members, {"w": torch.ones(3)}, ["n", "y"])


def states(path):
    return {p.name: p.read_bytes() for p in path.iterdir() if p.suffix == ".safetensors"}


def check_recovered(found):
    wanted = whole_pool()
    assert found.names == ["m1", "m2", "m10"]  # by name, with numbers by value
    for member in found:
        other = wanted[member.name]
        assert torch.equal(member.state["w"], other.state["w"])
        assert member.score == other.score or (math.isnan(member.score) and math.isnan(other.score))
        assert member.meta == other.meta
    assert found["m10"].rows.tolist() == ROWS.tolist()
    assert found["m10"].predictions.tolist() == [[1, 1], [1, 1]]
    assert found.base["w"].tolist() == [1, 1, 1]
    assert found.classes.tolist() == ["n", "y"]


@pytest.mark.parametrize(
    "damage",
    [
        None,
        b"",
        b"{}",
        b'{"kind": "skfusion.ModelPool", "format": 1, "classes": null, "base": null, "members": []}',
        b'{"kind": "skfusion.ModelPool", "format": 1, "classes": null, "base": null, "members": {}}',
        b"[" * 100_000,
    ],
    ids=["absent", "empty", "no index", "no members", "members of a dict", "deep"],
)
def test_nothing_is_lost_with_the_index(tmp_path, damage):
    whole_pool().save(tmp_path)
    before, index = states(tmp_path), tmp_path / "pool.json"
    index.unlink() if damage is None else index.write_bytes(damage)
    with pytest.raises(PoolFormatError, match=r"ModelPool\.recover|not written by skfusion") as caught:
        ModelPool.load(tmp_path)
    assert "\n" not in str(caught.value)
    for write in (
        lambda: DirectoryStore(tmp_path).put(Member("new", {"w": torch.zeros(1)})),
        lambda: ModelPool([Member("other", {"w": torch.zeros(2)})]).save(tmp_path),
        lambda: DirectoryStore(tmp_path).delete("other"),
    ):
        try:
            write()
        except (PoolFormatError, KeyError):
            assert damage is not None
        assert before.items() <= states(tmp_path).items()
    index.unlink(missing_ok=True)
    for path in set(tmp_path.iterdir()) - {tmp_path / name for name in before}:
        path.unlink()
    check_recovered(ModelPool.recover(tmp_path))
    assert states(tmp_path) == before
    ModelPool.recover(tmp_path).save(tmp_path)
    assert states(tmp_path) == before  # the same files, for they hold the same
    assert ModelPool.load(tmp_path).names == ["m1", "m2", "m10"]


def test_a_net_is_given_as_to_load(tmp_path):
    whole_pool().save(tmp_path)
    assert {m.net for m in ModelPool.recover(tmp_path, net="mine")} == {"mine"}
    with pytest.raises(ValueError, match="missing are"):
        ModelPool.recover(tmp_path, net={"m1": "mine"})


def test_states_without_names_are_called_as_their_files(tmp_path):
    data = state_to_bytes({"w": torch.ones(2)}, "a")  # as in format 1
    name = f"state-{hashlib.sha256(data).hexdigest()}"
    (tmp_path / f"{name}.safetensors").write_bytes(data)
    found = ModelPool.recover(tmp_path)
    assert found.names == [name]
    assert found.classes is None
    assert found.base is None


def test_what_cannot_be_read_is_named(tmp_path):
    whole_pool().save(tmp_path)
    entries = {m["name"]: m for m in json.loads((tmp_path / "pool.json").read_text())["members"]}
    (tmp_path / entries["m1"]["state"]).write_bytes(b"half")
    (tmp_path / entries["m10"]["rows"]).unlink()
    with pytest.warns(UserWarning, match="left out") as caught:
        found = ModelPool.recover(tmp_path)
    (message,) = (str(w.message) for w in caught)
    assert f"{entries['m1']['state']} is left out, as it is damaged." in message
    assert f"The rows of member 'm10' are left out, as {entries['m10']['rows']} is missing." in message
    assert found.names == ["m2", "m10"]
    assert found["m10"].rows is None
    assert found["m10"].predictions is not None


def test_an_older_state_of_the_same_name_is_kept(tmp_path):
    for k, folder in enumerate(["a", "b"]):
        DirectoryStore(tmp_path / folder).put(Member("x", {"w": torch.full((2,), float(k))}, score=k))
    (old,) = (tmp_path / "a").glob("state-*")
    (tmp_path / "b" / old.name).write_bytes(old.read_bytes())
    os.utime(tmp_path / "b" / old.name, ns=(0, 0))
    with pytest.warns(UserWarning, match="an older one, has the name 'x'"):
        found = ModelPool.recover(tmp_path / "b")
    assert found["x"].score == 1
    assert sorted(m.score for m in found) == [0, 1]


def test_where_there_is_nothing_to_recover(tmp_path):
    with pytest.raises(FileNotFoundError, match="no directory"):
        ModelPool.recover(tmp_path / "none")
    with pytest.raises(PoolFormatError, match=r"no state file of a pool that can be read\."):
        ModelPool.recover(tmp_path)
    (tmp_path / f"state-{'0' * 64}.safetensors").write_bytes(b"half")
    with pytest.raises(PoolFormatError, match="can be read: state-0+.safetensors is left out"):
        ModelPool.recover(tmp_path)
