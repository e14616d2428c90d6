"""A copy of a module with other numbers of units: shapes, attributes, function, and what cannot be."""

import pytest
import torch
from torch import nn

from skfusion.tracing import symmetry_of
from skfusion.widths import resized

ROWS = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randint(0, 11, (3, 5), generator=torch.Generator().manual_seed(0))


def trained(net, seed=0):
    """Return a network in evaluation mode, none of whose parameters and statistics are those of a fresh one."""
    generator = torch.Generator().manual_seed(seed)
    for t in net.state_dict().values():
        if t.is_floating_point():
            t.copy_(0.5 + torch.rand(t.shape, generator=generator) - 0.7 * (t.dim() > 1))
    return net.eval()


def perceptron():
    layers = [nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6), nn.PReLU(6), nn.Linear(6, 2)]
    return nn.Sequential(*layers)


def convolutions():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, groups=4, padding=1),
        nn.InstanceNorm2d(4, affine=True),
        nn.Conv2d(4, 6, 1),
        nn.GroupNorm(1, 6),
        nn.ReLU(),
        nn.ConvTranspose2d(6, 3, 2, stride=2),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(3 * 16, 5),
    )


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.into, self.down, self.up, self.out = nn.Linear(3, 8), nn.Linear(8, 5), nn.Linear(5, 8), nn.Linear(8, 2)

    def forward(self, x):
        h = self.into(x)
        return self.out(h + self.up(torch.relu(self.down(h))))


class Recurrent(nn.Module):
    def __init__(self, kind, bidirectional=False):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.cells = kind(6, 8, 2, batch_first=True, bidirectional=bidirectional)
        self.out = nn.Linear(16 if bidirectional else 8, 3)

    def forward(self, x):
        return self.out(self.cells(self.embed(x))[0][:, -1])


def attributes(module, *names):
    """Return the attributes of all layers that have one of these names."""
    return [getattr(part, n) for part in module.modules() for n in names if isinstance(getattr(part, n, None), int)]


WIDER = [
    (perceptron(), ROWS, {"0": 12}, ("in_features", "num_features"), [3, 12, 12, 6]),
    (perceptron(), ROWS, {"3.weight:0": 9, "0.weight:0": 8}, ("num_parameters", "in_features"), [3, 8, 9, 9]),
    (convolutions(), IMAGES, {"0": 7}, ("groups", "in_channels"), [1, 1, 7, 7, 1, 7, 1, 6]),
    (convolutions(), IMAGES, {"5": 12, "8": 4}, ("num_channels", "in_channels", "in_features"), [1, 4, 4, 12, 12, 64]),
    (Residual(), ROWS, {"up": 12, "down": 7}, ("out_features",), [12, 7, 12, 2]),
    (Recurrent(nn.LSTM), TOKENS, 9, ("embedding_dim", "input_size", "hidden_size", "in_features"), [9, 9, 9, 9]),
    (Recurrent(nn.LSTM), TOKENS, {"cells": 12}, ("embedding_dim", "input_size", "hidden_size"), [6, 6, 12]),
    (Recurrent(nn.GRU), TOKENS, {"embed": 10}, ("embedding_dim", "input_size", "hidden_size"), [10, 10, 8]),
    (Recurrent(nn.RNN, bidirectional=True), TOKENS, 16, ("hidden_size", "in_features"), [16, 32]),
]


@pytest.mark.parametrize(("net", "x", "widths", "names", "expected"), WIDER)
def test_a_wider_copy_computes_the_same_and_knows_its_widths(net, x, widths, names, expected):
    net = trained(net)
    wide = resized(net, x, widths)
    assert attributes(wide, *names) == expected
    with torch.no_grad():
        torch.testing.assert_close(wide(x), net(x), rtol=1e-4, atol=1e-5)
    wide.train()(x).sum().backward()


@pytest.mark.parametrize(("net", "x", "width"), [(perceptron(), ROWS, 5), (convolutions(), IMAGES, 2)])
def test_a_narrower_copy_has_the_first_units(net, x, width):
    narrow = resized(trained(net), x, width)
    for name, tensor in narrow.state_dict().items():
        whole = net.state_dict()[name]
        if tensor.dim() and "11" not in name:  # of the flattened image each channel is 16 numbers
            torch.testing.assert_close(tensor, whole[tuple(slice(n) for n in tensor.shape)])
    assert narrow(x).shape == net(x).shape


def test_units_of_a_flattened_image_stay_together():
    net = trained(nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(3 * 36, 2)))
    narrow = resized(net, IMAGES, 2)
    with torch.no_grad():
        net[2].weight[:, 2 * 36 :] = 0  # so that the last channel is not read
        torch.testing.assert_close(narrow(IMAGES), net(IMAGES))


def test_what_the_module_is_stays_as_it_was_and_the_copy_is_its_own():
    net = perceptron()
    net[0].weight.requires_grad_(False)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    copy = resized(net, ROWS, 10)
    assert net.training
    assert copy.training
    for p in copy.parameters():
        p.data.zero_()
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert [p.requires_grad for p in copy.parameters()] == [p.requires_grad for p in net.parameters()]
    assert net[0].out_features == 8


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtypes_stay(dtype):
    copy = resized(perceptron().to(dtype), ROWS.to(dtype), 10)
    assert {t.dtype for t in copy.parameters()} == {dtype}


