"""Laws of connectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import clone

from skfusion.connect import Connector, Path, Subspace
from skfusion.landscape import loss_along, loss_at, segment
from skfusion.state import State, flatten, is_statistic, weighted_sum
from skfusion.testing import _problems as problems
from skfusion.testing._laws_all import assert_looks_like, assert_refused

POSITIONS = [*np.linspace(0, 1, 9).tolist(), 0.3, 0.99]


def joined(component: Connector, states: Sequence[State] | None = None, data: Any = None) -> Any:
    """Return what a connector makes of two trained networks: a path, or another subspace."""
    states = problems.ends() if states is None else states
    return clone(component)(states, data or problems.to_train())


def places(subspace: Subspace) -> list[Any]:
    """Return points of a subspace: many positions of a path, corners and random points of others."""
    return POSITIONS if isinstance(subspace, Path) else [*subspace.grid(3), *subspace.spread(5)]


def check_coefficients_sum_to_one(component: Connector) -> None:
    """At every point there is a coefficient for each control state, and they sum to one."""
    path = joined(component)
    for t in places(path):
        c = np.asarray(path.weights(t))
        assert c.shape == (len(path.controls),), f"At t = {t}, {c.shape} coefficients meet {len(path.controls)} states."
        assert abs(c.sum() - 1) < 1e-12, f"At t = {t}, the coefficients sum to {c.sum()}."


def check_random_points_stay_in_the_domain(component: Connector) -> None:
    """Points that are drawn, and those of an ensemble, are in the domain of the subspace."""
    path, rng = joined(component), np.random.RandomState(0)
    drawn = [path.basis.sample(rng, len(path.controls)) for _ in range(20)]
    for t in [*drawn, *path.spread(7)]:
        try:
            path.basis.within(t)
        except ValueError as error:
            raise AssertionError(f"The point {t} was drawn, and is not in the domain: {error}") from error


def check_points_are_nearest_to_themselves(component: Connector) -> None:
    """The nearest point of a subspace to one of its own states is no distance away."""
    path = joined(component, problems.ends(torch.float64), problems.to_train(torch.float64))
    size = float((_vector(path.controls[0]) - _vector(path.controls[-1])).norm())
    for t in places(path)[:-2:3]:
        distance = path.project(weighted_sum(path.controls, path.weights(t).tolist())).distance
        assert distance < 1e-3 * size, f"The state at t = {t} is {distance:.3g} away from the nearest point."


def check_ends_are_the_states_bit_for_bit(component: Connector) -> None:
    """The subspace has the very numbers of the states that were given: a path starts and ends there."""
    if component.from_scratch:
        return
    states = problems.ends()
    path = joined(component, states)
    if not isinstance(path, Path):
        corners = [problems.snapshot(path.at(point)) for point in path.grid(2)]
        networks = [problems.snapshot(path.controls[k]) for k in path.networks]
        lost = [k for k, s in enumerate(map(problems.snapshot, states)) if s not in corners or s not in networks]
        assert not lost, f"No corner and network of {path!r} is the state {lost}."
        return
    for t, state, name in ((0.0, states[0], "first"), (1.0, states[1], "second")):
        same = problems.snapshot(path.at(t)) == problems.snapshot(state)
        assert same, f"The path at t = {t} is not the {name} state."


def check_points_keep_names_shapes_and_dtypes(component: Connector) -> None:
    """Every point looks like the states, in single and double precision."""
    for dtype in (torch.float32, torch.float64):
        states = problems.ends(dtype)
        path = joined(component, states, problems.to_train(dtype))
        for t in places(path)[::4]:
            assert_looks_like(path.at(t), states[0])


def check_points_are_sums_of_the_controls(component: Connector) -> None:
    """A point is the sum of the control states by their coefficients."""
    path = joined(component)
    for t in places(path):
        c = path.weights(t).tolist()
        expected = sum(w * _vector(state) for w, state in zip(c, path.controls, strict=True))
        gap = float((_vector(path.at(t)) - expected).abs().max())
        assert gap < 1e-5, f"At t = {t}, the point is off the sum of the controls by {gap:.3g}."


def check_training_moves_every_bend(component: Connector) -> None:
    """The gradient reaches all control states that are trained: none stays on the line between the states."""
    if not component.needs_objective:
        return
    states = problems.ends()
    path = joined(component, states)
    first = _vector(states[0])
    along = _vector(states[1]) - first
    kept = {k % len(path.controls) for k in path.networks}
    for k, control in enumerate(path.controls):
        if k in kept:
            continue
        step = _vector(control) - first
        off = float((step - along * (step @ along) / (along @ along)).norm())
        assert off > 1e-3 * float(along.norm()), f"Control state {k} lies on the line between the ends."


def check_path_is_never_worse_than_the_segment(component: Connector) -> None:
    """On the rows that were trained on, the largest loss on the path is at most that on the straight line."""
    states, data = problems.ends(), problems.to_train()
    path = joined(component, states, data)
    line = float(loss_along(segment(*states), data, 25).loss.max())
    worst = float(
        (loss_along(path, data, 25) if isinstance(path, Path) else loss_at(path, places(path), data)).loss.max()
    )
    assert worst <= line + 1e-6, f"The largest loss is {worst:.4g} on the path and {line:.4g} on the straight line."


def check_curves_have_no_direction(component: Connector) -> None:
    """Each curve from the first state to the second, gone through from its end, is one from the second to the first."""
    path = joined(component)
    if not isinstance(path, Path):
        return
    there = np.array([path.weights(t) for t in np.linspace(0, 1, 33)])
    mixed = np.linalg.lstsq(there, there[::-1], rcond=None)[0]  # of the control states of the curve that goes back
    gap = float(np.abs(there @ mixed - there[::-1]).max())
    assert gap < 1e-9, f"No control states make the curve that goes back: its coefficients are off by {gap:.3g}."


def check_states_that_are_not_two_are_refused(component: Connector) -> None:
    """Another number of states than it joins is refused by a message that says how many there are."""
    if component.n_states is None:
        assert_refused(lambda: joined(component, []), "No states")
        return
    for n in (1, 3):
        assert_refused(lambda n=n: joined(component, (problems.ends() * 2)[:n]), str(n))


def _vector(state: State) -> torch.Tensor:
    return flatten({k: v for k, v in state.items() if not is_statistic(k)}).double()
