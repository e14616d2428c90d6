"""How many members are trained at a time, and the memory of one."""

from functools import partial

import numpy as np
import pytest
import torch
from looped import CLASSES, classifier
from torch import nn

from skfusion import nets
from skfusion.nets import Run
from skfusion.nets.vectorized._plan import member_cost

R = nn.ReLU
N = 6 * 8 + 8 + 8 * 3 + 3  # parameters of the perceptron
ORDER = 8 * len(CLASSES)  # the rows of an epoch
BUFFERS = {"SGD": 1, "Adam": 2, "AdamW": 2}


RUN = Run("run", 0)


def bytes_of(net):
    return member_cost(net, CLASSES, RUN).bytes


def planned(net, n, *args, **settings):
    return nets.plan(net, CLASSES, [RUN] * n, *args, **settings)


def without_activations(net, batch_size=1):
    """Activations grow by the row: what is left at none of them."""
    one, two = (bytes_of(net.set_params(batch_size=b)) for b in (batch_size, 2 * batch_size))
    return 2 * one - two


@pytest.mark.parametrize("optimizer", BUFFERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
def test_parameters_gradient_and_state_are_counted(optimizer, dtype):
    net = classifier(R, optimizer=getattr(torch.optim, optimizer), module__dtype=dtype)
    size = 4 if dtype == torch.float32 else 8
    found = member_cost(net, CLASSES, RUN)
    assert found.n_parameters == N
    left = without_activations(net, 8) - N * size * (3 + BUFFERS[optimizer]) - ORDER
    assert 0 <= left <= 2 * size  # a number or two of the loss, that have no rows


def test_buffers_and_frozen_parameters_are_counted_once():
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(6, 3)
            self.frozen = nn.Parameter(torch.ones(1000), requires_grad=False)
            self.register_buffer("held", torch.ones(500))

        def forward(self, X):
            return self.body(X)

    net = classifier(module=Frozen, optimizer=torch.optim.SGD)
    assert member_cost(net, CLASSES, RUN).n_parameters == 21
    assert 0 <= without_activations(net, 8) - 4 * (4 * 21 + 1500) - ORDER <= 8


def test_activations_grow_with_the_batch():
    net = classifier(R, nn.Tanh)
    sizes = [bytes_of(net.set_params(batch_size=b)) for b in (8, 16, 32)]
    assert sizes[2] - sizes[1] == 2 * (sizes[1] - sizes[0])
    per_row = (sizes[1] - sizes[0]) / 8
    assert 4 * (6 + 8 + 8) <= per_row <= 2 * 4 * (6 + 8 + 8 + 3 + 3) + 16  # inputs, hidden units, outputs, target


def test_wider_layers_and_longer_ones_cost_more():
    small, large = (bytes_of(classifier(R, *[partial(nn.Linear, 8, 8)] * n)) for n in (1, 3))
    assert large >= small + 2 * (8 * 8 + 8) * 4 * 3


def test_sizes_follow_the_memory_and_the_processes():
    net = classifier(R)
    one = bytes_of(net)
    assert planned(net, 7, True).sizes == [7]
    assert planned(net, 7, True, max_bytes=3 * one).sizes == [3, 2, 2]
    assert planned(net, 7, True, max_bytes=2 * one).sizes == [2, 2, 2, 1]
    assert planned(net, 7, True, n_jobs=2).sizes == [4, 3]
    assert planned(net, 7, True, max_bytes=4 * one, n_jobs=2).sizes == [2, 2, 2, 1]
    found = planned(net, 7, True, max_bytes=4 * one, n_jobs=4)
    assert (found.sizes, found.n_jobs) == ([2, 2, 2, 1], 2)
    assert planned(net, 7, True, n_jobs=2).n_jobs is None
    assert all(planned(net, 7, True, max_bytes=b).vectorized for b in (2 * one, 99 * one))


def test_what_does_not_fit_is_trained_alone_and_told():
    net = classifier(R)
    found = planned(net, 3, True, max_bytes=2 * bytes_of(net) - 1)
    assert (found.sizes, found.vectorized) == ([1, 1, 1], False)
    assert f"two members need {2 * bytes_of(net):,} bytes" in found.reason
    assert planned(net, 3, False) == nets.Plan([1, 1, 1], False)
    assert planned(net, 1, True) == nets.Plan([1], False)


def test_a_plan_changes_nothing(untouched_rng):
    net = classifier(partial(nn.BatchNorm1d, 8), R, partial(nn.Dropout, 0.5))
    before = repr(sorted(net.get_params(deep=False).items()))
    x, threads = CLASSES.X.copy(), torch.get_num_threads()
    planned(net, 3, True)
    assert repr(sorted(net.get_params(deep=False).items())) == before
    assert np.array_equal(CLASSES.X, x)
    assert torch.get_num_threads() == threads