def test_tied_tensors_stay_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c, self.out = nn.Linear(3, 6), nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 2)
            self.b.bias = self.a.bias
            self.c.weight.data = self.c.weight.data
            self.again = self.a

        def forward(self, x):
            return self.out(torch.relu(self.again(x) + self.b(x)))

    net = Tied()
    copy = resized(net, ROWS, {"out.weight:1": 9})
    assert copy.b.bias is copy.a.bias
    assert copy.again is copy.a
    assert copy.a.bias.shape == (9,)
    torch.testing.assert_close(copy(ROWS), net(ROWS))


def test_a_normalisation_without_weights_is_resized_by_what_it_is_given():
    norm = nn.LayerNorm(8, elementwise_affine=False)
    net = trained(nn.Sequential(nn.Linear(3, 8), norm, nn.Tanh(), nn.Linear(8, 2)))
    wide = resized(net, ROWS, 16)
    assert wide[1].normalized_shape == (16,)
    assert norm.normalized_shape == (8,)
    torch.testing.assert_close(wide(ROWS), net(ROWS), rtol=1e-4, atol=1e-5)


def test_groups_of_channels_and_the_channels_of_each_are_resized():
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 1, 1))
    channels, groups = (next(g for g in symmetry_of(net, IMAGES).groups if ("#" in g) == second) for second in (0, 1))
    for widths in ({channels: 3}, {groups: 3}):
        copy = resized(net, IMAGES, widths)
        assert copy[1].num_channels == copy[0].out_channels == copy[2].in_channels == 6
        assert copy(IMAGES).shape == IMAGES.shape
    assert {resized(net, IMAGES, {g: 3})[1].num_groups for g in (channels, groups)} == {2, 3}


class OwnScale(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.scale, self.out = nn.Linear(3, 8), nn.Parameter(torch.ones(8)), nn.Linear(8, 2)

    def forward(self, x):
        return self.out(torch.relu(self.a(x) * self.scale))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.symbols, self.inner, self.out = nn.Embedding(7, 8), nn.Linear(8, 8), nn.Linear(8, 7, bias=False)
        self.out.weight = self.symbols.weight

    def forward(self, x):
        x = self.symbols(x)
        return self.out(x + torch.tanh(self.inner(x)))


class Views(OwnScale):
    def forward(self, x):
        return self.out(torch.relu(self.a(x)).view(len(x), 8))


@pytest.mark.parametrize(
    ("net", "x", "widths", "match"),
    [
        (Residual(), ROWS, {"into": 12, "up": 9}, r"'into' and 'up' make the units of one stream.*down.weight\[1\]"),
        (Residual(), ROWS, {"out": 3}, r"axis 0 of tensor 'out.weight' is pinned, as output of the module"),
        (Residual(), ROWS, {"nowhere": 3}, "'nowhere' is no layer and no group"),
        (Residual(), ROWS, {"into": 0}, "width of 'into' must be a whole number of units, 1 at least; got 0"),
        (Residual(), ROWS, {"into": 2.5}, r"got 2\.5"),
        (nn.Linear(3, 2), ROWS, 5, "no groups of units"),
        (Recurrent(nn.LSTM), TOKENS, {"cells.weight_ih_l0:0": 12}, r"LSTM 'cells' has one width.*weight_ih_l0 12"),
        (Tied(), TOKENS % 7, {"symbols": 12}, "Tensor 'symbols.weight' cannot .* made and read by"),
        (OwnScale(), ROWS, 12, r"OwnScale itself holds units whose number is to change \(in scale\)"),
        (Views(), ROWS, 12, r"Views cannot be resized.*shape '\[7, 8\]' is invalid"),
        (nn.TransformerEncoderLayer(8, 2, 16), torch.randn(2, 5, 8), 12, "MultiheadAttention 'self_attn' holds units"),
        (
            nn.Sequential(nn.Conv2d(1, 4, 1), nn.GroupNorm(2, 4, affine=False), nn.Conv2d(4, 1, 1)),
            IMAGES,
            3,
            "'1' has groups",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(net, x, widths, match):
    with pytest.raises(ValueError, match=match):
        resized(net, x, widths)


def test_a_key_that_is_no_name_is_refused():
    with pytest.raises(TypeError, match="a string; got the key 0"):
        resized(perceptron(), ROWS, {0: 12})


def test_a_stream_that_inputs_go_into_is_refused_with_its_tensor():
    class Skips(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 8), nn.Linear(8, 3)

        def forward(self, x):
            return x + self.b(torch.relu(self.a(x)))

    with pytest.raises(ValueError, match=r"width of 'b' cannot change: axis 0 of tensor 'b.weight' is pinned"):
        resized(Skips(), ROWS, {"b": 5})


def test_the_hidden_layer_of_a_transformer_is_resized():
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    net = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    wide = resized(net, x, {"linear1": 24})
    torch.testing.assert_close(wide(x), net(x), rtol=1e-4, atol=1e-5)


def test_a_symmetry_that_is_known_is_not_sought_again():
    net = perceptron()
    symmetry = symmetry_of(net, ROWS)
    a, b = (resized(net, ROWS, 5, symmetry=s) for s in (symmetry, None))
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
