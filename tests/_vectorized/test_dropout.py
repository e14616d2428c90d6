"""Dropout of few random bits has the law of torch's: which units are dropped, and what becomes of the others."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from skfusion._vectorized import FewBitsDropout

N, M = 3000, 33


def dropped(p, seed=0):
    """Return which units of N rows of M are dropped, and the factor of the others."""
    torch.manual_seed(seed)
    out = FewBitsDropout(p)(torch.ones(N, M))
    assert len(out.unique()) == 2
    return (out == 0).numpy(), float(out.max())


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_the_share_that_is_dropped(p):
    mask, factor = dropped(p)
    assert binomtest(int(mask.sum()), mask.size, p).pvalue > 1e-3
    assert factor == pytest.approx(1 / (1 - p), rel=1e-3)
    for axis in (0, 1):  # neither rows nor units differ by more than chance
        n = mask.shape[axis]
        deviations = (mask.mean(axis) - p) / np.sqrt(p * (1 - p) / n)
        assert deviations.std() == pytest.approx(1, abs=5 / np.sqrt(2 * len(deviations)))


def test_units_are_dropped_independently():
    mask = dropped(0.3)[0].ravel().astype(float)
    for lag in (1, 2, 3, 4, 8, M):  # four share a draw
        assert abs(np.corrcoef(mask[:-lag], mask[lag:])[0, 1]) < 4 / np.sqrt(mask.size)
    assert abs(np.corrcoef(mask, dropped(0.3, 1)[0].ravel())[0, 1]) < 4 / np.sqrt(mask.size)


def test_the_mean_is_kept_exactly():
    p = 0.1
    kept = 1 - round(p * 2**16) / 2**16
    assert dropped(p)[1] == pytest.approx(1 / kept, rel=1e-7)


def test_evaluation_and_ends_of_the_probability():
    x = torch.randn(5, 3)
    assert FewBitsDropout(0.5).eval()(x) is x
    assert FewBitsDropout(0.0)(x) is x
    assert not FewBitsDropout(1.0)(x).any()
    with pytest.raises(ValueError, match="between 0 and 1"):
        FewBitsDropout(1.5)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 5, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_shapes_dtypes_and_gradients(shape, dtype):
    x = torch.ones(shape, dtype=dtype, requires_grad=True)
    out = FewBitsDropout(0.5)(x)
    assert (out.shape, out.dtype) == (x.shape, dtype)
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(grad, out.detach())


def test_it_is_a_dropout_that_others_know():
    assert isinstance(FewBitsDropout(), nn.Dropout)
    assert repr(FewBitsDropout(0.1)) == "FewBitsDropout(p=0.1, inplace=False)"
