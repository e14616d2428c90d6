"""Members of one architecture and one start stand together, and others are named with the reason."""

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier

from skfusion.checkpoints import format as formats
from skfusion.pool import Member, ModelPool, PoolFormatError
from skfusion.pool._member import rows_of


def member(name, width=2, start="s", score=float("nan")):
    return Member(name, {"w": torch.ones(width)}, score, {"start": start} if start else {})


def test_the_group_with_the_best_member_comes_first():
    pool = ModelPool(
        [
            member("a", score=0.6),
            member("b", width=3, score=0.9),
            member("c", score=0.7),
            member("d", width=3),
            member("e", start="t", score=0.99),
            member("f", start=None),
            Member("g", estimator=DummyClassifier()),
        ],
        classes=[0, 1],
    )
    groups = pool.grouped()
    assert [g.names for g in groups] == [["b", "d"], ["a", "c"]]
    assert groups[0].classes.tolist() == [0, 1]
    assert {*groups.alone} == {"e", "f", "g"}
    assert repr(groups).splitlines() == [
        "group 0: 2 members, best score 0.9: b, d",
        "group 1: 2 members, best score 0.7: a, c",
        "alone, as it is not known from which weights it started: f",
        "alone, as it is no network: g",
        "alone, as no other one is of its architecture and start: e",
    ]
    assert [m for g in groups[:2] for m in g.names] == ["b", "d", "a", "c"]


def test_members_of_unknown_start_stand_together_where_the_user_says_so():
    pool = ModelPool([member("a", start=None), member("b", start=None), member("c", 3, start=None)])
    with pytest.raises(IndexError, match=r"No two members .* grouped\(one_start=True\)"):
        pool.grouped()[0]
    assert len(pool.grouped()) == 0
    (group,) = pool.grouped(one_start=True)
    assert group.names == ["a", "b"]


def test_rows_that_are_new_to_all_members():
    X, y = np.arange(12.0).reshape(6, 2), np.array(["n", "y"] * 3)
    classes = np.array(["n", "y"])
    a, b = (Member(n, {}, rows=rows_of(X[i], y[i], classes)) for n, i in (("a", [0, 1]), ("b", [1, 4])))
    pool = ModelPool([a, b], classes=classes)
    assert pool.unseen(X, y).tolist() == [2, 3, 5]
    assert pool[["a"]].unseen(X, y).tolist() == [2, 3, 4, 5]
    with pytest.raises(ValueError, match="Each of the 2 rows was used to train some member"):
        pool.unseen(X[:2], y[:2])
    with pytest.raises(ValueError, match="Give both X and y"):
        pool.unseen(None, None)


def test_modules_of_other_settings_are_of_another_architecture():
    def tried(name, **params):
        return Member(name, {"w": torch.ones(2)}, meta={"start": "s", "params": params})

    tanh = {"net__module__activation": "torch.nn.Tanh"}
    relu = {"net__module__activation": "torch.nn.ReLU"}
    members = [
        tried("a", **tanh, lr=0.1, module__dropout=0.1),
        tried("b", **relu, lr=0.1),
        tried("c", **tanh, lr=0.2, module__dropout=0.2, optimizer="Adam"),
        tried("d", **relu, lr=0.3, module__residual=True),
    ]
    groups = ModelPool(members).grouped()
    assert [g.names for g in groups] == [["a", "c"]]
    assert {*groups.alone} == {"b", "d"}


def test_members_in_a_folder_are_grouped_by_the_headers_of_their_files(tmp_path, monkeypatch):
    shared, start = torch.ones(2), {"start": "s"}
    tied, apart = {"w": shared, "v": shared}, {"w": torch.ones(2), "v": torch.ones(2)}  # the same names and shapes
    states = {"tied": tied, "apart": apart, "wide": {"w": torch.ones(3), "v": torch.ones(3)}, "lone": {"w": shared}}
    pool = ModelPool([Member(name, state, meta=start) for name, state in states.items()])
    pool.save(tmp_path)
    monkeypatch.setattr(formats, "check_digest", lambda path: pytest.fail(f"{path.name} was read"))
    loaded = ModelPool.load(tmp_path)
    assert repr(loaded.grouped()) == repr(pool.grouped())
    assert [g.names for g in loaded.grouped()] == [["tied", "apart"]]


def test_a_member_whose_file_has_no_header_is_named(tmp_path):
    ModelPool([member("a"), member("b")]).save(tmp_path)
    for path in tmp_path.glob("state-*"):
        path.write_bytes(b"no header")
    with pytest.raises(PoolFormatError, match="member 'a'.* is damaged"):
        ModelPool.load(tmp_path).grouped()
