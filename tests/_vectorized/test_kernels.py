"""Vectorized modules compute what a loop over its members computes: outputs, gradients and buffers."""

import copy

import pytest
import torch
import torch.nn.functional as F
from _vectorized.loop import TOLERANCE, K, assert_like_the_loop
from _vectorized.modules import Attending, Averaging, Scaled, Table, Tied, Weighted, conv1d, conv2d, encoder, in_place
from torch import nn

from skfusion._vectorized import FewBitsDropout, Members, VectorizedModules

each_dtype = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["float64", "float32"])

HALF = torch.tensor(0.5, dtype=torch.float32)
CAUSAL = torch.ones(4, 4, dtype=torch.bool).triu(1)
PADDING = torch.tensor([[False, False, False, True]] * 5)
BLIND = torch.tensor([[True] * 4] + [[False] * 4] * 4)
ACTIVATIONS = (
    *(nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(0.2), nn.ELU(), nn.SELU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU()),
    *(nn.SiLU(inplace=True), nn.Mish(), nn.Softplus(), nn.Tanh(), nn.Sigmoid(), nn.Hardtanh(), nn.ReLU6(), nn.CELU()),
    *(nn.Softmax(-1), nn.LogSoftmax(-1), nn.Softsign(), nn.Hardswish(), nn.Tanhshrink(), nn.GLU(), nn.LogSigmoid()),
)
LAYERS = {
    **{f"{layer}": (lambda layer=layer: Scaled(layer), (5, 6)) for layer in ACTIVATIONS},
    "linear": (lambda: nn.Linear(6, 4), (5, 6)),
    "linear without bias": (lambda: nn.Linear(6, 4, bias=False), (5, 6)),
    "linear, wide": (lambda: nn.Linear(40, 3), (5, 40)),
    "linear without bias, wide": (lambda: nn.Linear(40, 3, bias=False), (5, 2, 40)),
    "linear on sequences": (lambda: nn.Linear(6, 4), (5, 3, 6)),
    "linear on images": (lambda: nn.Linear(6, 4, bias=False), (5, 3, 2, 6)),
    "linear on one row": (lambda: nn.Linear(6, 4), (6,)),
    "one wide": (lambda: nn.Linear(6, 1), (1, 6)),
    "prelu": (lambda: nn.PReLU(6), (5, 6)),
    "batch norm": (lambda: nn.BatchNorm1d(6), (5, 6)),
    "batch norm on sequences": (lambda: nn.BatchNorm1d(6), (5, 6, 3)),
    "batch norm of maps": (lambda: nn.BatchNorm2d(4, momentum=0.3, eps=0.1), (5, 4, 3, 2)),
    "batch norm without weights": (lambda: Scaled(nn.BatchNorm1d(6, affine=False)), (5, 6)),
    "batch norm without statistics": (lambda: nn.BatchNorm1d(6, track_running_stats=False), (5, 6)),
    "bare batch norm": (lambda: Scaled(nn.BatchNorm1d(6, affine=False, track_running_stats=False)), (5, 6)),
    "instance norm": (lambda: nn.InstanceNorm1d(6, affine=True), (5, 6, 3)),
    "layer norm": (lambda: nn.LayerNorm(6), (5, 6)),
    "layer norm on sequences": (lambda: nn.LayerNorm((3, 6), bias=False), (5, 3, 6)),
    "layer norm without weights": (lambda: Scaled(nn.LayerNorm(6, elementwise_affine=False)), (5, 6)),
    "group norm": (lambda: nn.GroupNorm(3, 6), (5, 6, 3)),
    "conv1d": (conv1d, (5, 2, 8)),
    "conv2d": (conv2d, (5, 2, 6, 6)),
    "strided conv": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1, dilation=1), (5, 2, 6, 6)),
    "dropout": (lambda: nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.4), nn.Linear(6, 2), nn.Dropout(0.1)), (5, 6)),
    "dropout of few bits": (lambda: nn.Sequential(nn.Linear(6, 7), FewBitsDropout(0.4), nn.Linear(7, 2)), (5, 6)),
    "dropout of all": (lambda: nn.Sequential(nn.Linear(6, 6), nn.Dropout(1.0), nn.Linear(6, 2)), (5, 6)),
    "dropout in place": (lambda: Scaled(lambda x: F.dropout(x, 0.4, inplace=True) + x), (5, 6)),
    "dropout1d": (lambda: nn.Sequential(nn.Conv1d(2, 4, 1), nn.Dropout1d(0.4)), (5, 2, 6)),
    "dropout2d": (lambda: nn.Sequential(nn.Conv2d(2, 4, 1), nn.Dropout2d(0.4)), (5, 2, 3, 3)),
    "dropout3d": (lambda: nn.Sequential(nn.Conv3d(2, 4, 1), nn.Dropout3d(0.4)), (5, 2, 3, 2, 2)),
    "attention": (Attending, (5, 4, 6)),
    "attention with dropout": (lambda: Attending(dropout=0.4), (5, 4, 6)),
    "attention, one sequence": (Attending, (4, 6)),
    "attention, batch second": (lambda: Attending(batch_first=False), (4, 5, 6)),
    "attention, keys apart": (lambda: Attending(n_keys=5), (5, 4, 6)),
    "attention without weights": (lambda: Attending(need_weights=False), (5, 4, 6)),
    "attention, weights of heads": (lambda: Attending(average_attn_weights=False), (5, 4, 6)),
    "attention without weights, dropout": (lambda: Attending(dropout=0.4, need_weights=False), (5, 4, 6)),
    "causal": (lambda: Attending(attn_mask=CAUSAL, is_causal=True, need_weights=False), (5, 4, 6)),
    "causal with dropout": (lambda: Attending(0.4, attn_mask=CAUSAL, is_causal=True, need_weights=False), (5, 4, 6)),
    "masked": (lambda: Attending(attn_mask=CAUSAL), (5, 4, 6)),
    "masked, without weights": (lambda: Attending(attn_mask=CAUSAL, need_weights=False), (5, 4, 6)),
    "padded": (lambda: Attending(key_padding_mask=PADDING), (5, 4, 6)),
    "padded, without weights": (lambda: Attending(key_padding_mask=PADDING, need_weights=False), (5, 4, 6)),
    "padded, dropout": (lambda: Attending(0.4, key_padding_mask=PADDING, need_weights=False), (5, 4, 6)),
    "all padded, dropout": (lambda: Attending(0.4, key_padding_mask=BLIND, need_weights=False), (5, 4, 6)),
    "encoder": (encoder, (5, 4, 6)),
    "encoder, batch second": (lambda: encoder(batch_first=False), (4, 5, 6)),
    "encoder, norm first": (lambda: encoder(norm_first=True, activation="gelu"), (5, 4, 6)),
    "residual": (lambda: Weighted(lambda x, w: x + (x @ w).relu(), 6, 6), (5, 6)),
    "concatenated": (lambda: Weighted(lambda x, w: torch.cat([x, x * w, torch.stack([x, x]).sum(0)], 1), 6), (5, 6)),
    "indexed": (lambda: Weighted(lambda x, w: x[:, 1:4] * w[[0, 2, 2]] + x[..., -1:] + x[:, None, 0], 3), (5, 6)),
    "indexed by one list": (
        lambda: Weighted(lambda x, w: x[:, None, [2, 0, 2]] * w[..., 1:] + x[:, []].sum(), 4),
        (5, 6),
    ),
    "indexed by two lists": (lambda: Scaled(lambda x: x[[0, 1, 1], :, [2, 0, 5]] + x[0, :, [1]].sum()), (5, 2, 6)),
    "indexed by numbers and True": (lambda: Scaled(lambda x: x[0, 1] + x[-1][True] * x[2:, 0, None]), (5, 2, 6)),
    "more axes": (lambda: Scaled(lambda x: x.unsqueeze(-1) * x.unsqueeze(1) + torch.unsqueeze(x, -3).sum()), (5, 6)),
    "bounded": (lambda: Scaled(lambda x: x.clamp(-0.5, 1) + x.clip(max=0.1) * torch.clamp(x, min=x.mean())), (5, 6)),
    "powers": (lambda: Scaled(lambda x: x.pow(2) + x**3 + 2 ** x.abs() + (x * x) ** x.abs() + x**2.0), (5, 6)),
    "compared": (lambda: Weighted(lambda x, w: (x + w) * ((x >= 0) & (x < w) | (x.long() != 0) | x.eq(w)), 6), (5, 6)),
    "compared with shared": (lambda: Scaled(lambda x: x * (x > torch.arange(6)) + x * (x <= 0.2).to(x)), (5, 6)),
    "concatenated from the end": (lambda: Weighted(lambda x, w: torch.cat((x, x * w), dim=-1), 6), (5, 3, 6)),
    "concatenated with shared": (lambda: Scaled(lambda x: torch.cat([torch.ones(2, 6).to(x), x, x])), (5, 6)),
    "reshaped": (lambda: Scaled(lambda x: x.reshape(5, 2, 3).flatten(1).view(-1, 3).unflatten(0, (5, 2))), (5, 6)),
    "flat parts": (lambda: Scaled(lambda x: torch.flatten(x, 0, 1).flatten(-2) * x.view(-1, 6)[0, 0]), (5, 2, 6)),
    "transposed": (lambda: Scaled(lambda x: x.t().transpose(0, 1).mT.permute(1, 0).squeeze(-1)), (5, 6)),
    "reduced": (lambda: Scaled(lambda x: x.mean(1) + x.sum(1, keepdim=True) - x.max(1).values + x.var()), (5, 6)),
    "fewer axes": (lambda: Weighted(lambda x, w: (x - w) / (2 + w * w) + 2 * w - 1 / (w + 9), 3, 6), (5, 3, 6)),
    "scalar": (lambda: Weighted(lambda x, w: 3 - x * w + w, 1).apply(lambda m: None), (5, 6)),
    "plain tensors": (lambda: Scaled(lambda x: x * torch.arange(6.0).to(x) - torch.ones(4, 1, 6).to(x) / x), (5, 6)),
    "in place": (lambda: Scaled(lambda x: x.mul_(2).add_(1).relu_() + x), (5, 6)),
    "in place, augmented": (lambda: Weighted(in_place, 6), (5, 6)),
    "einsum": (lambda: Weighted(lambda x, w: torch.einsum("bi,io->bo", x, w), 6, 3), (5, 6)),
    "chosen": (lambda: Weighted(lambda x, w: torch.where(x > 0, x, w).masked_fill(x > 1, 0.5), 6), (5, 6)),
    "tied": (Tied, (5, 6)),
    "tied, wide": (lambda: Tied(40), (5, 40)),
    "assigned buffer": (Averaging, (5, 6)),
    "no axes and another dtype": (lambda: Weighted(lambda x, w: (x * 1.0) * HALF + HALF * w.sum(), 6), (5, 6)),
    "no axes": (lambda: Weighted(lambda x, w: (x * w.sum()) / (2 + w[0]) - w.mean() * w.sum(), 6), (5, 6)),
    "by names": (lambda: Weighted(lambda x, w: torch.add(input=x, other=w, alpha=2), 6), (5, 6)),
    "torch's dropout": (lambda: Scaled(lambda x: torch.dropout(x, 0.4, True) * x), (5, 6)),
    "a tuple": (lambda: Weighted(lambda x, w: (x @ w, {"a": x[0] * w.sum()}), 6, 2), (5, 6)),
}


