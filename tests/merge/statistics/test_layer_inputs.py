"""What convolutions see, and rows of unlike weight."""

import numpy as np
import pytest
import torch
from merge.problems import assert_close, batch, normal, objective, own, states
from reference import regmean as reference
from torch import nn

from skfusion.merge import RegMean
from skfusion.merge.statistics import _matrices


def merged(merge, module, members, *batches, **more):
    return merge(members, objective=objective(module, *batches, **more))


# Convolutions.


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "layer",
    [
        lambda **k: nn.Conv1d(2, 3, 3, **k),
        lambda **k: nn.Conv1d(4, 6, 2, groups=2, stride=2, padding=1, **k),
        lambda **k: nn.Conv2d(2, 3, (2, 3), **k),
        lambda **k: nn.Conv2d(2, 4, 3, stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2, **k),
        lambda **k: nn.Conv2d(2, 2, 3, padding="same", padding_mode="circular", **k),
        lambda **k: nn.Conv2d(2, 2, (3, 5), padding="same", padding_mode="reflect", **k),
        lambda **k: nn.Conv2d(2, 2, 3, padding="valid", **k),
        lambda **k: nn.Conv2d(2, 2, 3, padding=1, padding_mode="replicate", **k),
        lambda **k: nn.Conv3d(1, 2, 2, padding=1, **k),
    ],
)
@pytest.mark.parametrize("budget", [2**22, 50])
def test_a_convolution_is_solved_patch_by_patch(layer, bias, budget, monkeypatch):
    monkeypatch.setattr(_matrices, "_BUDGET", budget)
    module = layer(bias=bias).double()
    n_axes = module.weight.ndim - 2
    size = (8, 7, 6)[:n_axes] if n_axes < 3 else (4, 3, 3)
    each = [normal(n, module.in_channels, *size, seed=n) + 0.3 for n in (6, 9)]
    members = states(module, 2)
    found = merged(RegMean(shrink=0.8, ridge=0.0), module, members, member_batches=own(*each))
    pads = {"same": [d * (k - 1) // 2 for d, k in zip(module.dilation, module.kernel_size, strict=True)]}
    pads["valid"] = [0] * n_axes
    padding = pads.get(module.padding, module.padding) if isinstance(module.padding, str) else module.padding
    mode = {"zeros": "constant", "circular": "wrap", "reflect": "reflect", "replicate": "edge"}[module.padding_mode]
    n_in, n_out = module.in_channels // module.groups, module.out_channels // module.groups
    for g in range(module.groups):
        inputs, weights = [], []
        units = slice(g * n_out, (g + 1) * n_out)
        for x, state in zip(each, members, strict=True):
            here = x[:, g * n_in : (g + 1) * n_in].numpy()
            rows = reference.patches(here, module.kernel_size, module.stride, padding, module.dilation, mode)
            inputs.append(reference.with_bias(rows) if bias else rows)
            parts = [state["weight"][units].flatten(1), *([state["bias"][units, None]] if bias else [])]
            weights.append(torch.cat(parts, 1).numpy())
        expected = reference.regmean(inputs, weights, 0.8, normalise=True)
        flat = found["weight"][units].flatten(1).numpy()
        np.testing.assert_allclose(flat, expected[:, : flat.shape[1]], rtol=0, atol=1e-10)
        if bias:
            np.testing.assert_allclose(found["bias"][units].numpy(), expected[:, -1], rtol=0, atol=1e-10)


def test_padding_of_even_kernels_is_torchs_own():
    module, x = nn.Conv1d(1, 1, 4, padding="same", padding_mode="replicate", bias=False).double(), normal(3, 1, 6)
    (rows, weight), *rest = _matrices.pieces(module, "0", x, None)
    assert not rest
    assert weight.tolist() == [1.0] * 18
    expected = module(x).flatten()
    torch.testing.assert_close((rows @ module.weight.reshape(1, 4, 1)).flatten(), expected, rtol=0, atol=1e-12)


def test_a_vector_is_a_row():
    x = normal(4)
    ((rows, weight),) = _matrices.pieces(nn.Linear(4, 2), "0", x, None)
    assert rows.tolist() == [[[*x.tolist(), 1.0]]]
    assert weight.tolist() == [1.0]


# Weights of rows.


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize(
    ("make", "x"),
    [
        (lambda: nn.Linear(4, 2), normal(6, 4)),
        (lambda: nn.Linear(4, 2), normal(6, 3, 4)),
        (lambda: nn.Sequential(nn.Flatten(0, 1), nn.Linear(4, 2)), normal(6, 3, 4)),
        (lambda: nn.Conv2d(2, 3, 2, groups=1), normal(6, 2, 4, 3)),
    ],
)
@pytest.mark.parametrize("budget", [2**22, 20])
def test_a_weight_is_a_repetition(make, x, normalise, budget, monkeypatch):
    monkeypatch.setattr(_matrices, "_BUDGET", budget)
    module, weight = make().double(), torch.tensor([3.0, 0, 1, 2, 0, 1])
    members = states(module, 2)
    merge = RegMean(normalise=normalise)
    other = lambda: [batch(x.flip(0) + 1)]  # noqa: E731
    found = merged(
        merge, module, members, member_batches=(lambda: [batch(x[:2], weight[:2]), batch(x[2:], weight[2:])], other)
    )
    repeated = torch.repeat_interleave(x, weight.long(), 0)
    assert_close(found, merged(merge, module, members, member_batches=(lambda: [batch(repeated)], other)), 1e-9)


def test_weights_of_rows_that_cannot_be_told_apart_are_refused():
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(4, 2)

        def forward(self, x):
            return self.body(torch.cat([x, x[:1]]))

    module = Pairs().double()
    with pytest.raises(ValueError, match="Layer 'body' sees 4 rows .* 3 weighted samples.*batch-first.*repetitions"):
        merged(RegMean(), module, states(module, 2), batch(normal(3, 4), torch.ones(3)))
