"""OTFusion of perceptrons, literally as the paper writes it: one layer after the other, neuron by neuron."""

import numpy as np
from scipy.optimize import linprog


def plan_of(cost, sent, received):
    n, m = cost.shape
    sums = [np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))]
    return linprog(cost.ravel(), A_eq=np.concatenate(sums), b_eq=np.concatenate([sent, received])).x.reshape(n, m)


def transported(layers_a, layers_b, importance=False):
    """Return the layers (weight, bias) of network A, transported to the neurons of network B; the last one is read."""
    into = np.eye(layers_a[0][0].shape[1])
    out = []
    for k, ((w_a, bias_a), (w_b, bias_b)) in enumerate(zip(layers_a, layers_b, strict=True)):
        w_a = w_a @ into  # the inputs as network B has them
        if k == len(layers_a) - 1:
            return [*out, (w_a, bias_a)]
        rows_a, rows_b = np.column_stack([w_a, bias_a]), np.column_stack([w_b, bias_b])
        cost = np.array([[np.linalg.norm(a - b) for b in rows_b] for a in rows_a])
        own = np.column_stack([layers_a[k][0], bias_a])
        sizes = [np.linalg.norm(r, axis=1) if importance else np.ones(len(r)) for r in (own, rows_b)]
        sent, received = (s / s.sum() for s in sizes)
        plan = plan_of(cost, sent, received)
        make = (plan / received).T
        into = plan / sent[:, None]
        out.append((make @ w_a, make @ bias_a))
    raise AssertionError
