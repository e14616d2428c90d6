"""Laws of stores. Each takes an empty store."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from skfusion.pool import Member, Store
from skfusion.testing import _problems as problems
from skfusion.testing._laws_all import assert_refused


def member(name: str = "a", k: int = 0) -> Member:
    """Return a member with tensors of many dtypes, a score, metadata, row hashes and predictions."""
    state = problems.states(k + 1)[k] | {
        "half": torch.tensor([1.5, -0.0], dtype=torch.bfloat16),
        "wide": torch.tensor([[1e-300]], dtype=torch.float64),
        "mask": torch.tensor([True, False]),
        "none": torch.zeros(0, 3),
    }
    keys = np.array([1, 2**63, 3 + k], np.uint64)
    predictions = np.array([[0.25, 0.75], [-0.0, np.nan]], np.float32) + k
    return Member(name, state, 0.1 + 0.2 * k, {"epoch": k, "lr": 0.1}, keys, predictions=predictions)


def check_get_returns_what_was_put(store: Store) -> None:
    """States, scores, metadata, row hashes and predictions come back bit for bit."""
    members = [member("a", 0), member("b", 1)]
    for one in members:
        store.put(one)
    for one in members:
        read = store.get(one.name)
        for what in ("name", "state", "score", "meta", "rows", "predictions"):
            after, before = (dict(v) if what == "meta" else v for v in (getattr(read, what), getattr(one, what)))
            assert problems.snapshot(after) == problems.snapshot(before), f"The {what} of a member has changed."


def check_estimators_come_back_or_are_refused(store: Store) -> None:
    """A fitted estimator predicts as before, in place of a network of its name; a refusal names the member."""
    X = np.array([[0.0], [1.0], [2.0], [3.0]])
    given = LogisticRegression().fit(X, ["a", "a", "b", "b"])
    one = Member("e", estimator=given, score=0.25, meta={"C": 1.0}, predictions=given.predict_proba(X))
    store.put(member("e"))
    store.put(member("f"))
    try:
        store.put(one)
    except (TypeError, ValueError, ImportError) as error:
        named = "'e'" in str(error)
        assert named, "The refusal of an estimator does not name its member."
        assert store.get("e").is_network, "A member that was refused has replaced another."
        return
    read = store.get("e")
    assert not read.is_network, "An estimator has become a network."
    assert np.array_equal(read.estimator.predict_proba(X), given.predict_proba(X)), "An estimator predicts otherwise."
    assert read.estimator.predict(X).tolist() == given.predict(X).tolist(), "An estimator predicts otherwise."
    for what in ("score", "meta", "predictions"):
        assert problems.snapshot(getattr(read, what)) == problems.snapshot(getattr(one, what)), (
            f"The {what} has changed."
        )
    given.coef_[:] = 0
    assert store.get("e").estimator.coef_.any(), "The store shares an estimator with its caller."
    assert store.names() == ["e", "f"], f"The names are {store.names()}."
    store.put(member("e", 1))
    assert problems.snapshot(store.get("e").state) == problems.snapshot(member("e", 1).state), "The estimator is kept."


def check_put_replaces_a_member_of_the_same_name(store: Store) -> None:
    """The second put wins, in the place of the first."""
    for one in (member("a", 0), member("b", 0), member("a", 1)):
        store.put(one)
    assert store.names() == ["a", "b"], f"The names are {store.names()}."
    assert problems.snapshot(store.get("a").state) == problems.snapshot(member("a", 1).state), "The old member is kept."


def check_put_keeps_a_copy(store: Store) -> None:
    """Later changes of the member's tensors do not reach the store, and the member is not written."""
    one = member()
    before = problems.snapshot(one)
    store.put(one)
    assert problems.snapshot(one) == before, "put writes to the member."
    for value in one.state.values():
        value.zero_()
    assert problems.snapshot(store.get("a").state) == before[1][1], "The store shares tensors with its caller."


def check_names_are_in_the_order_of_puts(store: Store) -> None:
    """Names come in the order in which they were first put; an empty store has none."""
    assert store.names() == [], "An empty store has names."
    for name in ("b", "c", "a"):
        store.put(member(name))
    assert store.names() == ["b", "c", "a"], f"The names are {store.names()}."


def check_delete_forgets_one_member(store: Store) -> None:
    """A deleted member is gone, and the others stay."""
    for name in ("a", "b", "c"):
        store.put(member(name))
    store.delete("b")
    assert store.names() == ["a", "c"], f"The names are {store.names()}."
    assert_refused(lambda: store.get("b"), error=KeyError)
    assert problems.snapshot(store.get("c").state) == problems.snapshot(member("c").state), "Another member is changed."


def check_unknown_names_are_key_errors(store: Store) -> None:
    """``get`` and ``delete`` of an unknown name raise ``KeyError``, in an empty store too."""
    for _ in range(2):
        for call in (store.get, store.delete):
            assert_refused(lambda call=call: call("missing"), error=KeyError)
        store.put(member())
    assert store.names() == ["a"], "A failed call changes the store."
