"""Find what a network allows beside permutations: folds to a canonical form, and linear maps of its units.

Gradients suggest which places of a group scale together. Every step is then tried on a copy of the module in float64,
as permutations are: a fold must keep its outputs, random maps must keep them, and maps at some of the places alone must
change them, as an example on which a layer does nothing would prove anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from skfusion.state import State, owners
from skfusion.symmetry import (
    BalanceFold,
    CentreFold,
    Draft,
    Fold,
    GainFold,
    Group,
    LinearKind,
    LinearSymmetry,
    Place,
    ScaleFold,
    Symmetry,
    VectorFold,
    ZeroFold,
    places_of,
)
from skfusion.tracing._invariants import dead, exponents, gradients, log_derivatives
from skfusion.tracing._proof import EXACT, Probe, outputs_of

N_ELEMENTS = 2
VISIBLE = 1e-6
"""Relative change of an output from which on a map counts as one that changes it."""


def generalised(symmetry: Symmetry, probe: Probe, seed: int) -> Symmetry:
    """Return the symmetry with all linear ones that the network allows, each proved; notes name what it does not."""
    out = copy(symmetry)
    if probe.tolerance > EXACT or any(t.dtype is not torch.float64 for t in probe.outputs[:1]):
        out.linear = LinearSymmetry()
        out.notes = (*symmetry.notes, "only permutations, as the module does not compute in double precision")
        return out
    try:
        search = _Search(symmetry, probe, seed)
    except RuntimeError as error:
        out.linear = LinearSymmetry()
        out.notes = (*symmetry.notes, f"only permutations, as the module has no gradients: {error}")
        return out
    search.run()
    out.linear = LinearSymmetry(search.maps, tuple(search.folds))
    out.notes = (*symmetry.notes, *search.notes)
    return out


def _another(probe: Probe, seed: int, size: float = 1.0) -> list[Probe]:
    """Return a probe with other weights, with gains and biases of both signs; none if rounding spoils its outputs.

    What is seen at one state may hold for its signs alone, such as that a positive gain passes through ReLU, or for its
    size, such as that ReLU6 lets numbers pass. With a size weights are larger by as much.
    """
    generator = torch.Generator().manual_seed(seed + 1)
    names = {name for name, _ in probe.module.named_parameters(remove_duplicate=False)}

    def other(name: str, tensor: Tensor) -> Tensor:
        if name not in names or not tensor.is_floating_point():
            return tensor
        noise = tensor.square().mean().sqrt() * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
        if tensor.dim() != 1:
            return size * (tensor + noise)
        return size * (0.2 + noise.abs()) * (1 - 2 * (torch.arange(len(tensor)) % 2))  # gains and biases of both signs

    owner, state = owners([probe.state]), dict[str, Tensor]()
    for name, first in owner.items():
        state[name] = state[first] if first != name else other(name, probe.state[name])
    new = replace(probe, state=state, outputs=outputs_of(probe.module, state, probe.inputs, probe.train))
    if not all(bool(torch.isfinite(t).all()) for t in new.outputs):
        return []
    if size == 1:
        return [new]
    near = {name: _rounded(state[name], generator) if name in names else state[name] for name in owner}
    near = {name: near[first] for name, first in owner.items()}
    return [new] if new.error(near) <= EXACT else []


def _rounded(tensor: Tensor, generator: torch.Generator) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    return tensor * (1 + 1e-15 * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype))


class _Search:
    """A canonical state so far, with the folds that lead to it, and the maps that were found."""

    def __init__(self, symmetry: Symmetry, probe: Probe, seed: int):
        self.symmetry, self.probe = symmetry, probe
        self.probes = [probe, *_another(probe, seed), *(_another(probe, seed, 100.0) or _another(probe, seed, 10.0))]
        self.states = [p.state for p in self.probes]
        self.rng = np.random.default_rng(seed)
        self.folds: list[Fold] = []
        self.maps: dict[str, LinearKind] = {}
        self.notes: list[str] = []
        self.offsets: set[Place] = set()  # vectors that are added behind a norm, and so are no part of the stream
        owner = owners([probe.state])
        names = [n for n in symmetry.parameters if owner[n] == n and probe.state[n].is_floating_point()]
        outer = {c for group in symmetry.groups.values() for c in group.context}  # heads, whose channels have the maps
        self.places = {
            g: places_of(group, symmetry.axes, symmetry.groups, dict.fromkeys(names))
            for g, group in symmetry.groups.items()
            if g not in outer
        }
        known = [(symmetry.groups[g], places) for g, places in self.places.items() if places]
        rows = [-(-2 * len(places) // (group.size * _n_contexts(symmetry, group))) for group, places in known]
        self.gradients = gradients(probe, max([3, *rows]), seed)

    def run(self) -> None:
        """Look for pairs within heads and layers, for what can be folded, then for rotations of what lies between."""
        found = {name: self._exponents(name) for name in self.places}
        plain = {name: places for name, places in self.places.items() if places}
        self.notes += [
            f"group {name!r} has permutations only: other tensors say what its units are"
            for name, places in self.places.items()
            if places is None
        ]
        paired = [name for name, places in plain.items() if self._pairs(name, places, found[name])]
        for name in plain:
            if name not in paired:
                self._gains(plain[name], found[name])
        for name in plain:  # after offsets of norms, which go into these biases
            self._zeros(plain[name], self._matrix(name))
            self._values(name)
        for name in plain:
            if name not in paired and self.symmetry.groups[name].size > 1:
                self._rotations(name, plain[name])
        self._balances()

    # ------------------------------------------------------------------------------------------------------ what holds

    def _mapped(self, change: Callable[[Draft], None]) -> list[State]:
        """Return the canonical states so far after a change."""
        drafts = [Draft(state) for state in self.states]
        for draft in drafts:
            change(draft)
        return [draft.state() for draft in drafts]

    def _keep(self, states: Sequence[State]) -> bool:
        return all(probe.error(state) <= EXACT for probe, state in zip(self.probes, states, strict=True))

    def _fold(self, fold: Fold) -> bool:
        """Take a fold if it keeps the function."""
        try:
            new = self._mapped(fold.apply)
        except ValueError:  # a gain of zero
            return False
        if not self._keep(new):
            return False
        self.states = new
        self.folds.append(fold)
        return True

    def _take(self, name: str, linear: LinearKind) -> bool:
        """Take maps of a group if they keep the function, and if it would change were they applied to a part only."""
        for _ in range(N_ELEMENTS):
            maps = linear.sample(self.rng)
            if not self._keep(self._mapped(partial(linear.apply, maps))):
                return False
        moving = [(place, exponent) for place, exponent in linear.places if exponent]
        parts = [replace(linear, places=(one,)) for one in moving if not self._is_vector(one[0])]
        for part in parts:
            if self.probe.error(self._mapped(partial(part.apply, maps))[0]) < VISIBLE:
                tensor = part.places[0][0].tensor
                self.notes.append(f"group {name!r} has permutations only: the example shows no effect of {tensor!r}")
                return True  # nothing larger will be found
        self.maps[name] = linear
        return True

    # --------------------------------------------------------------------------------------------------- what is tried

    def _matrix(self, name: str) -> np.ndarray:
        return log_derivatives(self.places[name] or [], self.probe.state, self.gradients)

    def _exponents(self, name: str) -> list[tuple[int, np.ndarray]]:
        places = self.places[name]
        return exponents(self._matrix(name), [k for k, p in enumerate(places) if self._is_gain(p)]) if places else []

    def _is_gain(self, place: Place) -> bool:
        return self._is_vector(place) and self.symmetry.roles[place.tensor][place.axis] == "scale"

    def _is_vector(self, place: Place) -> bool:
        return self.probe.state[place.tensor].dim() == 1

    def _zeros(self, places: Sequence[Place], matrix: np.ndarray) -> None:
        """Set vectors to zero on which nothing depends."""
        for place, is_dead in zip(places, dead(matrix), strict=True):
            if is_dead and self._is_vector(place) and not self._is_gain(place):
                self._fold(ZeroFold(place))

    def _pairs(self, name: str, places: Sequence[Place], found: list[tuple[int, np.ndarray]]) -> bool:
        """Look for maps that are undone by their inverse elsewhere; return whether nothing else is to be looked for."""
        for pivot, vector in found:
            if self._is_gain(places[pivot]) or not (vector > 0).any() or not (vector < 0).any():
                continue
            roles = [self.symmetry.roles[p.tensor][p.axis] for p in places]
            reads = next((e for e, role in zip(vector, roles, strict=True) if role == "in" and e), -1)
            vector = -vector * np.sign(reads)  # what reads the units undoes the map
            at = tuple(zip(places, vector.tolist(), strict=True))
            if any(self._is_gain(p) and e for p, e in at):
                continue
            tries = [LinearKind("invertible", at), LinearKind("scale", at, negative=True), LinearKind("scale", at)]
            if np.abs(vector).max() > 1:
                tries = tries[1:]
            if any(self._take(name, linear) for linear in tries):
                return True
        return False

    def _values(self, name: str) -> None:
        """Fold a bias that passes through a linear path, as that of values does, into the bias behind it."""
        if name not in self.maps or self.maps[name].kind != "invertible":
            return
        places = self.maps[name].places
        readers = self._with_biases(place for place, exponent in places if exponent < 0)
        for place, exponent in places:
            if readers and exponent > 0 and self._is_vector(place):
                self._fold(VectorFold(place, readers))

    def _with_biases(self, readers: Iterable[Place]) -> tuple[tuple[Place, str], ...]:
        """Return readers with the names of their biases; empty where one has none."""
        out = []
        for place in readers:
            before, _, last = place.tensor.rpartition("weight")
            bias, weight = f"{before}bias{last}", self.probe.state[place.tensor]
            shape = [n for axis, n in enumerate(weight.shape) if axis != place.axis]
            known = bias != place.tensor and bias in self.probe.state and [*self.probe.state[bias].shape] == shape
            if not known or place.index.shape[2] > 1:
                return ()
            out.append((place, bias))
        return tuple(out)

    def _gains(self, places: Sequence[Place], found: list[tuple[int, np.ndarray]]) -> None:
        """Fold the gains and offsets of norms into the weights that read them."""
        by_gain = {pivot: vector for pivot, vector in found if self._is_gain(places[pivot])}
        for k in (k for k, place in enumerate(places) if self._is_gain(place)):
            gain = places[k].tensor
            vector = by_gain.get(k)
            if vector is None or any(vector[j] for j in range(len(places)) if j != k and self._is_gain(places[j])):
                self.notes.append(f"the gain {gain!r} stays: it cannot go into weights that read nothing else")
                continue
            readers = [places[int(j)] for j in np.flatnonzero(vector < 0)]
            offsets = [places[int(j)] for j in np.flatnonzero(vector > 0) if j != k]
            pairs = self._with_biases(readers)
            self.offsets.update(offsets)
            offsets = [p for p in offsets if not (pairs and self._fold(VectorFold(p, pairs)))]
            if not self._fold(GainFold(places[k], tuple(readers), tuple(offsets))):
                self.notes.append(f"the gain {gain!r} stays: the output changed when it was folded")

    def _rotations(self, name: str, places: Sequence[Place]) -> None:
        """Look for orthogonal maps, or signs; a stream under LayerNorm is centred first."""
        at = tuple((place, 0 if self._is_gain(place) else 1) for place in places)
        if self._take(name, LinearKind("orthogonal", at)):
            return
        roles = [(place, self.symmetry.roles[place.tensor][place.axis]) for place in places]
        written = (p for p, role in roles if role in ("out", "scale") and not self._is_gain(p))
        writers = tuple(p for p in written if p not in self.offsets)
        readers = [p for p, role in roles if role == "in"]
        folds, states, notes = [*self.folds], self.states, [*self.notes]
        if writers and self._fold(CentreFold(writers)):
            for reader in readers:  # of what is centred they need no mean, unless an offset follows
                self._fold(CentreFold((reader,)))
            if self._take(name, LinearKind("orthogonal", at, keeps_mean=True)):
                return
        self.folds, self.states, self.notes = folds, states, notes  # what is no stream under LayerNorm is left as it is
        self._take(name, LinearKind("signed", at))

    def _balances(self) -> None:
        for linear in self.maps.values():
            sides = [tuple(p for p, e in linear.places if e * sign > 0) for sign in (1, -1)]
            powers = [{abs(e) for _, e in linear.places if e * sign > 0} for sign in (1, -1)]
            if linear.kind == "invertible":
                self._fold(BalanceFold(*sides))
            elif linear.kind == "scale" and all(len(of_side) == 1 for of_side in powers):
                self._fold(ScaleFold(sides[0], sides[1], (powers[0].pop(), powers[1].pop())))


def _n_contexts(symmetry: Symmetry, group: Group) -> int:
    return int(np.prod([symmetry.groups[c].size for c in group.context]))
