"""The layer of Sinkhorn: rows and columns sum to one, its limits are known, its gradient is that of an unrolled one."""

import pytest
import torch

from skfusion.align.transport._sinkhorn_layer import iterated, potentials, sinkhorn_layer


def free(n, seed=0, lead=()):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*lead, n, n, generator=generator, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("n", [2, 5, 9])
@pytest.mark.parametrize("tau", [0.7, 2.0])
def test_rows_and_columns_sum_to_one(n, tau):
    plan = sinkhorn_layer(free(n, lead=(3,)), tau, 500)
    for axis in (-1, -2):
        assert float((plan.sum(axis) - 1).abs().max().detach()) <= 1e-6


def test_a_low_temperature_gives_a_permutation_and_a_high_one_the_mean():
    x = free(6)
    hard = sinkhorn_layer(x, 1e-3, 5000).detach().round(decimals=3)
    assert ((hard == 0) | (hard == 1)).all()
    assert torch.allclose(sinkhorn_layer(x, 1e6, 100), torch.full((6, 6), 1 / 6, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("tau", [0.3, 1.0])
def test_the_gradient_is_that_of_the_unrolled_iteration(tau):
    x, weight = free(6, lead=(2,)), free(6, 1).detach()
    gradients = []
    for plan in (sinkhorn_layer(x, tau, 2000), iterated(x / tau, 2000)):
        gradients += torch.autograd.grad((plan * weight).sum() + plan.pow(3).sum(), x)
    assert float((gradients[0] - gradients[1]).abs().max()) <= 1e-9 * float(gradients[1].abs().max())


def test_the_gradient_is_that_of_finite_differences():
    assert torch.autograd.gradcheck(lambda x: sinkhorn_layer(x, 1.0, 200), (free(3),))


def test_the_potentials_solve_the_whole_system():
    plan = sinkhorn_layer(free(5), 0.5, 2000).detach()
    rows, columns = free(5, 2).detach()[0], free(5, 3).detach()[0]
    columns = columns + (rows.sum() - columns.sum()) / 5  # what a change of the plan brings is the same on both sides
    a, b = potentials(plan, rows, columns)
    assert torch.allclose(a + plan @ b, rows)
    assert torch.allclose(plan.mT @ a + b, columns)
    assert float(b[-1]) == 0


def test_no_gradient_is_nan_where_the_matrix_is_a_permutation():
    x = (1e4 * torch.eye(5, dtype=torch.float64)).requires_grad_()
    (gradient,) = torch.autograd.grad((sinkhorn_layer(x, 1.0, 20) * free(5).detach()).sum(), x)
    assert float(gradient.abs().max()) <= 1e-12
