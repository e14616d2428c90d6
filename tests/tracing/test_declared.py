"""Symmetries that are declared by hand are verified like those that are found."""

import pytest
import torch
from torch import nn

from skfusion.tracing import symmetry_of

AXES = {"0.weight": ("h", None), "0.bias": ("h",), "2.weight": (None, "h")}


def net():
    return nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))


def test_a_right_declaration_is_kept():
    module, x = net(), torch.randn(4, 3)
    symmetry = symmetry_of(module, x, axes=AXES)
    assert {name: g.size for name, g in symmetry.groups.items()} == {"h": 6}
    found = symmetry_of(module, x)
    (group,) = found.groups
    perms = symmetry.sample(0)
    declared = symmetry.permute(perms, module.state_dict())
    traced = found.permute({group: perms["h"]}, module.state_dict())
    assert all(torch.equal(declared[k], traced[k]) for k in traced)


def test_a_wrong_declaration_is_frozen():
    wrong = {key: value for key, value in AXES.items() if key != "0.bias"}
    with pytest.warns(UserWarning, match="the output of Sequential changed|The output of Sequential changed"):
        symmetry = symmetry_of(net(), torch.randn(4, 3), axes=wrong)
    assert not symmetry.groups
    assert [*symmetry_of(net(), torch.randn(4, 3), axes=wrong, verify=False).groups] == ["h"]


def test_a_wrong_declaration_is_not_hidden_by_large_constants():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = net()

        def forward(self, x):
            out = self.layers(x)
            return torch.cat([out, torch.full_like(out, -1e9)], 1)

    wrong = {f"layers.{key}": value for key, value in AXES.items() if key != "0.bias"}
    with pytest.warns(UserWarning, match="frozen"):
        assert not symmetry_of(Masked(), torch.randn(4, 3), axes=wrong).groups


def test_an_example_without_rows():
    with pytest.raises(ValueError, match=r"example_inputs \(\(0, 3\) of torch.float32\) has no rows"):
        symmetry_of(net(), torch.randn(0, 3))


def test_a_declaration_of_unknown_tensors():
    with pytest.raises(ValueError, match="axes names the tensor '5.weight'"):
        symmetry_of(net(), torch.randn(4, 3), axes={"5.weight": ("h", None)})


class Tied(nn.Module):
    """Reads tokens and scores them by one matrix."""

    def __init__(self):
        super().__init__()
        self.embed, self.inner, self.head = nn.Embedding(6, 4), nn.Linear(4, 4), nn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.inner(self.embed(tokens)))


AXES_OF_TIED = {"embed.weight": (None, "h"), "inner.weight": ("h", "h"), "inner.bias": ("h",)}


@pytest.mark.parametrize("more", [{}, {"head.weight": (None, "h")}], ids=["one name", "both names"])
@pytest.mark.parametrize("verify", [False, True])
def test_ties_of_a_declared_symmetry_are_kept(more, verify):
    module, tokens = Tied(), torch.tensor([[0, 3, 5]])
    symmetry = symmetry_of(module, tokens, axes=AXES_OF_TIED | more, verify=verify)
    assert {name: g.size for name, g in symmetry.groups.items()} == {"h": 4}
    before = module(tokens)
    found = symmetry.permute(symmetry.sample(0), module.state_dict())
    assert found["embed.weight"] is found["head.weight"]
    module.load_state_dict(found)
    torch.testing.assert_close(module(tokens), before)
