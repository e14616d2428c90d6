"""What a population sees of its members: when, at which rates, and which of them have diverged."""

import math
from types import SimpleNamespace

import pytest
import torch

from skfusion.nets import Population, Together
from skfusion.nets._population import LockStep


class Sees(Population):
    """Keeps what it sees."""

    def __init__(self, every=1):
        self.every, self.seen, self.begun = every, [], 0

    def begin(self):
        self.begun += 1

    def acts_after(self, step, steps_per_epoch, n_steps):
        return step % self.every == 0

    def act(self, together):
        assert not torch.is_grad_enabled()
        self.seen.append(together)


def nets_at(*rates):
    return [SimpleNamespace(max_epochs=2, optimizer_=SimpleNamespace(param_groups=[{"lr": rate}])) for rate in rates]


def test_rates_are_shares_of_the_highest_so_far():
    """Of one that warms up, so that no pull is stronger than it is asked to be, and of one that only falls."""
    population, nets = Sees(), nets_at(0.0, 0.4)
    lock_step = LockStep(population)
    assert population.begun == 1
    for rates in [(0.0, 0.4), (0.1, 0.3), (0.2, 0.2), (0.1, 0.1)]:
        for net, rate in zip(nets, rates, strict=True):
            net.optimizer_.param_groups[0]["lr"] = rate
        assert lock_step.after_step(nets, 3, lambda: [torch.ones(2, 1)], dict)
    found = [rate for together in population.seen for rate in together.rates]
    assert found == pytest.approx([0, 1, 1, 0.75, 1, 0.5, 0.5, 0.25])
    assert [together.step for together in population.seen] == [1, 2, 3, 4]


def test_rates_of_steps_between_count_too():
    population, nets = Sees(every=2), nets_at(0.4)
    lock_step = LockStep(population)
    assert not lock_step.after_step(nets, 3, pytest.fail, pytest.fail)  # nothing is gathered for nothing
    nets[0].optimizer_.param_groups[0]["lr"] = 0.1
    assert lock_step.after_step(nets, 3, lambda: [torch.ones(1, 1)], dict)
    assert population.seen[0].rates == pytest.approx([0.25])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3], [0, 1, 2]),
        ([1, math.nan, 3], [0, 2]),
        ([math.inf, -2, 3], [1, 2]),
        ([1, 2, -1e30], [0, 1]),
        ([1, 500], [0]),
        ([1e5, 2e5, 9e6], [0, 1, 2]),
        ([0, 0, 5], [0, 1, 2]),
        ([math.nan, math.nan], []),
        ([7], [0]),
    ],
    ids=str,
)
def test_members_that_have_diverged_are_known(values, expected, dtype):
    scalars = torch.tensor(values, dtype=dtype)  # of parameters without axes
    whole = torch.zeros(len(values), 2, 3, dtype=dtype)
    assert Together(1, 1, [whole, scalars], [1.0] * len(values), dict).without_diverged() == expected
