r"""What a network computes with more weights than it needs, folded away, so that equal functions have equal weights.

Each fold leaves :math:`f` as it is for every state of the architecture. Which of them a network allows is found, and
proved, by :func:`skfusion.tracing.symmetry_of`; :func:`canonicalise` applies them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from skfusion.symmetry._places import Draft, Place

SINGULAR = 1e-8
"""Below this share of the largest eigenvalue, the factor of a circuit counts as singular, and is left as it is."""


class Fold(ABC):
    """One step to the canonical form."""

    @abstractmethod
    def apply(self, draft: Draft) -> None:
        """Rewrite a state."""


@dataclass(frozen=True, eq=False)
class ZeroFold(Fold):
    """A vector on which nothing depends, such as the bias of keys, which softmax cancels, is set to zero."""

    place: Place

    def apply(self, draft: Draft) -> None:
        """Rewrite a state."""
        draft.write(self.place, torch.zeros_like(draft.read(self.place)))


@dataclass(frozen=True, eq=False)
class VectorFold(Fold):
    r"""A vector c that is added before linear layers goes into their biases: :math:`b \mathrel{+}= W c`, c = 0.

    So do the offset of a norm, and the bias of values, which attention averages to itself.
    """

    vector: Place
    readers: tuple[tuple[Place, str], ...]
    """Where weights read it, each with the name of its bias."""

    def apply(self, draft: Draft) -> None:
        """Rewrite a state."""
        vector = draft.read(self.vector)
        for reader, bias in self.readers:
            more = (draft.read(reader) * vector).sum((0, 1))
            draft[bias] = draft[bias] + more.reshape(draft[bias].shape)
        draft.write(self.vector, torch.zeros_like(vector))


@dataclass(frozen=True, eq=False)
class GainFold(Fold):
    r"""The gain g of a norm goes into the weights that read its output: :math:`W \leftarrow W \operatorname{diag}(g)`.

    An offset that comes after the gain, and that has no bias to go to, is divided by it.
    """

    gain: Place
    weights: tuple[Place, ...]
    offsets: tuple[Place, ...] = ()

    def apply(self, draft: Draft) -> None:
        """Rewrite a state."""
        gain = draft.read(self.gain)
        for place in self.offsets:
            draft.write(place, self._divided(draft.read(place), gain, place.tensor))
        for place in self.weights:
            draft.write(place, draft.read(place) * gain)
        draft.write(self.gain, torch.ones_like(gain))

    def _divided(self, offset: Tensor, gain: Tensor, name: str) -> Tensor:
        none = gain.abs() <= 1e-12 * gain.abs().max()
        if bool((none & (offset != 0)).any()):
            raise ValueError(
                f"The gain {self.gain.tensor!r} is zero for units whose offset {name!r} is not, and the layer that "
                f"reads them, {self.weights[0].tensor!r}, has no bias that could hold it: give that layer a bias."
            )
        return torch.where(none, 0.0, offset / torch.where(none, 1.0, gain))


@dataclass(frozen=True, eq=False)
class CentreFold(Fold):
    """What writes to a stream that LayerNorm reads has mean zero over its units: LayerNorm is then RMSNorm."""

    places: tuple[Place, ...]

    def apply(self, draft: Draft) -> None:
        """Rewrite a state."""
        for place in self.places:
            rows = draft.read(place)
            draft.write(place, rows - rows.mean(1, keepdim=True))


@dataclass(frozen=True, eq=False)
class BalanceFold(Fold):
    r"""The two factors of a circuit, such as queries and keys of a head, get equal Gram matrices: a gauge is chosen.

    Of all :math:`(A L, A^{-\top} R)`, the one by a symmetric A with :math:`A L L^\top A = A^{-1} R R^\top A^{-1}`; what
    is left of the choice is an orthogonal map.
    """

    left: tuple[Place, ...]
    right: tuple[Place, ...]

    def apply(self, draft: Draft) -> None:
        """Rewrite a state."""
        gauge = balance(*(_gram(draft, places) for places in (self.left, self.right)))
        for places, maps in ((self.left, gauge), (self.right, torch.linalg.inv(gauge))):
            for place in places:
                draft.write(place, maps @ draft.read(place))


@dataclass(frozen=True, eq=False)
class ScaleFold(Fold):
    """Each unit that can be scaled gets weights of equal norm before and behind it, such as one under ReLU."""

    left: tuple[Place, ...]
    right: tuple[Place, ...]
    powers: tuple[int, int] = (1, 1)
    """Of the scale on the left, and of its inverse on the right."""

    def apply(self, draft: Draft) -> None:
        """Rewrite a state."""
        before, behind = (_norms(draft, places) for places in (self.left, self.right))
        idle = (before == 0) | (behind == 0)
        scale = torch.where(idle, 1.0, (behind / torch.where(idle, 1.0, before)).pow(1 / sum(self.powers)))
        up, down = self.powers
        for places, factor in ((self.left, scale.pow(up)), (self.right, scale.pow(-down))):
            for place in places:
                draft.write(place, draft.read(place) * factor)


def _norms(draft: Draft, places: tuple[Place, ...]) -> Tensor:
    squares = [rows.square().sum(-1, keepdim=True) for rows in map(draft.read, places)]
    return torch.stack(squares).sum(0).sqrt()


def _gram(draft: Draft, places: tuple[Place, ...]) -> Tensor:
    return torch.stack([rows @ rows.mT for rows in map(draft.read, places)]).sum(0)


def balance(p: Tensor, q: Tensor) -> Tensor:
    r"""Return the symmetric A with :math:`A P A = A^{-1} Q A^{-1}`, and the identity where P or Q is singular.

    :math:`A^2` is the geometric mean of :math:`P^{-1}` and Q.
    """
    eye = torch.eye(p.shape[-1], dtype=p.dtype, device=p.device).expand_as(p)
    spectra = torch.stack([torch.linalg.eigvalsh(m) for m in (p, q)])
    regular = (spectra[..., 0] > SINGULAR * spectra[..., -1]).all(0)[:, None, None]
    p, q = (torch.where(regular, m, eye) for m in (p, q))
    root = _power(p, 0.5)
    inverse = _power(p, -0.5)
    mean = inverse @ _power(root @ q @ root, 0.5) @ inverse
    return torch.where(regular, _power(mean, 0.5), eye)


def _power(m: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh((m + m.mT) / 2)
    out: Tensor = vectors @ (values.clamp_min(0).pow(exponent).unsqueeze(-1) * vectors.mT)
    return out
