"""BatchNorm is merged into the layer before it where nothing changes, and left alone elsewhere."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from skfusion.estimators.serving._folding import folded

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def trained(module, example):
    """Return a module in evaluation mode whose statistics are those of some data."""
    torch.manual_seed(0)
    for _ in range(3):
        module(2 * torch.randn_like(example) + 1)
    for part in module.modules():
        if isinstance(part, NORMS) and part.affine:
            nn.init.uniform_(part.weight, 0.5, 2)
            nn.init.normal_(part.bias)
    return module.eval().requires_grad_(False)


def n_norms(module):
    return sum(isinstance(part, NORMS) for part in module.modules())


def check(module, example, left):
    before = {key: value.clone() for key, value in module.state_dict().items()}
    found = folded(module, example)
    assert n_norms(found) == left
    other = torch.randn(7, *example.shape[1:])
    torch.testing.assert_close(found(other), module(other), rtol=1e-5, atol=1e-5)
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])
    assert not any(p.requires_grad for p in found.parameters())


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3)], (5,)),
        ([nn.Linear(5, 4), nn.BatchNorm1d(4, affine=False)], (5,)),
        ([nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3), nn.BatchNorm1d(3)], (2, 6)),
        ([nn.Conv2d(2, 4, 3, groups=2, bias=False), nn.BatchNorm2d(4)], (2, 6, 6)),
        ([nn.Conv3d(1, 2, 2), nn.BatchNorm3d(2)], (1, 3, 3, 3)),
    ],
)
def test_norms_after_linear_layers_and_convolutions_are_merged(layers, shape):
    example = torch.randn(4, *shape)
    check(trained(nn.Sequential(*layers), example), example, 0)


class Residual(nn.Module):
    """The output of the convolution is read twice, in one of two blocks."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv1d(2, 2, 3, padding=1), nn.BatchNorm1d(2)
        self.second, self.other = nn.Conv1d(2, 2, 3, padding=1), nn.BatchNorm1d(2)

    def forward(self, X):
        hidden = self.first(X)
        hidden = self.norm(hidden) + hidden
        return X + self.other(self.second(hidden))


class Shared(nn.Module):
    """One norm after two layers, and one layer before two norms."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 5)
        self.norm, self.d, self.e = nn.BatchNorm1d(5), nn.BatchNorm1d(5), nn.BatchNorm1d(5)

    def forward(self, X):
        X = self.norm(self.b(self.norm(self.a(X))))
        hidden = self.c(X)
        return self.d(hidden) + self.e(hidden)


class Returned(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(5, 4)

    def forward(self, X):
        self.kept = self.norm(self.a(X)).sum()
        return self.a(X)


class Listed(nn.Module):
    """Calls its norm by a list that is no part of it."""

    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Linear(5, 4), nn.BatchNorm1d(4)
        self.hidden = [self.norm]

    def forward(self, X):
        return self.hidden[0](self.a(X))


@pytest.mark.parametrize(
    ("module", "shape", "left"),
    [
        (Residual(), (2, 6), 1),
        (Shared(), (5,), 3),
        (Returned(), (5,), 1),
        (Listed(), (5,), 1),
        (nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)), (3, 5), 1),  # of tokens, as many as units
        (nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.BatchNorm1d(3)), (5,), 1),
        (nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3, track_running_stats=False)), (5,), 1),
        (nn.Sequential(weight_norm(nn.Linear(5, 3)), nn.BatchNorm1d(3)), (5,), 1),
        (nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3)), (5,), 1),
    ],
    ids=[
        "residual",
        "shared",
        "returned",
        "listed",
        "tokens",
        "activation",
        "batch statistics",
        "weight norm",
        "ahead",
    ],
)
def test_other_norms_stay(module, shape, left):
    example = torch.randn(4, *shape)
    check(trained(module, example), example, left)


def test_a_module_that_does_not_take_the_example_is_returned():
    module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)).eval()
    assert folded(module, torch.randn(4, 6)) is module
    assert not module[0]._forward_hooks
