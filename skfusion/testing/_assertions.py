"""What laws of several families assert: that states are refused, look alike, and that modules are left as they were."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

from skfusion.objective import Batch, Objective
from skfusion.state import State
from skfusion.testing import _problems as problems


def assert_refused(call: Callable[[], Any], *parts: str, error: type[Exception] = ValueError) -> None:
    """Raise unless a call raises an error, whose message names some parts."""
    try:
        call()
    except error as refusal:
        missing = [part for part in parts if part not in str(refusal)]
        if missing:
            raise AssertionError(f"The message does not name {missing[0]!r}: {refusal}") from refusal
    else:
        raise AssertionError(f"What should raise {error.__name__} is taken without a word.")


def assert_other_architectures_are_refused(call: Callable[[list[State]], Any], make: Callable[[], list[State]]) -> None:
    """Raise unless a call refuses states of which one has another shape, or lacks a tensor, by messages that say so."""
    wider, fewer = make(), make()
    wider[1]["0.weight"] = torch.zeros(7, 3)
    assert_refused(lambda: call(wider), "0.weight", "(5, 3)", "(7, 3)")
    del fewer[-1]["3.bias"]
    assert_refused(lambda: call(fewer), "3.bias")


def assert_diverged_states_are_refused(
    call: Callable[[list[State]], Any], make: Callable[[], list[State]], *parts: str
) -> None:
    """Raise unless a call refuses states of which the second has NaN or infinity; its message names the tensor."""
    for value in (float("nan"), float("inf")):
        states = make()
        states[1]["3.bias"] = torch.tensor([0.0, value])
        assert_refused(lambda states=states: call(states), "3.bias", *parts)


def assert_looks_like(result: State, expected: State) -> None:
    """Raise where names, shapes, dtypes or devices of two states differ."""
    assert {*result} == {*expected}, f"The result has the tensors {[*result]}."
    for key, value in expected.items():
        for what in ("shape", "dtype", "device"):
            now, then = getattr(result[key], what), getattr(value, what)
            assert now == then, f"The {what} of tensor {key!r} was {then} and is {now}."


def assert_module_is_left_as_it_was(call: Callable[[Objective], Any], data: Objective) -> None:
    """Raise where a call changes training modes, hooks or tensors of its objective's module, also when that raises."""

    def look() -> Any:
        hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in data.module.modules()]
        return hooks, problems.snapshot(data.module)

    data.module.train()
    data.module[1].eval()
    before = look()
    bad = [*data.batches(), Batch(torch.zeros(2, 99), torch.zeros(2, dtype=torch.long))]
    for batches in (list(data.batches()), bad):
        with suppress(RuntimeError):
            call(problems.fed(data, batches))
        assert look() == before, "Training modes, hooks or tensors of the module have changed."
