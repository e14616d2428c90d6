"""Laws of repairers."""

from __future__ import annotations

import torch
from sklearn.base import clone
from torch import nn

from skfusion.objective import Batch, ModuleObjective, Objective
from skfusion.repair import Repairer
from skfusion.state import State, is_statistic
from skfusion.testing import _problems as problems
from skfusion.testing._laws_all import assert_looks_like


def repaired(component: Repairer, data: Objective | None = None) -> State:
    """Return the mean of the members, repaired."""
    return clone(component)(problems.base(), problems.states(), data or problems.objective())


def check_equal_members_need_no_repair(component: Repairer) -> None:
    """A state that equals all its members comes back with the same numbers."""
    state = problems.states(1)[0]
    copies = [{k: v.clone() for k, v in state.items()} for _ in range(3)]
    result = clone(component)(state, copies, problems.objective())
    assert problems.snapshot(result) == problems.snapshot(state), "A state that equals its members is changed."


def check_statistics_match_the_data(component: Repairer) -> None:
    """BatchNorm's running mean and variance are those of its inputs over all rows, however these are cut."""
    result = repaired(component)
    x = problems.inputs().double()
    activations = x @ problems.base()["0.weight"].double().T + problems.base()["0.bias"].double()
    for key, expected in (("1.running_mean", activations.mean(0)), ("1.running_var", activations.var(0, correction=1))):
        gap = float((result[key].double() - expected).abs().max() / expected.abs().max())
        assert gap < 1e-5, f"Tensor {key!r} is off by a share of {gap:.3g}."


def check_statistics_before_have_no_influence(component: Repairer) -> None:
    """Another running mean and variance at the start give the same state, and repairing it again changes nothing."""
    result = repaired(component)
    for start in (result, {k: 3 * v + 1 if is_statistic(k) else v for k, v in problems.base().items()}):
        again = clone(component)(start, problems.states(), problems.objective())
        assert problems.snapshot(again) == problems.snapshot(result), "The result depends on the statistics before."


def check_repair_keeps_names_shapes_and_dtypes(component: Repairer) -> None:
    """The repaired state looks like the state."""
    assert_looks_like(repaired(component), problems.base())


def check_network_without_statistics_is_returned_as_it_is(component: Repairer) -> None:
    """Where there is no BatchNorm, the very state comes back, and the data is not read."""
    net = nn.Sequential(nn.Identity(), nn.Flatten())
    state = {"scale": torch.ones(2)}

    def batches() -> list[Batch]:
        raise AssertionError("The data is read for a network without statistics.")

    data = ModuleObjective(net, batches)
    assert clone(component)(state, [], data) is state, "A state without statistics is copied or changed."


def check_labels_are_not_read(component: Repairer) -> None:
    """Other labels give the same state."""
    data = problems.objective()
    other = problems.fed(data, [b._replace(y=1 - b.y) for b in data.batches()])
    same = problems.snapshot(repaired(component, other)) == problems.snapshot(repaired(component, data))
    assert same, "The result depends on the labels."
