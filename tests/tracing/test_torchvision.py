"""Networks of torchvision: the groups that their architecture has, exactly, at the size of a small image."""

import re
from pathlib import Path

import pytest
import torch
import torchvision
from tracing.checks import error, in_general_position

from skfusion.tracing import symmetry_of

# Name: (side of the image, options, groups, of them indexed by others, least share of parameters that move).
# The complete table is made by benchmarks/results_symmetry.py.
MODELS = {
    "resnet18": (32, {}, 12, 0, 0.999),
    "mobilenet_v2": (32, {}, 25, 0, 0.999),
    "shufflenet_v2_x1_0": (32, {}, 86, 0, 0.999),
    "densenet121": (32, {}, 120, 0, 0.999),
    "squeezenet1_1": (32, {}, 25, 0, 0.999),
    "regnet_y_400mf": (32, {}, 69, 32, 0.999),
    "vit_b_16": (32, {"image_size": 32, "num_layers": 4}, 17, 8, 0.997),
    "swin_t": (32, {}, 52, 24, 0.999),
    "googlenet": (96, {"init_weights": False}, 61, 0, 0.999),
}


def build(name):
    side, options, *_ = MODELS[name]
    if name == "vit_b_16":
        options = {"patch_size": 16, "num_heads": 12, "hidden_dim": 96, "mlp_dim": 192, **options}
        return torchvision.models.VisionTransformer(**options), torch.randn(2, 3, side, side)
    return getattr(torchvision.models, name)(weights=None, **options), torch.randn(2, 3, side, side)


@pytest.mark.parametrize("name", MODELS)
def test_every_group_of_a_well_known_network_is_found(name):
    module, x = build(name)
    _, _, n_groups, n_nested, share = MODELS[name]
    found = symmetry_of(module, x)
    nested = [g for g in found.groups.values() if g.context]
    assert (len(found.groups), len(nested)) == (n_groups, n_nested)
    state = module.state_dict()
    moved = sum(state[n].numel() for n in found.parameters)
    assert moved >= share * sum(p.numel() for p in module.parameters())
    assert not [note for note in found.notes if "operation" in note]
    assert error(found, in_general_position(module), x) <= 1e-9


def test_heads_that_only_train_are_in_the_groups_of_the_trunk():
    module, x = build("googlenet")
    found = symmetry_of(module, x, verify=False)
    trunk, head = found.axes["inception4a.branch1.conv.weight"][0], found.axes["aux1.conv.conv.weight"][1]
    assert {g for block in trunk for g in block.groups} < {g for block in head for g in block.groups}


# ---- the table of the documentation ---------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "results" / "symmetry.md").read_text()
TABLE = {m[1]: (int(m[2]), int(m[3])) for m in re.finditer(r"^\| (\w+) \| (\d+) \| (\d+) \|", PAGE, re.MULTILINE)}
SIDES = {"inception_v3": 299, "vit_b_16": 224, "maxvit_t": 224}
OPTIONS = {"inception_v3": {"init_weights": False}, "googlenet": {"init_weights": False}}


def test_the_table_has_what_it_should_have():
    assert {"vgg16_bn", "resnet50", "resnext50_32x4d", "efficientnet_b0", "convnext_tiny", "maxvit_t"} <= TABLE.keys()
    assert all(TABLE[name] == expected[2:4] for name, expected in MODELS.items() if name != "vit_b_16")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TABLE.keys() - MODELS.keys() | {"vit_b_16"}))
def test_the_table_is_true(name):
    module = getattr(torchvision.models, name)(weights=None, **OPTIONS.get(name, {}))
    side = SIDES.get(name, 64)
    found = symmetry_of(module, torch.randn(2, 3, side, side), verify=False)
    assert (len(found.groups), sum(bool(g.context) for g in found.groups.values())) == TABLE[name]
