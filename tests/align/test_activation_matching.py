"""Activation matching: planted elements, invariances, and measures against their literal definitions."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn

from skfusion.align import ActivationMatching
from skfusion.align._evidence import MEASURES, Correlation, InnerProduct, MutualInformation
from skfusion.align._views import clear_views
from skfusion.objective import Batch, Objective
from skfusion.symmetry import Symmetry
from skfusion.tracing import symmetry_of


class Attention(nn.Module):
    """Two heads of attention in a residual stream, written out."""

    def __init__(self, n=8, heads=2):
        super().__init__()
        self.first, self.heads = nn.Linear(3, n), heads
        self.q, self.k, self.v, self.o = (nn.Linear(n, n) for _ in range(4))
        self.last = nn.Linear(n, 2)

    def forward(self, x):
        z = self.first(x)
        q, k, v = (f(z).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        score = (q @ k.transpose(-1, -2)).softmax(-1)
        return self.last((z + self.o((score @ v).transpose(1, 2).flatten(2))).mean(1))


class Recurrent(nn.Module):
    """A recurrent layer."""

    def __init__(self):
        super().__init__()
        self.cell, self.last = nn.GRU(3, 7, batch_first=True), nn.Linear(7, 2)

    def forward(self, x):
        return self.last(self.cell(x)[0][:, -1])


def relu_net():
    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(inplace=True), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 2))


def image_net():
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 5, 2), nn.ReLU(), nn.Flatten(),
        nn.Linear(45, 7), nn.ReLU(), nn.Linear(7, 3),
    )  # fmt: skip


class Mixer(nn.Module):
    """Tokens are mixed, then channels: units stand on two axes of one activation."""

    def __init__(self, tokens=5):
        super().__init__()
        self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)
        self.tokens = nn.Sequential(nn.Linear(tokens, 9), nn.Tanh(), nn.Linear(9, tokens))

    def forward(self, x):
        z = self.first(x)
        return self.last((z + self.tokens(z.mT).mT).mean(1))


class Experts(nn.Module):
    """A batch of products whose units are those of a residual stream."""

    def __init__(self):
        super().__init__()
        self.first, self.gate, self.last = nn.Linear(3, 8), nn.Linear(8, 3), nn.Linear(8, 2)
        self.up, self.down = nn.Parameter(torch.randn(3, 8, 5)), nn.Parameter(torch.randn(3, 5, 8))

    def forward(self, x):
        z = self.first(x)
        inner = torch.einsum("bi,eih->beh", z, self.up).relu()
        each = torch.einsum("beh,eho->beo", inner, self.down)
        return self.last(z + (self.gate(z).softmax(-1)[..., None] * each).sum(1))


class Grouped(nn.Module):
    """Attention whose queries share keys and values in groups."""

    def __init__(self, n=8, heads=4, groups=2):
        super().__init__()
        d = n // heads
        self.heads, self.groups, self.d = heads, groups, d
        self.first, self.q, self.o = nn.Linear(3, n), nn.Linear(n, n), nn.Linear(n, n)
        self.k, self.v, self.last = nn.Linear(n, groups * d), nn.Linear(n, groups * d), nn.Linear(n, 2)

    def forward(self, x):
        z = self.first(x)
        q = self.q(z).unflatten(-1, (self.heads, self.d)).transpose(1, 2)
        k, v = (f(z).unflatten(-1, (self.groups, self.d)).transpose(1, 2) for f in (self.k, self.v))
        k, v = (t.repeat_interleave(self.heads // self.groups, 1) for t in (k, v))
        found = (q @ k.mT).softmax(-1) @ v
        return self.last((z + self.o(found.transpose(1, 2).flatten(2))).mean(1))


NETS = {
    "mixer": (Mixer, (5, 3)),
    "experts": (Experts, (3,)),
    "grouped": (Grouped, (5, 3)),
    "relu": (relu_net, (3,)),
    "images": (image_net, (2, 6, 6)),
    "attention": (Attention, (5, 3)),
    "recurrent": (Recurrent, (5, 3)),
}
EACH = [("correlation", "pre"), ("correlation", "post"), ("l2", "pre"), ("l2", "post"), ("mutual_information", "pre")]


def problem(name, n=300):
    """Return a module, its symmetry, a random state, and data in unequal batches."""
    make, shape = NETS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = make().eval()
        with torch.no_grad():
            for p in module.parameters():
                p.add_(0.2 * torch.randn_like(p))
        x = torch.randn(n, *shape)
    batches = [Batch(x[:200], torch.zeros(200)), Batch(x[200:], torch.zeros(n - 200))]
    data = Objective(module, lambda: batches, lambda s: 0.0, lambda s: 0.0)
    return symmetry_of(module, x[:4]), module.state_dict(), data


@pytest.mark.parametrize(("measure", "where"), EACH)
@pytest.mark.parametrize("name", NETS)
def test_planted_element_is_recovered(name, measure, where):
    symmetry, state, data = problem(name)
    for seed in range(2):
        planted = symmetry.sample(seed)
        found = ActivationMatching(measure, where)(symmetry.permute(planted, state), state, symmetry, data)
        for group, p in symmetry.invert(planted).items():
            np.testing.assert_array_equal(found[group], p, err_msg=group)
    by_weights = {"tokens.0.weight:0"} if name == "mixer" else set()  # rows of the batch are mixed with channels there
    assert found.matched.keys() == symmetry.groups.keys() - by_weights
    if measure == "correlation":
        assert all(value > 0.9 for value in found.matched.values())


def test_correlation_does_not_see_the_scale_of_units():
    symmetry, state, data = problem("relu")
    planted = symmetry.permute(symmetry.sample(0), state)
    rescaled, factor = dict(planted), torch.linspace(0.1, 9, 16)
    for key in ("0.weight", "0.bias"):
        rescaled[key] = planted[key] * (factor[:, None] if key == "0.weight" else factor)
    rescaled["2.weight"] = planted["2.weight"] / factor
    expected = symmetry.invert(symmetry.sample(0))["0.weight:0"]
    found = ActivationMatching("correlation", "post")(rescaled, state, symmetry, data)
    assert (found["0.weight:0"] == expected).all()
    other = ActivationMatching("l2", "post")(rescaled, state, symmetry, data)
    assert (other["0.weight:0"] != expected).any()


def test_dead_units_do_not_disturb_the_others():
    symmetry, state, data = problem("relu")
    dead = [2, 9]
    state = dict(state)
    state["0.weight"] = state["0.weight"].clone().index_fill_(0, torch.tensor(dead), 0.0)
    state["0.bias"] = state["0.bias"].clone().index_fill_(0, torch.tensor(dead), -1.0)
    planted = symmetry.sample(1)
    found = ActivationMatching(where="post")(symmetry.permute(planted, state), state, symmetry, data)
    expected = symmetry.invert(planted)["0.weight:0"]
    live = [i for i in range(16) if i not in dead]
    assert (found["0.weight:0"][live] == expected[live]).all()


def test_matched_correlation_is_at_least_that_of_the_identity():
    symmetry, a, data = problem("relu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        b = relu_net().state_dict()
    found = ActivationMatching()(b, a, symmetry, data)
    again = ActivationMatching()(symmetry.permute(found, b), a, symmetry, data)
    assert all((p == symmetry.identity()[g]).all() for g, p in again.items())
    assert again.matched == pytest.approx(found.matched)


def test_residual_streams_sum_their_evidence():
    symmetry, _, _ = problem("attention")
    stream = next(g for g in symmetry.groups if g.startswith("first"))
    assert sum(view.group.name == stream and view.site.argument is not None for view in clear_views(symmetry, ())) >= 2


def test_modes_are_restored_and_batches_counted():
    symmetry, state, data = problem("images")
    data.module.train()
    one = ActivationMatching(n_batches=1)(state, state, symmetry, data)
    assert data.module.training
    first = Objective(data.module, lambda: [next(iter(data.batches()))], data.loss, data.score)
    two = ActivationMatching()(state, state, symmetry, first)
    assert one.matched == two.matched
    assert one.matched != ActivationMatching("l2")(state, state, symmetry, data).matched


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"measure": "cosine"}, "measure must be one of"),
        ({"where": "between"}, "where must be 'pre' or 'post'"),
    ],
)
def test_bad_parameters(params, message):
    symmetry, state, data = problem("relu")
    with pytest.raises(ValueError, match=message):
        ActivationMatching(**params)(state, state, symmetry, data)


def test_no_batch():
    symmetry, state, data = problem("relu")
    with pytest.raises(ValueError, match="has seen no batch"):
        ActivationMatching(n_batches=0)(state, state, symmetry, data)


def test_information_is_taken_from_all_over_an_image():
    a = np.zeros((3, 40_000), np.float32)
    a[:, 20_000:] = RNG.normal(size=(3, 20_000))
    found = worth(MutualInformation, a, a[[1, 2, 0]])
    assert (found.argmax(1) == [2, 0, 1]).all()


def test_bad_input():
    symmetry, state, data = problem("relu")
    with pytest.raises(ValueError, match="give an objective"):
        ActivationMatching()(state, state, symmetry)
    axes = {"0.weight": ("h", None), "0.bias": ("h",), "2.weight": (None, "h")}
    with pytest.raises(ValueError, match=r"find it by symmetry_of\(module, example_inputs\)"):
        ActivationMatching()(state, state, Symmetry.of_axes(axes, state), data)


# ---- measures ------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)


def batches_of(a, b):
    """Return activations as tensors of shape (1, n_units, n_values), in unequal batches."""
    a, b = (torch.from_numpy(x.astype(np.float32))[None] for x in (a, b))
    return [(a[..., i:j], b[..., i:j]) for i, j in ((0, 11), (11, 150), (150, a.shape[-1]))]


def worth(kind, a, b):
    evidence = kind()
    for part in batches_of(a, b):
        evidence.add(*part)
    return evidence.worth()[0]


def test_correlation_is_that_of_numpy():
    a, b = RNG.normal(size=(4, 300)) + 100, RNG.normal(size=(4, 300)) * 5
    b[1] += a[2]
    expected = np.corrcoef(a, b)[:4, 4:]
    np.testing.assert_allclose(worth(Correlation, a, b), expected, atol=1e-4)
    a[3] = 7.0
    assert (worth(Correlation, a, b)[3] == 0).all()


def test_inner_product_is_the_mean_product():
    a, b = RNG.normal(size=(4, 300)), RNG.normal(size=(4, 300))
    np.testing.assert_allclose(worth(InnerProduct, a, b), a @ b.T / 300, atol=1e-5)
    # the best assignment of products is that of squared distances
    squares = ((a[:, None] - b[None]) ** 2).sum(-1)
    assert (linear_sum_assignment(squares)[1] == linear_sum_assignment(-worth(InnerProduct, a, b))[1]).all()


def information(x, y, n_bins=10):
    """Mutual information by a histogram between quantiles, pair by pair."""
    codes = []
    for v in (x, y):
        ranks = np.linspace(0, len(v) - 1, n_bins + 1)[1:-1].astype(int)
        codes.append(np.searchsorted(np.sort(v)[ranks], v, side="left"))
    joint = np.zeros((n_bins, n_bins))
    np.add.at(joint, tuple(codes), 1 / len(x))
    p, q = joint.sum(1), joint.sum(0)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / np.outer(p, q)[seen])).sum())


def test_mutual_information_is_that_of_the_histogram():
    a, b = RNG.normal(size=(3, 400)), RNG.normal(size=(3, 400))
    b[0] = a[1] ** 2
    a[2] = np.maximum(a[2], 0)
    found = worth(MutualInformation, a, b)
    expected = [[information(x.astype(np.float32), y.astype(np.float32)) for y in b] for x in a]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found[1, 0] > found[1, 1] + 0.3
    assert (found >= -1e-6).all()
    assert (found <= np.log(10) + 1e-6).all()


def test_mutual_information_sees_no_monotone_map_and_is_the_entropy_of_twins():
    a = RNG.normal(size=(3, 400))
    found = worth(MutualInformation, a, np.exp(2 * a))
    np.testing.assert_allclose(found, worth(MutualInformation, a, a), atol=1e-6)
    np.testing.assert_allclose(np.diag(found), np.log(10), atol=0.02)


@pytest.mark.parametrize("kind", MEASURES.values())
def test_nothing_seen(kind):
    assert kind().worth() is None
