"""Exact optimal transport between two sets of units that all weigh the same."""

from __future__ import annotations

import math

import numpy as np

_MOST_COPIES = 2048
"""How many copies of units are assigned to one another at most; beyond that a linear program is solved."""


def plan(cost: np.ndarray) -> np.ndarray:
    """Return the cheapest coupling of n units with m, in which each row sums to 1 / n and each column to 1 / m.

    Where n is m it is a permutation, divided by n. Where it is not, units are cut into equal copies, as many as there
    are in the least common multiple of n and m, and these are assigned.

    Parameters
    ----------
    cost : ndarray of shape (n, m)
        What it costs to bring all of one unit to another.

    Returns
    -------
    ndarray of shape (n, m)
        The coupling.
    """
    from scipy.optimize import linear_sum_assignment  # merging other networks starts without it

    n, m = cost.shape
    total = math.lcm(n, m)
    if total > max(_MOST_COPIES, 2 * max(n, m)):
        return _linear_program(cost)
    copies_n, copies_m = total // n, total // m
    rows, columns = linear_sum_assignment(cost.repeat(copies_n, 0).repeat(copies_m, 1))
    coupling = np.zeros_like(cost, dtype=np.float64)
    np.add.at(coupling, (rows // copies_n, columns // copies_m), 1 / total)
    return coupling


def _linear_program(cost: np.ndarray) -> np.ndarray:
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, identity, kron, vstack

    n, m = cost.shape
    of_rows = kron(identity(n), np.ones((1, m)))
    of_columns = kron(np.ones((1, n)), identity(m))
    sums = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    scale = max(float(np.abs(cost).max()), np.finfo(np.float64).tiny)
    solved = linprog(cost.ravel() / scale, A_eq=csr_array(vstack([of_rows, of_columns])), b_eq=sums, method="highs-ds")
    if solved.x is None:
        raise RuntimeError(f"The transport of {n} units to {m} was not solved: {solved.message}")
    coupling: np.ndarray = solved.x.reshape(n, m)
    return coupling
