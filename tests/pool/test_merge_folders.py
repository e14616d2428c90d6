"""Several folders of members become one, each member once."""

import math

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

from skfusion import ModelPool
from skfusion.pool import DirectoryStore, Member, PoolFormatError, merge_folders


def member(name, value, **known):
    return Member(name, {"w": torch.full((3,), float(value)), "n": torch.tensor(2)}, **known)


def folder(path, *members, **of_pool):
    ModelPool(members, **of_pool).save(path)
    return path


def contents(path):
    return {p.name: p.read_bytes() for p in path.iterdir()}


def test_members_of_all_folders_stand_in_their_order_and_bit_for_bit(tmp_path):
    rows = np.arange(3, dtype=np.uint64)
    a = folder(tmp_path / "a", member("x", math.nan, score=0.5, rows=rows, meta={"seed": 1}), classes=["no", "yes"])
    b = folder(tmp_path / "b", member("y", 2, predictions=np.eye(2)), member("z", 3), classes=["no", "yes"])
    before = contents(a)
    assert merge_folders([b, a], tmp_path / "all") == ["y", "z", "x"]
    pool = ModelPool.load(tmp_path / "all")
    assert pool.names == ["y", "z", "x"]
    assert pool.classes.tolist() == ["no", "yes"]
    assert pool["x"].state["w"].isnan().all()
    assert (pool["x"].score, pool["x"].meta) == (0.5, {"seed": 1})
    assert pool["x"].rows.tolist() == [0, 1, 2]
    assert pool["y"].predictions.tolist() == [[1, 0], [0, 1]]
    assert contents(a) == before


def test_the_same_member_is_written_once_and_a_merge_can_be_called_again(tmp_path):
    a = folder(tmp_path / "a", member("x", math.nan, meta={"loss": math.nan}))
    b = folder(tmp_path / "b", member("x", math.nan, meta={"loss": math.nan}), member("y", 2))
    assert merge_folders([a, b], tmp_path / "all") == ["x", "y"]
    assert merge_folders([a, b], tmp_path / "all") == []
    c = folder(tmp_path / "c", member("w", 4))
    assert merge_folders([a, c], tmp_path / "all") == ["w"]
    assert ModelPool.load(tmp_path / "all").names == ["x", "y", "w"]


@pytest.mark.parametrize(
    "other",
    [
        member("x", 2),
        member("x", 1, score=0.5),
        member("x", 1, meta={"seed": 2}),
        member("x", 1, rows=np.arange(2, dtype=np.uint64)),
        Member("x", {"w": torch.full((3,), 1.0)}),
        Member("x", {"w": torch.full((3,), 1.0).double(), "n": torch.tensor(2)}),
    ],
    ids=["weights", "score", "meta", "rows", "fewer tensors", "another dtype"],
)
def test_other_members_of_a_name_are_refused_or_called_after_their_folder(tmp_path, other):
    a, b = folder(tmp_path / "a", member("x", 1)), folder(tmp_path / "b", other)
    with pytest.raises(ValueError, match=r"a and .*b have different members called 'x'.*prefix=True"):
        merge_folders([a, b], tmp_path / "all")
    assert not (tmp_path / "all").exists()
    for _ in range(2):
        merge_folders([a, b], tmp_path / "all", prefix=True)
        assert ModelPool.load(tmp_path / "all").names == ["x", "b/x"]


def test_prefixes_that_are_taken_too_are_an_error(tmp_path):
    folders = [folder(tmp_path / str(i) / "same", member("x", i)) for i in range(3)]
    with pytest.raises(ValueError, match="'x' and 'same/x'.*folders of different names"):
        merge_folders(folders, tmp_path / "all", prefix=True)


def test_classes_are_those_of_all_folders(tmp_path):
    a = folder(tmp_path / "a", member("x", 1), classes=[0, 1])
    DirectoryStore(tmp_path / "b").put(member("y", 2))
    c = folder(tmp_path / "c", member("z", 3), classes=[1, 0])
    merge_folders([tmp_path / "b", a], tmp_path / "all")
    assert ModelPool.load(tmp_path / "all").classes.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"classes \[0, 1\].*\[1, 0\]"):
        merge_folders([a, c], tmp_path / "more")
    with pytest.raises(ValueError, match="other classes.*new folder"):
        merge_folders([a], tmp_path / "b")


def test_a_common_start_is_kept_where_all_have_it(tmp_path):
    start = {"w": torch.zeros(3)}
    a, b = (folder(tmp_path / name, member(name, 1), base=start) for name in "ab")
    c = folder(tmp_path / "c", member("c", 1))
    merge_folders([a, b], tmp_path / "all")
    assert ModelPool.load(tmp_path / "all").base["w"].tolist() == [0, 0, 0]
    with pytest.warns(UserWarning, match="no common start"):
        merge_folders([a, c], tmp_path / "apart")
    assert ModelPool.load(tmp_path / "apart").base is None
    with (
        pytest.warns(UserWarning, match="no common start"),
        pytest.raises(ValueError, match="other common start"),
    ):
        merge_folders([c], tmp_path / "all")


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_folders([], tmp_path / "all")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        merge_folders([tmp_path / "nowhere"], tmp_path / "all")
    a = folder(tmp_path / "a", member("x", 1))
    (a / "pool.json").write_text("{")
    with pytest.raises(PoolFormatError, match="pool.json"):
        merge_folders([a], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_estimators_are_merged_again_whose_types_are_not_trusted(tmp_path):
    X, y = np.arange(8.0)[:, None], np.arange(8) // 4
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        forest = RandomForestClassifier(2, random_state=seed).fit(X, y)
        folder(tmp_path / name, Member("f", estimator=forest))
    folders = [tmp_path / "a", tmp_path / "b"]
    assert merge_folders(folders, tmp_path / "all") == ["f"]
    assert merge_folders(folders, tmp_path / "all") == []
    with pytest.raises(ValueError, match="different members called 'f'"):
        merge_folders([tmp_path / "c"], tmp_path / "all")
    assert merge_folders([tmp_path / "c"], tmp_path / "all", prefix=True) == ["c/f"]