@each_dtype
@pytest.mark.parametrize("name", LAYERS)
def test_layers_train(name, dtype):
    make, shape = LAYERS[name]
    assert_like_the_loop(make, dtype, torch.randn(K, *shape, dtype=dtype))


@pytest.mark.parametrize("name", LAYERS)
def test_layers_evaluate(name):
    make, shape = LAYERS[name]
    assert_like_the_loop(make, torch.float64, torch.randn(K, *shape, dtype=torch.float64), training=False)


SHARED = ("linear", "linear on sequences", "batch norm", "layer norm", "conv2d", "attention", "residual", "a tuple")


@pytest.mark.parametrize("name", SHARED)
def test_members_may_share_an_input(name):
    make, shape = LAYERS[name]
    assert_like_the_loop(make, torch.float64, torch.randn(*shape, dtype=torch.float64), shared=True)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", [(5,), (5, 4), ()], ids=str)
@pytest.mark.parametrize("padding", [None, 0, 3])
def test_embeddings(padding, shape, shared):
    codes = torch.randint(7, shape if shared else (K, *shape))
    assert_like_the_loop(lambda: nn.Embedding(7, 2, padding_idx=padding), torch.float64, codes, shared=shared)


def test_padding_may_be_counted_from_the_end():
    def embedded(codes, table):
        return F.embedding(codes, table, padding_idx=-2)

    assert_like_the_loop(lambda: Weighted(embedded, 7, 2), torch.float64, torch.randint(7, (K, 40)))


