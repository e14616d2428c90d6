"""The mean of the latest states."""

import pytest
import torch

from skfusion.average import Latest, Mean
from skfusion.testing import _problems as problems


def run(values):
    return [{"w": torch.tensor([float(v)])} for v in values]


def test_the_latest_states_count_equally():
    assert Latest(3).of(run(range(10)))["w"].item() == 8
    assert Latest(2, every=3, unit="step").of(run(range(9)))["w"].item() == 4.5  # after steps 3 and 6
    assert Latest(1).of(run(range(10)))["w"].item() == 9


def test_while_there_are_fewer_all_count():
    states = problems.states(4)
    for key, value in Latest(9).of(states).items():
        torch.testing.assert_close(value, Mean(0.0, unit="epoch").of(states)[key])


def test_no_more_states_are_kept_than_asked_for():
    running = problems.streamed(Latest(3), problems.states(12))
    assert (len(running.states), running.n) == (3, 3)


@pytest.mark.parametrize("last", [0, -1, 2.5], ids=str)
def test_a_wrong_number_is_refused(last):
    with pytest.raises(ValueError, match="last is the number of states that are averaged, at least 1"):
        Latest(last).begin(4)


def test_too_few_states_are_named_with_their_number():
    assert Latest(4).shortfall(4) is None
    assert "averages 4 states, and there were 2" in Latest(4).shortfall(2)
