"""What is said where something cannot be done, or was not followed."""

import re
import warnings

import pytest
import torch
from torch import nn
from tracing.attention import Function
from tracing.checks import sizes
from tracing.networks import between, mlp, rows

from skfusion.tracing import symmetry_of


def test_example_of_the_wrong_shape():
    with pytest.raises(
        ValueError, match=r"Sequential could not run on example_inputs \(\(4, 5\) of torch.float32\)"
    ) as e:
        symmetry_of(mlp(), rows(4, 5))
    assert isinstance(e.value.__cause__, RuntimeError)


def test_lazy_module_without_shapes():
    module = nn.Sequential(nn.LazyLinear(6), nn.Linear(6, 2))
    with pytest.raises(ValueError, match=r"'0.weight' of a lazy module has no shape yet"):
        symmetry_of(module, rows())
    module(rows())
    assert sizes(symmetry_of(module, rows())) == ([6], [])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite_cannot_be_verified(value):
    module = mlp()
    with torch.no_grad():
        module[0].weight[0, 0] = value
        module[4].bias[0] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        symmetry_of(module, rows())


def test_output_without_tensors():
    with pytest.raises(ValueError, match="holds no tensor"):
        symmetry_of(Function(lambda m, x: 3, a=nn.Linear(3, 6)), rows())


def branching(m, x):
    h = m.a(x).relu()
    if h.sum() > 1e9:
        h = h.flip(1)
    return m.b(h)


def listing(m, x):
    h = m.a(x).relu()
    scale = max(h.mean(1).tolist())
    return m.b(h * (1.0 if scale > 0 else 2.0))


@pytest.mark.parametrize("forward", [branching, listing])
def test_a_path_that_depends_on_data_is_named(forward):
    module = Function(forward, a=nn.Linear(3, 6), b=nn.Linear(6, 2))
    with pytest.warns(UserWarning, match=r"depends on data, at .*test_complaints.py:\d+") as record:
        found = symmetry_of(module, rows())
    assert len(record) == 1
    assert "axes=" in str(record[0].message)
    assert sizes(found) == ([6], [])
    assert any(re.search(r"test_complaints.py:\d+", note) for note in found.notes)


def test_a_path_that_depends_on_constants_is_not():
    module = Function(lambda m, x: m.b(m.a(x)) * float(torch.ones(3).sum()), a=nn.Linear(3, 6), b=nn.Linear(6, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not symmetry_of(module, rows()).notes


def test_an_unknown_operation_is_pinned_and_named():
    module = nn.Sequential(nn.Linear(3, 6), Function(lambda m, x: x @ torch.matrix_exp(x.T @ x / 9)), nn.Linear(6, 2))
    found = symmetry_of(module.double(), rows().double())
    assert sizes(found) == ([], [])
    assert any("operation linalg_matrix_exp in module '1' is not known" in note for note in found.notes)
    assert "linalg_matrix_exp" in found.pinned["0.weight", 0]


def test_pinned_axes_have_reasons_that_name_the_operation():
    found = symmetry_of(between(lambda x: x.cumsum(1)), rows())
    assert found.pinned["a.weight", 0] == "an operation in the order of positions (cumsum)"
    assert "meets" in found.pinned["a.weight", 1] or "pinned" in found.pinned["a.weight", 1]
