"""Two states of one architecture whose hidden layers may have different widths: the symmetry and module of each."""

from __future__ import annotations

from torch import nn

from skfusion._batches import mapped
from skfusion.align.permutation._compare import Sides
from skfusion.objective import Objective
from skfusion.state import State, check_compatible
from skfusion.symmetry import Symmetry, resized_symmetry, sizes_of, why_no_mixing
from skfusion.widths import resized_to

_ROWS = 4
"""Rows of the example on which a resized module is tried."""


def symmetries_of(symmetry: Symmetry, state: State, reference: State) -> tuple[Symmetry, Symmetry]:
    """Return the symmetries of a state and of its reference, for that of a network with the same layers.

    Raises
    ------
    ValueError
        If they are no networks of one architecture, or have different numbers of units of a group that no matrix can
        mix; it names the tensors.
    """
    check_compatible([reference, state], any_width=True)
    same = [name for name in reference if state[name].shape == reference[name].shape]
    known = all(state[name].shape == symmetry.shapes[name] for name in symmetry.shapes if name in state)
    if len(same) == len(reference) and known:
        return symmetry, symmetry
    check_compatible([{k: v for k, v in s.items() if k not in symmetry.axes} for s in (reference, state)])
    sizes = [sizes_of(symmetry, s, name) for s, name in ((state, "the state"), (reference, "the reference"))]
    for group in symmetry.groups:
        n, m = (of[group] for of in sizes)
        if n != m and (why := why_no_mixing(symmetry, group)):
            raise ValueError(
                f"Group {group!r} has {n} units in the state and {m} in the reference, and cannot be transported to "
                f"another number: {why}."
            )
    both = [{g: n for g, n in of.items() if n != symmetry.groups[g].size} for of in sizes]
    own, of_reference = (resized_symmetry(symmetry, of) if of else symmetry for of in both)
    return own, own if both[0] == both[1] else of_reference


def sides_of(objective: Objective, given: Symmetry, own: Symmetry, symmetry: Symmetry) -> Sides | None:
    """Return how a state and its reference are run, by their symmetries and that of the objective's module.

    It is None where the module runs both.
    """
    if own is given and symmetry is given:
        return None
    batch = next(iter(objective.batches()), None)
    if batch is None:
        raise ValueError("OTFusion runs networks of different widths on some rows, and the objective has none.")
    example = mapped(batch.x, lambda t: t[:_ROWS])

    def module_of(s: Symmetry) -> nn.Module:
        sizes = {g: group.size for g, group in s.groups.items() if group.size != given.groups[g].size}
        return resized_to(objective.module, example, sizes, given) if sizes else objective.module

    return Sides(module_of(symmetry), module_of(own), dict(zip(symmetry.sites, own.sites, strict=True)))
