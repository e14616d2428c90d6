"""Networks with known symmetries: every group is found and changes nothing, but does so if it is applied in part."""

import pytest
import torch
from tracing.adversarial import ADVERSARIAL
from tracing.checks import blunders, error, in_general_position, sizes
from tracing.networks import KNOWN, image, rows

from skfusion.tracing import symmetry_of

CASES = {
    **KNOWN,
    **{n: (make, image if n == "response norm" else rows, found, []) for n, (make, found) in ADVERSARIAL.items()},
}

# Softmax does not see what is added to all scores of a query.
IDLE = {"grouped queries": {"k.bias"}}


@pytest.mark.parametrize("name", CASES)
def test_every_known_group_is_found_and_leaves_outputs_as_they_are(name):
    make, example, free, indexed = CASES[name]
    module, x = make(), example()
    found = symmetry_of(module, x, verify=False)
    assert sizes(found) == (free, indexed)
    position = in_general_position(module)
    assert max(error(found, position, x, seed) for seed in range(3)) <= 1e-9


@pytest.mark.parametrize("name", [n for n, (_, _, free, _) in CASES.items() if free])
def test_a_tensor_that_is_left_behind_changes_outputs(name):
    make, example, *_ = CASES[name]
    module, x = make(), example()
    found = symmetry_of(module, x, verify=False)
    moved = blunders(found, in_general_position(module), x)
    assert moved
    assert {n for n, error in moved.items() if error < 1e-6} <= IDLE.get(name, set()), moved


@pytest.mark.parametrize("name", CASES)
def test_proof_agrees(name):
    make, example, free, indexed = CASES[name]
    found = symmetry_of(make(), example())
    assert sizes(found) == (free, indexed)
    assert not [n for n in found.notes if "is not known" not in n and "noise" not in name], found.notes


@pytest.mark.parametrize("name", CASES)
def test_no_rule_fails(name):
    make, example, *_ = CASES[name]
    notes = symmetry_of(make(), example(), verify=False).notes
    assert not [n for n in notes if "operation" in n], notes


def test_running_statistics_follow_their_channels():
    module = KNOWN["batch norm"][0]()
    found = symmetry_of(module, rows())
    assert found.axes["1.running_mean"][0][0].groups == ("0.weight:0",)
    assert found.axes["1.running_var"][0][0].groups == ("0.weight:0",)
    assert found.axes["1.num_batches_tracked"] == ()
    assert {"1.running_mean", "1.running_var"} <= {*found.buffers}


def test_tied_names_share_their_axes():
    found = symmetry_of(KNOWN["gpt"][0](), torch.randint(11, (2, 6)))
    assert found.axes["head.weight"] is found.axes["tokens.weight"]
