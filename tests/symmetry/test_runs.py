"""How units lie on axes, and symmetries of networks of other widths."""

import numpy as np
import pytest
import torch
from torch import nn

from skfusion.symmetry import Block, Run, Symmetry, resized_symmetry, runs_of, sizes_of
from skfusion.tracing import symmetry_of

X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


class Branches(nn.Module):
    """Two branches whose units stand side by side, as in a DenseNet, and are flattened with positions in space."""

    def __init__(self, n, m):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(3, n), nn.Linear(3, m), nn.Linear(2 * (n + m), 2)

    def forward(self, x):
        joined = torch.cat([self.a(x), self.b(x)], 1)
        return self.out(torch.stack([joined, joined.square()], 2).flatten(1))


class Gates(nn.Module):
    def __init__(self, n, m):
        super().__init__()
        self.cells, self.out = nn.GRUCell(n, m), nn.Linear(m, 2)
        self.into = nn.Linear(3, n)

    def forward(self, x):
        return self.out(self.cells(self.into(x)))


@pytest.mark.parametrize("kind", [Branches, Gates])
@pytest.mark.parametrize("other", [(3, 7), (6, 2), (2, 9), (9, 9)])
def test_the_symmetry_of_a_resized_network_is_that_of_one_that_was_made_so(kind, other):
    """Shapes, blocks and sites are those that a trace of a network of the other widths finds."""
    symmetry, expected = (symmetry_of(kind(*sizes), X) for sizes in ((4, 5), other))
    state = kind(*other).state_dict()
    sizes = sizes_of(symmetry, state, "a member")
    assert sizes == {g.name: g.size for g in expected.groups.values()}
    found = resized_symmetry(symmetry, sizes)
    assert found.shapes == expected.shapes
    assert found.roles == expected.roles
    for a, b in zip(
        [*found.axes.values(), *(s.axes for s in found.sites)],
        [*expected.axes.values(), *(s.axes for s in expected.sites)],
        strict=True,
    ):
        for blocks, others in zip(a, b, strict=True):
            for one, two in zip(blocks, others, strict=True):
                assert one.groups == two.groups
                np.testing.assert_array_equal(one.positions, two.positions)
    assert [s.shape for s in found.sites] == [s.shape for s in expected.sites]


def test_the_same_sizes_give_the_same_symmetry():
    symmetry = symmetry_of(Branches(4, 5), X)
    same = resized_symmetry(symmetry, {})
    assert same.shapes == symmetry.shapes
    assert all(a is b for a, b in zip(same.axes.values(), symmetry.axes.values(), strict=True))


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ([[0, 1, 2, 3]], [Run(0, 4, 1)]),
        ([[0, 2, 4], [1, 3, 5]], [Run(0, 3, 2)]),
        ([[0, 1, 2], [6, 7, 8]], [Run(0, 3, 1), Run(6, 3, 1)]),
        ([[4, 6], [5, 7], [0, 2], [1, 3]], [Run(0, 2, 2), Run(4, 2, 2)]),
    ],
)
def test_runs(positions, expected):
    block = Block(("g",), np.array(positions))
    assert runs_of([block], "g", "here") == expected
    assert runs_of([block], "another", "here") == []


@pytest.mark.parametrize("positions", [[[0, 2, 1]], [[2, 1, 0]], [[0, 1, 3]], [[0, 3], [1, 5]]])
def test_units_in_no_regular_order_have_no_runs(positions):
    with pytest.raises(ValueError, match="here has its units in no regular order"):
        runs_of([Block(("g",), np.array(positions))], "g", "here")


def test_one_unit_of_several_positions_is_not_guessed():
    with pytest.raises(ValueError, match="here has one unit"):
        runs_of([Block(("g",), np.array([[0], [1]]))], "g", "here")


def test_units_that_are_others_elsewhere_cannot_change_in_number():
    block = Block(("g",), np.array([[0, 1]]), {1: np.array([0])})
    with pytest.raises(ValueError, match="other units for other positions"):
        runs_of([block], "g", "here")


def test_a_state_that_differs_by_more_than_widths_is_refused_with_the_tensor_that_does_not_fit():
    symmetry = symmetry_of(Branches(4, 5), X)
    state = Branches(6, 5).state_dict()
    for key, wrong in (("a.bias", torch.zeros(4)), ("out.weight", torch.zeros(2, 23)), ("b.weight", torch.zeros(5, 4))):
        with pytest.raises(ValueError, match=rf"Tensor '{key}' has shape .* in a member"):
            sizes_of(symmetry, {**state, key: wrong}, "a member")


def test_a_symmetry_that_is_declared_by_hand_is_resized_as_well():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    axes = {"0.weight": ("hidden", None), "0.bias": ("hidden",), "2.weight": (None, "hidden")}
    symmetry = Symmetry.of_axes(axes, net.state_dict())
    assert resized_symmetry(symmetry, {"hidden": 7}).shapes == {"0.weight": (7, 3), "0.bias": (7,), "2.weight": (2, 7)}
