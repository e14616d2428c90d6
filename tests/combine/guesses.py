"""Predictions of members that know a little."""

import numpy as np


def guesses(task, n_members=4, n=60, n_outputs=3, seed=0, skills=(0.3, 1.5)):
    """Return predictions of shape (n_members, n, n_outputs), and targets; members are of more and more skill."""
    rng = np.random.RandomState(seed)
    skill = np.linspace(*skills, n_members)[:, None, None]
    noise = rng.normal(size=(n_members, n, n_outputs))
    if task == "regression":
        y = rng.normal(size=(n, n_outputs)) * np.arange(1, n_outputs + 1) + 2
        return y + noise / skill + rng.normal(size=(n_members, 1, 1)), y
    if task == "multilabel":
        y = rng.randint(2, size=(n, n_outputs))
        return 1 / (1 + np.exp(-skill * (2 * y - 1) - noise)), y
    y = rng.randint(n_outputs, size=n)
    z = np.exp(skill * np.eye(n_outputs)[y] + noise)
    return z / z.sum(axis=2, keepdims=True), y
