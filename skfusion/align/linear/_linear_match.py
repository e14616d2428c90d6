"""Two canonical states while they are matched by linear maps, one group of units after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from skfusion._coupling import assigned
from skfusion.align.permutation._match import Match, Term, uncounted
from skfusion.state import State
from skfusion.symmetry import LinearKind, Place, Symmetry, without_mean

N_TURNS = 50
"""Steps to a rotation under which the Gram matrices of two streams agree, at most."""


class LinearMatch:
    r"""A canonical reference A and a canonical state B that is mapped towards it, to raise :math:`\langle A, B\rangle`.

    Groups without linear maps are moved by the ``match`` of permutations that it holds, which has both states.
    """

    def __init__(self, state: State, reference: State, symmetry: Symmetry):
        assert symmetry.linear is not None
        self.match = Match(state, reference, symmetry)
        self.linear = {n: l for n, l in symmetry.linear.maps.items() if l.kind != "scale" or l.negative}
        self.maps: dict[str, Tensor] = {}
        self.outer = [g for g in symmetry.groups if any(i in self.linear for i in self.match.inner[g])]
        inner = {i for g in self.outer for i in self.match.inner[g]}
        self.streams = [g for g in self.linear if g not in inner and not symmetry.groups[g].context]
        self.signed = [g for g in self.streams if self.linear[g].kind != "orthogonal"]
        self.streams = [g for g in self.streams if self.linear[g].kind == "orthogonal"]
        self.mapped = {*self.streams, *self.signed, *inner, *self.outer}

    # ------------------------------------------------------------------------------------------------------------ moves

    def turn(self, name: str, maps: Tensor) -> None:
        """Map the units of a group of the state as it is now."""
        for place in self._places(name):
            b = self.match.b
            b[place.tensor] = place.write(b[place.tensor], maps.to(b[place.tensor]) @ place.read(b[place.tensor]))
        self.maps[name] = maps if name not in self.maps else maps @ self.maps[name]

    def _places(self, name: str) -> Iterator[Place]:
        """Yield where maps act; they are orthogonal, so that they are their own inverse transposes, or signs."""
        yield from (place for place, exponent in self.linear[name].places if exponent % 2)

    def _permute_heads(self, outer: str, order: np.ndarray) -> None:
        self.match.move({outer: order})
        for inner in self.match.inner[outer]:
            if inner in self.maps:
                self.maps[inner] = self.maps[inner][torch.from_numpy(order)]

    # ------------------------------------------------------------------------------------------------------------ steps

    def step_signed(self, name: str) -> bool:
        """Permute units, with signs, to where they match best while all else stays; return whether they move."""
        places = self.linear[name].places
        return self._risen(lambda: self._sign(name, places))

    def start_signed(self) -> None:
        """Match such units outwards from what cannot move, always those of which most weights can be compared."""
        left, axes = [*self.signed], self.match.symmetry.axes
        settled = {*self.streams}

        def usable(name: str) -> list[tuple[Place, int]]:
            return [
                (place, exponent)
                for place, exponent in self.linear[name].places
                if all(
                    g in settled
                    for axis, blocks in enumerate(axes[place.tensor])
                    for block in blocks
                    for g in block.groups
                    if axis != place.axis
                )
            ]

        while left:
            sizes = {g: sum(self.match.a[place.tensor].numel() for place, _ in usable(g)) for g in left}
            name = max(left, key=sizes.__getitem__)
            self._sign(name, usable(name))
            left.remove(name)
            settled.add(name)

    def _sign(self, name: str, places: Iterable[tuple[Place, int]]) -> None:
        places = [*places]
        signed, plain = (self._products(name, [p for p, e in places if bool(e % 2) is s])[0] for s in (True, False))
        order = assigned((signed.abs() + plain).numpy())
        signs = signed[torch.arange(len(order)), torch.from_numpy(order)].sign()
        self.match.move({name: order})
        if name in self.maps:
            self.maps[name] = self.maps[name][:, order][:, :, order]
        self.turn(name, torch.diag(torch.where(signs == 0, 1.0, signs))[None])

    def step_stream(self, name: str) -> bool:
        """Turn a stream to where it matches best while all else stays; return whether the objective rises."""
        products = self._products(name, self._places(name))
        return self._risen(lambda: self.turn(name, _solved(products, self.linear[name])))

    def start_stream(self, name: str) -> None:
        r"""Turn a stream by what it shares with fixed units f, and by Gram matrices of others t, which have no order.

        .. math:: \max_R \; \langle R, \sum_f A_f B_f^\top \rangle
            + \sum_t w_t \, \langle A_t A_t^\top, R B_t B_t^\top R^\top \rangle

        Each step maximises a lower bound of it, by Procrustes, where the last rotation stands in the place of one R.
        """
        axes, linear = self.match.symmetry.axes, self.linear[name]
        fixed: list[Place] = []
        free: list[Place] = []
        for place in self._places(name):
            others = [blocks for axis, blocks in enumerate(axes[place.tensor]) if axis != place.axis]
            (free if any(others) else fixed).append(place)
        anchor = self._products(name, fixed)
        maps = _solved(anchor, linear) if fixed else torch.eye(anchor.shape[-1], dtype=anchor.dtype)[None]
        if free:
            grams = [[(rows @ rows.mT).to(anchor) for rows in self._rows(place)] for place in free]
            weights = [
                self._norms(place) / float((a.norm() * b.norm()).clamp_min(1e-300))
                for place, (a, b) in zip(free, grams, strict=True)
            ]
            for _ in range(N_TURNS):
                total = anchor.clone()
                for weight, (a, b) in zip(weights, grams, strict=True):
                    total += weight * (a @ maps @ b)
                new = _solved(total, linear)
                done = float((new - maps).norm()) < 1e-10
                maps = new
                if done:
                    break
        self.turn(name, maps)

    def step_heads(self, outer: str) -> bool:
        """Match heads, each pair of them under the best maps of their channels; return whether the objective rises."""
        match = self.match
        n = match.groups[outer].size
        worth = np.zeros((n, n))
        best: dict[str, np.ndarray] = {}
        counted: dict[str, list[Term]] = {}
        for inner in match.inner[outer]:
            products = match.worth([outer, inner], uncounted(match.terms[inner], counted), joint=True)
            if products is None:
                continue
            m = products.shape[1]
            maps = np.empty((n, n, m, m))
            for i, j in np.ndindex(n, n):
                maps[i, j] = self._best(inner, products[i, :, j])
                worth[i, j] += float((maps[i, j] * products[i, :, j]).sum())
            best[inner] = maps
        alone = match.worth([outer], uncounted(match.terms[outer], counted), joint=False)
        order = assigned(worth if alone is None else worth + alone[0])

        def move() -> None:
            self._permute_heads(outer, order)
            for inner, maps in best.items():
                chosen = maps[np.arange(n), order]
                if inner in self.linear:
                    self.turn(inner, torch.from_numpy(chosen))
                else:
                    match.move({inner: chosen.argmax(-1)})

        return self._risen(move)

    def _best(self, inner: str, products: np.ndarray) -> np.ndarray:
        if inner in self.linear:
            solved: np.ndarray = _solved(torch.from_numpy(products)[None], self.linear[inner])[0].numpy()
            return solved
        order: np.ndarray = np.eye(len(products))[assigned(products)]
        return order

    def _risen(self, move: Callable[[], None]) -> bool:
        """Move, and take it back where the objective does not rise; return whether it does."""
        match = self.match
        kept, perms, maps = dict(match.b), match.perms, dict(self.maps)
        before = match.objective()
        move()
        if match.objective() > before + 1e-9 * abs(before):
            return True
        match.b.update(kept)
        match.perms, self.maps = perms, maps
        return False

    # -------------------------------------------------------------------------------------------------- inner products

    def _rows(self, place: Place) -> tuple[Tensor, Tensor]:
        return place.read(self.match.a[place.tensor]), place.read(self.match.b[place.tensor])

    def _norms(self, place: Place) -> float:
        a, b = self._rows(place)
        return float(a.norm() * b.norm())

    def _products(self, name: str, places: Iterable[Place]) -> Tensor:
        """Return inner products of the units of the reference and of the state, of shape (n_contexts, n, n)."""
        n_contexts, n = self.linear[name].places[0][0].index.shape[:2]
        total = torch.zeros(n_contexts, n, n, dtype=torch.float64)
        for place in places:
            a, b = self._rows(place)
            total += (a @ b.mT).to(total)
        return total


def _solved(products: Tensor, linear: LinearKind) -> Tensor:
    """Return the orthogonal maps of a group with the largest inner product with others, of shape (n_contexts, n, n)."""
    if not linear.keeps_mean:
        return _polar(products)
    basis = without_mean(products.shape[-1]).to(products)
    return basis @ _polar(basis.mT @ products @ basis) @ basis.mT + 1 / products.shape[-1]


def _polar(products: Tensor) -> Tensor:
    """Return the nearest orthogonal matrices, by orthogonal Procrustes (Schönemann, 1966)."""
    left, _, right = torch.linalg.svd(products)
    out: Tensor = left @ right
    return out