@each_dtype
def test_a_number_without_axes_has_no_say_in_the_dtype(dtype):
    class Buffered(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 3)
            self.register_buffer("scale", torch.rand((), dtype=torch.float64))

        def forward(self, x):
            return self.layer(x * self.scale) * self.scale

    modules = [Buffered().to(dtype) for _ in range(K)]
    for module in modules:
        module.scale = module.scale.double()
    alone = copy.deepcopy(modules)
    x = torch.randn(5, 6, dtype=dtype)
    with torch.no_grad(), VectorizedModules(modules).running(False) as module:
        found = module(x).value
    assert found.dtype == dtype
    for k, one in enumerate(alone):
        torch.testing.assert_close(found[k], one(x).detach(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_of_embeddings(mode, shared):
    codes = torch.randint(7, (5, 4) if shared else (K, 5, 4))
    assert_like_the_loop(lambda: nn.EmbeddingBag(7, 2, mode=mode), torch.float64, codes, shared=shared)


@each_dtype
def test_inputs_and_outputs_are_trees(dtype):
    batch = {"code": torch.randint(7, (K, 5)), "number": torch.randn(K, 5, 2, dtype=dtype)}
    assert_like_the_loop(Table, dtype, batch)


def test_members_take_part_with_shared_tensors():
    module = nn.Linear(6, 4).double()
    module.weight.requires_grad_(False)
    assert_like_the_loop(lambda: copy.deepcopy(module), torch.float64, torch.randn(K, 5, 6, dtype=torch.float64))


@pytest.mark.parametrize(
    "draw", [torch.randn_like, torch.bernoulli, nn.AlphaDropout(), lambda x: x + x.clone().normal_(), nn.RReLU()]
)
def test_random_draws_are_refused(draw):
    vectorized = VectorizedModules([Scaled(draw) for _ in range(K)])
    streams = [torch.Generator() for _ in range(K)]
    with vectorized.running(True, streams) as module, pytest.raises(RuntimeError, match="random|rrelu"):
        module(Members(torch.rand(K, 5, 6)))


@pytest.mark.parametrize(
    ("streams", "layer", "shape"),
    [
        (0, nn.Dropout(), (5, 6)),
        (2, nn.Dropout(), (5, 6)),
        (K, nn.Dropout2d(), (2, 5, 6)),
        (K, nn.Dropout1d(), (5, 6)),
        (2, FewBitsDropout(), (5, 6)),
    ],
)
def test_dropout_asks_for_a_stream_each_and_a_batch_axis(streams, layer, shape):
    vectorized = VectorizedModules([Scaled(layer) for _ in range(K)])
    drawing = [torch.Generator() for _ in range(streams)]
    with (
        vectorized.running(True, drawing) as module,
        pytest.raises(NotImplementedError, match="no random generators"),
    ):
        module(Members(torch.rand(K, *shape)))


@pytest.mark.parametrize("index", [[0, 7], [-1, 0]], ids=str)
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.Embedding(7, 2), (1, 2)),
        (lambda: nn.Embedding(7, 2, padding_idx=1), (1, 2)),
        (lambda: nn.EmbeddingBag(7, 2), (1, 2)),
    ],
)
@pytest.mark.parametrize("shared", [False, True])
def test_an_index_out_of_range_does_not_read_the_table_of_a_neighbour(layer, shape, index, shared):
    vectorized = VectorizedModules([layer() for _ in range(K)])
    codes = torch.tensor(index).view(shape)
    codes = codes if shared else Members(codes.expand(K, *shape).contiguous())
    with (
        vectorized.running(True) as module,
        pytest.raises(IndexError, match="index out of range: the table has 7 rows"),
    ):
        module(codes)
