"""Chains of straight links: their basis, the lengths of links, and points along them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from skfusion.connect._base import PathBasis


class Chain(PathBasis):
    """Straight links from control state to control state, each of which takes an equal share of the positions."""

    def weights(self, t: float, n_controls: int) -> np.ndarray:
        """Return the coefficients; see :meth:`PathBasis.weights`."""
        coefficients: np.ndarray = np.maximum(0.0, 1.0 - np.abs(t * (n_controls - 1) - np.arange(n_controls)))
        return coefficients


def lengths(pivots: Tensor) -> Tensor:  # shape: (n_pivots, n_numbers)
    """Return the lengths of the links of a chain in double precision, shape (n_pivots - 1,)."""
    found: Tensor = torch.linalg.vector_norm(pivots.diff(dim=0), dim=1, dtype=torch.float64)
    return found


def redistributed(pivots: Tensor, spacing: np.ndarray) -> Tensor:
    """Return a chain whose pivots are moved along it until its links have the lengths ``spacing``, up to a factor.

    The ends stay, and so does a chain whose links have these lengths.
    """
    passed = np.concatenate([[0.0], np.cumsum(lengths(pivots).cpu().numpy())])
    target = np.concatenate([[0.0], np.cumsum(spacing)]) / np.sum(spacing)
    place = np.interp(target[1:-1] * passed[-1], passed, np.arange(len(passed)))
    below = np.minimum(place.astype(int), len(passed) - 2)
    share = torch.from_numpy(place - below).to(pivots)[:, None]
    index = torch.from_numpy(below).to(pivots.device)
    inner = torch.lerp(pivots[index], pivots[index + 1], share)
    return torch.cat([pivots[:1], inner, pivots[-1:]])
