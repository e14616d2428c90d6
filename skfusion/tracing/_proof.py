"""Verify a symmetry: permuted copies of the network must compute what it computes; groups that change it are frozen.

The trace relies on rules, and on the one path of the example. The proof relies on neither: it applies random
permutations in float64, where equal functions differ by rounding alone, to weights without trivial values.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from skfusion.state import State
from skfusion.symmetry import Permutations, Symmetry, permute_in_place
from skfusion.tracing._call import tensors_among
from skfusion.tracing._run import Inputs, copied, perturbed, run, shapes_of, tensors_in, tensors_of, twin

EXACT, ROUNDED = 1e-9, 1e-4
"""Largest relative difference of outputs in float64, and where a run rounds numbers to a narrower type."""
DTYPES = (torch.float64, torch.float32, None)
FEW = 8
"""Units of a group that the second element moves."""
FAULTY = "the output changed when it was permuted"


@dataclass(eq=False)
class Probe:
    """One way to run copies of a network, with its outputs to compare those after a permutation with."""

    module: nn.Module
    state: State
    inputs: Inputs
    train: bool
    outputs: list[Tensor]
    tolerance: float

    def error(self, state: State) -> float:
        """Return the largest difference of outputs with another state, relative to the largest number of each."""
        return difference(self.outputs, outputs_of(self.module, state, self.inputs, self.train))

    def repeats(self) -> bool:
        """Return whether another run of the same state gives the same outputs, unless runs are random."""
        return self.error(self.state) <= max(self.tolerance, EXACT)


def prove(
    symmetry: Symmetry, module: nn.Module, inputs: Inputs, trained: bool, tolerance: float | None, seed: int
) -> Symmetry:
    """Return the symmetry without the groups whose random permutations change an output of a copy of the module.

    With ``trained`` it must hold in train mode too. The tolerance follows from the precision of the run when omitted.
    """
    probe, notes = probed(module, inputs, tolerance, seed)
    probes = [probe]
    if trained:
        try:
            outputs = outputs_of(module, probe.state, probe.inputs, True)
            other = Probe(module, probe.state, probe.inputs, True, outputs, probe.tolerance)
            if other.repeats():
                probes.append(other)
            else:
                notes.append("not verified in train mode, in which two runs of the module give different outputs")
        except Exception as error:
            notes.append(f"not verified in train mode, in which the module could not run: {error}")
    if not symmetry.groups:
        check_repeats(probe)
    faulty: dict[str, str] = {}
    while bad := _faulty(symmetry, probes, seed):
        faulty.update(dict.fromkeys(bad, FAULTY))
        symmetry = symmetry.frozen(dict.fromkeys(bad, FAULTY))
    if faulty:
        warnings.warn(
            f"The output of {type(module).__name__} changed when some groups of units were permuted; these are now "
            f"frozen: {', '.join(faulty)}.",
            stacklevel=3,
        )
    s = symmetry
    return Symmetry(s.groups.values(), s.axes, s.shapes, s.buffers, s.pinned, s.sites, [*s.notes, *notes], s.roles)


# ---------------------------------------------------------------------------------------------------------------- runs


def probed(module: nn.Module, inputs: Inputs, tolerance: float | None, seed: int) -> tuple[Probe, list[str]]:
    """Return the run in eval mode, in the widest dtype in which the module works, and remarks."""
    notes: list[str] = []
    for dtype in DTYPES:
        state, cast = tensors_of(module, dtype), copied(inputs, dtype)
        watch = Narrowing()
        try:
            runs = ((s, outputs_of(module, s, cast, False, watch)) for s in (perturbed(module, state, seed), state))
            # the perturbed state, or, where its outputs are not finite, the state itself
            finite = next((run for run in runs if all(bool(torch.isfinite(t).all()) for t in run[1])), None)
        except Exception as error:
            if dtype is None:
                raise
            notes.append(f"could not be verified in {dtype}: {str(error).splitlines()[0]}")
            continue
        if finite is None:
            raise ValueError(
                f"The output of {type(module).__name__} on example_inputs ({shapes_of(inputs)}) holds NaN or infinity, "
                "so its symmetries cannot be verified. Give finite inputs and weights, or verify=False."
            )
        exact = dtype is torch.float64 and not watch.narrowed
        return Probe(module, finite[0], cast, False, finite[1], tolerance or (EXACT if exact else ROUNDED)), notes
    raise AssertionError("the last dtype raises")


def check_repeats(probe: Probe) -> None:
    """Raise where two runs of the same state differ, so that nothing can be verified."""
    if not probe.repeats():
        raise ValueError(
            f"{type(probe.module).__name__} is random by itself: two runs with the same weights, the same inputs and "
            "the same seeds of torch, numpy and random differ, so its symmetries cannot be verified. It draws from "
            "another generator, or reads what runs change: leave that out in evaluation mode, or give verify=False."
        )


def outputs_of(
    module: nn.Module, state: State, inputs: Inputs, train: bool, watch: Narrowing | None = None
) -> list[Tensor]:
    """Return the outputs of a copy of a module with other tensors.

    The copy is new each time, as modules may cache what they have computed from their weights.
    """
    out = run(rebuilt(module, state), copied(inputs), train, [watch] if watch else [])
    return [t.detach().clone() for t in tensors_in(out)]  # which might be weights themselves


def rebuilt(module: nn.Module, state: State) -> nn.Module:
    """Return a deep copy of a module with other parameters and copies of other buffers, in their dtype throughout."""
    memo: dict[int, Any] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        memo[id(parameter)] = nn.Parameter(state[name], requires_grad=False)
    for name, buffer in module.named_buffers(remove_duplicate=False):
        memo[id(buffer)] = state[name].clone()
    wide = next((t.dtype for t in state.values() if t.is_floating_point()), None)
    for part in module.modules():
        for value in tensors_among(dict(vars(part))):
            if value.is_floating_point() and id(value) not in memo:
                memo[id(value)] = value.detach().to(wide, copy=True)
    return twin(module, memo)


class Narrowing(TorchDispatchMode):
    """A mode that detects where float64 numbers are rounded to a narrower dtype."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.narrowed = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation."""
        out = func(*args, **(kwargs or {}))
        if not self.narrowed and any(t.dtype is torch.float64 for t in tensors_among((args, kwargs))):
            first = tensors_among(out)[:1]  # the others are statistics and the like
            self.narrowed = any(t.is_floating_point() and t.dtype is not torch.float64 for t in first)
        return out


