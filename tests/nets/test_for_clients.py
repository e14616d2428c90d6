"""A net is sized to the moments that clients tell, as if their rows stood together."""

import numpy as np
import pytest
from torch import nn

from skfusion._rows import Rows
from skfusion.nets import initial_state, mlp_regressor, sized, sized_for_clients, with_module
from skfusion.nets._mlp import pooled_scaling, scaling

RNG = np.random.default_rng(0)
X = RNG.normal(3, [1, 5, 0.1], size=(60, 3)).astype(np.float32)
X[:, 2] = np.where(np.arange(60) < 20, 1, 2)  # constant at each client, and not in all
Y = RNG.normal(-2, 4, size=(60, 2)).astype(np.float32)
WEIGHT = RNG.uniform(0.5, 2, size=60)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["alike", "weighted"])
def test_pooled_moments_are_those_of_all_rows(weight):
    rows = Rows(X, Y, weight, task="regression")
    parts = [rows.take(np.arange(20)), rows.take(np.arange(20, 60))]
    whole = scaling(rows, "regression")
    for name, value in pooled_scaling(parts, "regression").items():
        np.testing.assert_allclose(value, whole[name], rtol=1e-6)
    if weight is not None:  # parts whose weights have the mean 1 count for what is told of them
        own = [Rows(p.X, p.y, p.weight / p.weight.mean(), task="regression") for p in parts]
        for name, value in pooled_scaling(own, "regression", [p.weight.sum() for p in parts]).items():
            np.testing.assert_allclose(value, whole[name], rtol=1e-6)


def test_one_client_sizes_a_net_as_its_rows_do():
    rows = Rows(X, Y, task="regression")
    alone, shared = sized(mlp_regressor(), rows, 2), sized_for_clients(mlp_regressor(), [rows], [60.0], 2)
    first, second = (initial_state(net, rows, 5) for net in (alone, shared))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert (initial_state(alone, rows, 6)["layers.0.weight"] != first["layers.0.weight"]).any()


def test_inputs_by_name_have_no_scaling():
    assert pooled_scaling([Rows({"a": X}, Y, task="regression")], "regression") is None


def test_a_scaling_of_the_user_stays():
    given = {"x_mean": np.ones(3), "x_std": np.ones(3), "y_mean": np.zeros(2), "y_std": np.ones(2)}
    rows = Rows(X, Y, task="regression")
    net = sized_for_clients(mlp_regressor(module__scaling=given), [rows], [60.0], 2)
    assert initial_state(net, rows, 0)["x_mean"].tolist() == [1.0, 1.0, 1.0]
    own = with_module(mlp_regressor(), nn.Linear(3, 2))  # which is made already
    assert [*initial_state(sized_for_clients(own, [rows], [60.0], 2), rows, 0)] == ["weight", "bias"]
