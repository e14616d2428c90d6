"""Sums of squared gradients: the short way of linear layers is the long one, and is taken."""

import torch
from merge.problems import normal, objective, perceptron

from skfusion.merge.statistics._squares import Gradients, Squares, _alike
from skfusion.objective import Likelihood


def test_the_short_way_is_taken_and_is_the_long_one():
    module = perceptron(4, 6, 3).double()
    state = {k: v.detach().clone() for k, v in module.state_dict().items()}
    names = {k: k for k in state}
    squares = Squares(Gradients(objective(module), Likelihood("categorical", lambda out: out), state, names, (*names,)))
    x, pulls = normal(7, 4), normal(7, 2, 3)
    found, long = squares(x, pulls), squares._long(x, pulls, [*names])
    assert squares._proven == {*names}
    for name, value in long.items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-14)


def test_ways_are_compared_in_the_size_of_their_values():
    small = torch.tensor([1e-3, 2e-3], dtype=torch.float64)
    assert _alike(small * (1 + 1e-5), small)
    assert not _alike(small * 1.1, small)
    assert _alike(1e6 * small * (1 + 1e-5), 1e6 * small)
