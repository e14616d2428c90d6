"""ZipIt (Stoica et al., 2024): the greedy matching as the paper's code has it, column by column, for two networks."""

import numpy as np


def match(similarity, r=0.5, a=0.3, b=0.125):
    """Return the unmerge matrix, of shape (n_units, n_merged), of two networks of as many units each."""
    sims = similarity.copy()
    total = len(sims)
    remainder = int(total * (1 - r) + 1e-4)
    unmerge = np.eye(total)
    np.fill_diagonal(sims, -np.inf)
    origin = np.repeat([0, 1], total // 2)
    budget = np.zeros(2, int) + int(((total - remainder) // 2) * b + 1e-4)
    while unmerge.shape[1] > remainder:
        best = sims.reshape(-1).argmax()
        row, col = sorted((best % sims.shape[1], best // sims.shape[1]))
        same = origin[row] == origin[col]
        unmerge[:, row] += unmerge[:, col]
        unmerge = np.delete(unmerge, col, 1)
        sims[:, row] = np.minimum(sims[:, row], sims[:, col])
        sims[:, row] = -np.inf if a <= 0 else sims[:, row] * a
        sims = np.delete(sims, col, 1)
        sims[row, :] = np.minimum(sims[row, :], sims[col, :])
        sims[row, :] = -np.inf if a <= 0 else sims[row, :] * a
        sims = np.delete(sims, col, 0)
        sims[row, row] = -np.inf
        origin = np.delete(origin, col)
        if same:
            budget[origin[row]] -= 1
            if budget[origin[row]] <= 0:
                here = origin == origin[row]
                sims[np.ix_(here, here)] = -np.inf
    return unmerge
