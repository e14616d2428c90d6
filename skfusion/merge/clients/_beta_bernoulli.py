"""Match vectors of several clients to common atoms by a Beta-Bernoulli process (Yurochkin et al., 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np

_MOST = 10
"""Clients of an atom that its popularity counts, at most, as in the code of the paper."""


@dataclass(frozen=True)
class Prior:
    """How units vary around atoms, atoms around zero, and how easily there are new atoms."""

    sigma: float
    sigma0: float
    gamma: float
    max_width: int | None = None

    def check(self, who: object) -> None:
        """Raise where a number is not one that it can be."""
        for name in ("sigma", "sigma0", "gamma"):
            if not (math.isfinite(value := getattr(self, name)) and value > 0):
                raise ValueError(f"{name} must be a positive number; got {value!r} in {who!r}.")
        if self.max_width is not None and not (isinstance(self.max_width, Integral) and self.max_width >= 1):
            raise ValueError(f"max_width must be a whole number of at least 1, or None; got {self.max_width!r}.")

    def shrinkage(self, n: np.ndarray) -> np.ndarray:
        """Return what the mean of n matched numbers is multiplied by in the mean of the posterior."""
        return n / (self.sigma**2 / self.sigma0**2 + n)


def scores(vectors: np.ndarray, sums: np.ndarray, counts: np.ndarray, n_clients: int, prior: Prior) -> np.ndarray:
    r"""Return twice the gain in log-posterior by matching each vector with each atom, shape (n_units, n_atoms).

    With the precision-weighted sum :math:`N_i` and the precision :math:`S_i` of atom i, which has :math:`n_i` clients,

    .. math:: \frac{\lVert v / \sigma^2 + N_i \rVert^2}{1 / \sigma^2 + S_i} - \frac{\lVert N_i \rVert^2}{S_i}
        + 2 \log \frac{n_i}{J - n_i}

    Constants of a vector are left out. The arguments are sums of the vectors of an atom, and their numbers.
    """
    precision, n = prior.sigma**-2, np.minimum(counts, _MOST)
    own, total, spread = vectors * precision, sums * precision, prior.sigma0**-2 + counts * precision
    squares = (total**2).sum(1)
    joined = (own**2).sum(1)[:, None] + 2 * own @ total.T + squares
    gain: np.ndarray = joined / (precision + spread) - squares / spread + 2 * np.log(n / (n_clients - n))
    return gain


def scores_of_new(vectors: np.ndarray, n_new: int, n_clients: int, prior: Prior) -> np.ndarray:
    r"""Return the same for new atoms, shape (n_units, n_new).

    .. math:: \frac{\lVert v / \sigma^2 \rVert^2}{1 / \sigma_0^2 + 1 / \sigma^2} - 2 \log m + 2 \log \frac{\gamma}{J}

    for the m-th new atom of a client.
    """
    alone: np.ndarray = (vectors**2).sum(1) * prior.sigma**-4 / (prior.sigma0**-2 + prior.sigma**-2)
    gain: np.ndarray = alone[:, None] - 2 * np.log(np.arange(1, n_new + 1)) + 2 * math.log(prior.gamma / n_clients)
    return gain


class Atoms:
    """Atoms, with the sums of the vectors that are matched to them, and how many these are."""

    def __init__(self, n_numbers: int, n_clients: int, prior: Prior):
        self.sums, self.counts = np.zeros((0, n_numbers)), np.zeros(0, np.int64)
        self.n_clients, self.prior = n_clients, prior

    def match(self, vectors: np.ndarray) -> np.ndarray:
        """Match the vectors of a client with atoms, old and new ones; return the atom of each."""
        from scipy.optimize import linear_sum_assignment  # merging other networks starts without it

        n_units, n_old = len(vectors), len(self.counts)
        if n_old == 0:  # the order of new atoms is open, and this one is plain
            atoms = np.arange(n_units)
        else:
            most = n_units if self.prior.max_width is None else self.prior.max_width - n_old
            n_new = min(n_units, max(most, n_units - n_old, 0))
            known = scores(vectors, self.sums, self.counts, self.n_clients, self.prior)
            new = scores_of_new(vectors, n_new, self.n_clients, self.prior)
            atoms = linear_sum_assignment(np.hstack([known, new]), maximize=True)[1]
            fresh = atoms >= n_old
            atoms[fresh] = n_old + np.arange(fresh.sum())
        n = max(n_old, int(atoms.max(initial=-1)) + 1)
        self.sums = np.vstack([self.sums, np.zeros((n - n_old, vectors.shape[1]))])
        self.counts = np.concatenate([self.counts, np.zeros(n - n_old, np.int64)])
        self.sums[atoms] += vectors
        self.counts[atoms] += 1
        return atoms

    def remove(self, vectors: np.ndarray, atoms: np.ndarray) -> np.ndarray:
        """Take the vectors of a client out; return the new number of each atom, -1 where it is left without any."""
        self.sums[atoms] -= vectors
        self.counts[atoms] -= 1
        kept = self.counts > 0
        self.sums, self.counts = self.sums[kept], self.counts[kept]
        return np.where(kept, np.cumsum(kept) - 1, -1)


def matched(
    units: Sequence[np.ndarray], prior: Prior, n_sweeps: int, rng: np.random.Generator
) -> tuple[list[np.ndarray], int]:
    """Return the atom of each unit of each client, and how many atoms there are.

    ``units`` has an array of shape (n_units, n_numbers) for each client. The widest client begins; then each client in
    turn, in random order, is taken out and matched anew.
    """
    atoms = Atoms(units[0].shape[1], len(units), prior)
    found: list[np.ndarray] = [np.zeros(0, np.int64)] * len(units)
    for j in sorted(range(len(units)), key=lambda j: -len(units[j])):
        found[j] = atoms.match(units[j])
    for _ in range(n_sweeps if len(units) > 1 else 0):
        for j in rng.permutation(len(units)):
            number = atoms.remove(units[j], found[j])
            found = [number[places] if k != j else places for k, places in enumerate(found)]
            found[j] = atoms.match(units[j])
    return found, len(atoms.counts)
