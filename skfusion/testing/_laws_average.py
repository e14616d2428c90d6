"""Laws of averages along a run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from sklearn.base import clone
from torch import Tensor

from skfusion.average import Average
from skfusion.state import State
from skfusion.testing import _problems as problems
from skfusion.testing._laws_states import assert_alike

N = 12
"""States of the run that averages are checked on."""


def floats(state: State) -> State:
    """Return the tensors that are averaged, in double precision."""
    return {k: v.double() for k, v in state.items() if v.is_floating_point()}


def numbers_in(thing: Any) -> int:
    """Return how many numbers there are in the tensors that an object keeps."""
    if isinstance(thing, Tensor):
        return thing.numel()
    if isinstance(thing, dict):
        return sum(map(numbers_in, thing.values()))
    if isinstance(thing, Iterable) and not isinstance(thing, str):
        return sum(map(numbers_in, thing))
    return sum(map(numbers_in, vars(thing).values())) if hasattr(thing, "__dict__") else 0


def check_stream_and_stored_trajectory_agree(component: Average) -> None:
    """What comes of the states while they pass, and are overwritten, is what comes of their copies."""
    trajectory = problems.states(N)
    while_it_ran = problems.streamed(component, trajectory).result()
    afterwards = problems.average_of(clone(component), trajectory)
    assert_alike(floats(while_it_ran), floats(afterwards), "The average while the run goes", rtol=1e-5, atol=1e-6)


def check_weights_of_states_sum_to_one(component: Average) -> None:
    """The weights of the states are finite, one for each state, with a sum of one, whatever the length of the run."""
    for n in (1, 2, 5, N, 100):
        weights = problems.weights_of_states(clone(component), n)
        assert len(weights) == n, f"There are {len(weights)} weights for {n} states."
        assert all(map(math.isfinite, weights)), f"The weights of {n} states are not finite: {weights}."
        assert abs(math.fsum(weights) - 1) < 1e-9, f"The weights of {n} states sum to {math.fsum(weights)}."


def check_average_is_the_sum_by_coefficients(component: Average) -> None:
    """The average is the sum of the states by the weights that are stated, computed here one by one."""
    trajectory = problems.states(N)
    weights = problems.weights_of_states(clone(component), N)
    expected = {
        key: sum((w * state[key].double() for w, state in zip(weights, trajectory, strict=True)), torch.zeros(()))
        for key in floats(trajectory[0])
    }
    assert_alike(floats(problems.streamed(component, trajectory).result()), expected, "The average")


def check_average_of_what_stays_is_what_stays(component: Average) -> None:
    """A run whose weights do not move is averaged to these weights."""
    trajectory = problems.states(1) * N
    result = problems.streamed(component, trajectory).result()
    assert_alike(floats(result), floats(trajectory[0]), "The average of equal states")


def check_states_that_entered_are_counted(component: Average) -> None:
    """The count is that of the states with a weight, and the average holds no live tensor."""
    running = problems.streamed(component, problems.states(N))
    weights = problems.weights_of_states(clone(component), N)
    entered = sum(w != 0 for w in weights)
    assert running.n == entered, f"{running.n} states are counted, and {entered} have a weight."


def check_memory_does_not_grow_with_the_run(component: Average) -> None:
    """A run of a thousand states leaves as much in memory as one of some dozens."""

    few, many = (numbers_in(problems.streamed(component, problems.states(4) * (n // 4))) for n in (40, 1000))
    assert many <= few, f"After 1000 states {many} numbers are kept, and after 40 states {few}."


def check_the_run_changes_only_where_that_is_said(component: Average) -> None:
    """Weights of the run are what they were after each step, but for an average that says that it changes them."""
    weights = [t.clone() for t in floats(problems.states(1)[0]).values()]
    before = [t.clone() for t in weights]
    component.begin(N).rewrite(weights)
    changed = not all(map(torch.equal, weights, before))
    said = "says that it changes" if component.changes_run else "does not say that it changes"
    assert changed == component.changes_run, f"{component!r} {said} the run; its weights changed: {changed}."


def check_half_precision_is_averaged_in_more(component: Average) -> None:
    """Numbers of half precision give the average of these numbers to more digits than they have."""
    trajectory = problems.states(N, torch.bfloat16)
    result = problems.streamed(component, trajectory).result()
    weights = problems.weights_of_states(clone(component), N)
    for key, value in floats(trajectory[0]).items():
        expected = sum(w * s[key].double() for w, s in zip(weights, trajectory, strict=True))
        gap = float((result[key].double() - expected).abs().max()) if value.numel() else 0.0
        assert gap < 5e-3, f"Tensor {key!r} of half precision is off by {gap:.3g}."
