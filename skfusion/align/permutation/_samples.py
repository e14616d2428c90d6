"""Which sample each value of an activation belongs to, for its weight and for a key that no batch changes.

The axis that counts samples is not known from the module, as tokens or windows may be folded into it. It is observed:
the batch runs once more with its rows rolled by one, and the axis along which the activation rolled too is that axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skfusion._batches import n_rows, tensors_of
from skfusion.align.permutation._activation_sites import View
from skfusion.objective import Batch, Input
from skfusion.symmetry import Site

_ODD = np.uint64(0x9E3779B97F4A7C15)


class Layout(NamedTuple):
    """The axis of an activation that counts samples, or samples times tokens in either order."""

    axis: int
    samples_first: bool

    def rows(self, length: int, n: int) -> Tensor:
        """Return which of n samples each position of the axis belongs to."""
        times = length // n
        return torch.arange(n).repeat_interleave(times) if self.samples_first else torch.arange(n).repeat(times)

    def rolled(self, x: Tensor, n: int) -> Tensor:
        """Return an activation whose samples are rolled by one."""
        times = x.shape[self.axis] // n
        sizes = (n, times) if self.samples_first else (times, n)
        axis = self.axis + (0 if self.samples_first else 1)
        return torch.unflatten(x, self.axis, sizes).roll(1, axis).flatten(self.axis, self.axis + 1)


def layouts(activations: Mapping[Site, Tensor], rolled: Mapping[Site, Tensor], n: int) -> dict[Site, Layout]:
    """Return how activations count the n samples of a batch, for sites where an axis does; valid for any batch."""
    known: dict[Site, Layout] = {}
    for site, x in activations.items():
        free = [e for e, blocks in enumerate(site.axes) if not blocks and x.shape[e] and not x.shape[e] % n]
        atol = 1e-3 * float(x.abs().double().mean())
        for layout in (Layout(e, first) for e in free for first in (True, False)):
            if torch.allclose(layout.rolled(x, n), rolled[site], 1e-3, atol, equal_nan=True):
                known[site] = layout
                break
    return known


def samples_of(
    view: View, activation: Tensor, batch: Batch, layout: Layout | None, keys: np.ndarray | None
) -> tuple[Tensor | None, np.ndarray | None]:
    """Return the weight and the key of each value of a view, where samples have them; each of shape (n_values,).

    The key of a value is made of the key of its sample, see :func:`sample_keys`, and of its position within the sample.
    """
    if batch.weight is None and keys is None:
        return None, None
    shape = activation.shape
    if layout is None:  # no axis counts samples: the whole batch takes the place of a sample
        row = torch.zeros(view.cut(activation).shape[-1], dtype=torch.int64)
        keys = None if keys is None else _mixed(keys).sum(keepdims=True)
    else:
        places = layout.rows(shape[layout.axis], n_rows(batch.x)).to(activation.device)
        everywhere = places.view([-1 if e == layout.axis else 1 for e in range(len(shape))]).expand(shape)
        row = view.cut(everywhere)[0, 0]
    weight = None if batch.weight is None else batch.weight.to(row.device)[row]
    if keys is None:
        return weight, None
    of_value, position = row.cpu().numpy(), np.empty(len(row), np.uint64)
    position[np.argsort(of_value, kind="stable")] = np.arange(len(row)) % max(1, len(row) // len(keys))
    return weight, _mixed(keys[of_value] + position * _ODD)


def sample_keys(x: Input) -> np.ndarray:
    """Return a 64-bit hash of each row of an input; equal rows have equal hashes."""
    parts = [t.detach().cpu().contiguous() for t in tensors_of(x)]
    flat = [t.reshape(len(t), -1).view(torch.uint8).numpy() for t in parts]
    return np.array(
        [int.from_bytes(blake2b(b"".join(row), digest_size=8).digest(), "little") for row in zip(*flat, strict=True)],
        np.uint64,
    )


def _mixed(x: np.ndarray) -> np.ndarray:
    """Return numbers each bit of which depends on all bits of the argument (the finaliser of SplitMix64)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x