# ---------------------------------------------------------------------------------------------------------- comparisons


def difference(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """Return the largest difference of two lists of outputs, each relative to its largest number."""
    if [t.shape for t in before] != [t.shape for t in after]:
        return float("inf")
    return max((_difference(a, b) for a, b in zip(before, after, strict=True)), default=0.0)


def _difference(a: Tensor, b: Tensor) -> float:
    if not a.numel():
        return 0.0
    if not (a.is_floating_point() or a.is_complex()):
        return 0.0 if bool((a == b).all()) else float("inf")
    changed = a != b
    if not bool(changed.any()):
        return 0.0
    # relative to what changed: constants, such as a large negative number for masked entries, would hide a difference
    apart, size = float((a - b).abs().max()), a.abs()
    largest = max(float(size[changed].max()), 1e-3 * float(size.median()))
    return apart / largest if largest > 0 and apart == apart else float("inf")


def _faulty(symmetry: Symmetry, probes: Sequence[Probe], seed: int) -> list[str]:
    """Return groups whose permutation changes an output; none if no random element does so."""
    state = probes[0].state
    total: Permutations = symmetry.identity()
    for element in elements(symmetry, seed) if symmetry.groups else ():
        state, total = permute_in_place(symmetry, element, state), symmetry.compose(total, element)
        for probe in probes:
            if not probe.error(state) <= probe.tolerance:
                permute_in_place(symmetry, symmetry.invert(total), state)  # which restores the states of the probes
                check_repeats(probe)
                return _bisect(symmetry, probe, total)
    return []


def elements(symmetry: Symmetry, seed: int) -> Iterator[Permutations]:
    """Yield the two random elements by which a symmetry is verified, which are applied one after the other.

    If only a part of the permutations of a group leaves the outputs as they are, these form a subgroup, which has at
    most half of them, so that a random permutation is among them with a probability of at most 1/2, and both are with
    1/4. In a group of more than ``FEW`` units the first element moves each unit and exchanges no two, so that no single
    one and no pair may be special, and the second one moves ``FEW`` of them only, which costs less and leaves no room
    for errors that cancel out.
    """
    every, second = symmetry.sample(seed), symmetry.sample(seed + 1)
    few = dict(symmetry.compose(symmetry.invert(every), second))  # with the first one it makes the second one
    rng = np.random.default_rng(seed)
    for name, group in symmetry.groups.items():
        n = group.size
        if n <= FEW:
            continue
        for p in every[name].reshape(-1, n):
            while (p == np.arange(n)).any() or (p[p] == np.arange(n)).any():
                rng.shuffle(p)
        few[name] = second[name]
        for p in few[name].reshape(-1, n):
            some = p[:FEW].copy()
            p[:] = np.arange(n)
            p[np.sort(some)] = some
    yield every
    yield few


def _holds(symmetry: Symmetry, probe: Probe, element: Permutations, groups: Sequence[str]) -> bool:
    state = symmetry.permute({name: element[name] for name in groups}, probe.state)
    return probe.error(state) <= probe.tolerance


def _bisect(symmetry: Symmetry, probe: Probe, element: Permutations) -> list[str]:
    """Return the groups without which an element leaves the output unchanged, by bisection."""
    faulty: list[str] = []

    def add(kept: list[str], more: list[str]) -> list[str]:
        if not more or _holds(symmetry, probe, element, kept + more):
            return kept + more
        if len(more) == 1:
            faulty.extend(more)
            return kept
        half = len(more) // 2
        return add(add(kept, more[:half]), more[half:])

    add([], [*symmetry.groups])
    return faulty
