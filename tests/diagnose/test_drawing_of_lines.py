"""The drawings of lines in the report: what is not finite is a gap, and is named."""

from types import SimpleNamespace

import numpy as np
import pytest

from skfusion.diagnose.render._page import _lines
from skfusion.landscape import Profile

T = np.linspace(0, 1, 5)


def page(*losses):
    profiles = {
        ("a", f"b{k}"): dict.fromkeys(("raw", "line"), Profile(T, np.array(loss), T)) for k, loss in enumerate(losses)
    }
    return _lines(SimpleNamespace(profiles=profiles, loss_name="loss"))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_points_without_a_finite_loss_are_gaps_that_are_named(bad):
    text = page([0.1, 0.2, bad, 0.4, 0.3], [0.1, 0.2, 0.3, 0.2, 0.1])
    assert "nan" not in text
    assert "inf," not in text
    assert text.count("<polyline") == 3  # two stretches of the first, and the whole second
    assert text.count("no finite loss at 1 of 5 points, which are left out") == 1


def test_a_single_point_between_gaps_is_drawn():
    text = page([0.1, np.nan, 0.2, np.nan, 0.3])
    assert text.count("<polyline") == 3


def test_lines_without_any_finite_loss_are_named():
    text = page([np.nan] * 5)
    assert "<polyline" not in text
    assert "no finite loss at 5 of 5 points" in text
    assert "nan" not in text


def test_lines_of_finite_losses_have_no_remark():
    assert "left out" not in page([0.1, 0.2, 0.3, 0.2, 0.1])
