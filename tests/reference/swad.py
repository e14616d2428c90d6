"""Stochastic weight averaging densely, Algorithm 1 of Cha et al. (2021), with a loss after each epoch."""

import numpy as np


def iterations(losses, per_epoch, n_start, n_end, r):
    """The iterations from ``t_s`` to ``t_e``, both inclusive; those of the last epoch where there is no start.

    Of the algorithm ``i`` counts validations, as the loss is known after each ``per_epoch`` iterations.
    """
    loss = {i + 1: value for i, value in enumerate(losses)}
    t_s, t_e, threshold = 0, len(losses), None
    for i in range(1, len(losses) + 1):
        if t_s == 0:
            if i >= n_start and loss[i - n_start + 1] == min(loss[i - j] for j in range(n_start)):
                t_s = i - n_start + 1
                threshold = (1 + r) / n_start * sum(loss[i - j] for j in range(n_start))
        elif i >= n_end and threshold < min(loss[i - j] for j in range(n_end)):
            t_e = i - n_end
            break
    if t_s == 0:
        return list(range((len(losses) - 1) * per_epoch + 1, len(losses) * per_epoch + 1))
    return list(range(t_s * per_epoch, t_e * per_epoch + 1))


def average(trajectory, losses, n_start, n_end, r):
    """The mean of these iterations of a trajectory, an array of shape (1 + n_iterations, d)."""
    per_epoch = (len(trajectory) - 1) // len(losses)
    return np.mean([trajectory[t] for t in iterations(losses, per_epoch, n_start, n_end, r)], axis=0)
