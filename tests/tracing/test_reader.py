"""Activations at sites: what stands there, at any batch size and with any weights."""

import pytest
import torch
from torch import nn
from tracing.attention import Function, Gpt
from tracing.networks import image, mlp, recurrent, rows, sequence

from skfusion.symmetry import Symmetry
from skfusion.tracing import plain_kernels, reading, symmetry_of


def activations(module, x, symmetry):
    found = {}
    with reading(symmetry.sites, found.__setitem__):
        module(x)
    return [(site, found[site]) for site in symmetry.sites if site in found]


def test_outputs_and_inputs_of_linear_layers():
    module, x = mlp().eval(), rows(9)
    symmetry = symmetry_of(module, rows())
    found = activations(module, x, symmetry)
    assert [(s.index, s.argument, s.where) for s, _ in found] == [
        (0, None, "0"),
        (1, 1, "2"),
        (1, None, "2"),
        (2, 1, "4"),
    ]
    expected = [module[:1](x), module[:2](x), module[:3](x), module[:4](x)]
    assert all(torch.equal(a, e) for (_, a), e in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("make", "example"),
    [
        (mlp, rows),
        (lambda: Gpt().double(), lambda: torch.randint(11, (2, 6))),
        (lambda: recurrent(nn.LSTM), sequence),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3)), image),
    ],
)
def test_activations_of_a_permuted_network_are_permuted(make, example):
    """A unit stands where the blocks of the site say, for every site and group that no other indexes."""
    module, x = make().eval(), example()
    symmetry = symmetry_of(module, x)
    state = {k: v.clone() for k, v in module.state_dict().items()}
    before = activations(module, x, symmetry)
    perms = symmetry.sample(0)
    module.load_state_dict(symmetry.permute(perms, state))
    after = activations(module, x, symmetry)
    assert len(before) == len(after) == len(symmetry.sites)
    for (site, a), (_, b) in zip(before, after, strict=True):
        moved = symmetry_on(site, symmetry).permute(perms, {"activation": a})["activation"]
        torch.testing.assert_close(b, moved, rtol=1e-4, atol=1e-5)


def symmetry_on(site, symmetry):
    """The action on an activation, as if it were a weight."""
    return Symmetry(symmetry.groups.values(), {"activation": site.axes}, {"activation": site.shape})


def test_activations_are_those_before_the_module_writes_to_them():
    module = nn.Sequential(nn.Linear(3, 6), nn.ReLU(inplace=True), nn.Linear(6, 2)).eval()
    (_, before), (_, after) = activations(module, rows(), symmetry_of(module, rows()))
    assert before.min() < 0
    assert torch.equal(before.relu(), after)


def test_sites_whose_units_are_others_are_left_out():
    """In a batch of heads, the length of the axis follows the batch size."""
    module = nn.Sequential(nn.Linear(3, 12), nn.TransformerEncoderLayer(12, 3, 10, batch_first=True)).eval()
    symmetry = symmetry_of(module, sequence())
    assert len(activations(module, sequence(), symmetry)) == len(symmetry.sites)
    assert 0 < len(activations(module, sequence(4), symmetry)) <= len(symmetry.sites)


def test_another_path_is_an_error():
    def forward(m, x):
        return m.c(m.a(x)) if len(x) > 5 else m.c(m.b(m.a(x)))

    module = Function(forward, a=nn.Linear(3, 6), b=nn.Linear(6, 6), c=nn.Linear(6, 2)).eval()
    sites = symmetry_of(module, rows(4)).sites
    with pytest.raises(ValueError, match="other operations than on the example"), reading(sites, lambda s, a: None):
        module(rows(6))


def test_another_kind_of_layer_is_an_error():
    sites = symmetry_of(nn.Sequential(nn.Conv1d(3, 4, 1), nn.Conv1d(4, 2, 1)), torch.randn(2, 3, 5)).sites
    told = "contraction 0 was convolution in module '0', now there is addmm"
    with pytest.raises(ValueError, match=told), reading(sites, lambda s, a: None):
        mlp()(rows())


def test_plain_kernels_restore_what_was_set():
    before = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
    with plain_kernels():
        assert not torch.backends.mha.get_fastpath_enabled()
        assert not torch._C._get_mkldnn_enabled()
    with pytest.raises(RuntimeError), plain_kernels():
        mlp()(rows(2, 5))
    assert (torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()) == before
