"""The call without scikit-learn says what is wrong with what it is given."""

import pytest
import torch
from torch import nn

from skfusion import rebasin
from skfusion.align import CycleConsistent, OTFusion, SinkhornRebasin, WeightMatching
from skfusion.merge import Uniform

X = torch.ones(2, 3)


def perceptron(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2))


def test_a_module_in_the_place_of_its_state_is_named():
    a, b = perceptron(), perceptron()
    with pytest.raises(TypeError, match=r"member state_b must be a dict .*Sequential.*Give its state_dict\(\)"):
        rebasin(a.state_dict(), b, a, X)
    with pytest.raises(TypeError, match=r"member 0 must be a dict .*Give its state_dict\(\)"):
        Uniform()([a, b])


@pytest.mark.parametrize(
    "align", [WeightMatching(), OTFusion(), CycleConsistent(), SinkhornRebasin(n_steps=1)], ids=repr
)
def test_states_of_another_architecture_than_the_module_are_refused(align):
    a, b = (perceptron(5).state_dict() for _ in range(2))
    with pytest.raises(ValueError, match=r"Tensor '0.weight' is of shape \(5, 3\) in the state and \(4, 3\)"):
        rebasin(a, b, perceptron(), X, align=align)
    for state in (a, b):
        del state["0.bias"]
    with pytest.raises(ValueError, match="no tensor '0.bias'"):
        rebasin(a, b, perceptron(5), X, align=align)


@pytest.mark.parametrize(("align", "hint"), [("weights", "got 'weights'"), (OTFusion, r"Write OTFusion\(\)")])
def test_what_is_no_aligner_is_refused(align, hint):
    a = perceptron()
    with pytest.raises(TypeError, match=hint):
        rebasin(a.state_dict(), a.state_dict(), a, X, align=align)
