"""Activation matching: planted elements, invariances, and measures against their literal definitions."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from torch import nn

from skfusion.align import ActivationMatching, rebasin
from skfusion.align.permutation._activation_sites import clear_views
from skfusion.align.permutation._evidence import MEASURES, Correlation, MutualInformation, SquaredDistance
from skfusion.objective import Batch, ModuleObjective
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
    data = ModuleObjective(module, lambda: batches, lambda s: 0.0, lambda s: 0.0)
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
    again = ActivationMatching()(found.apply(b), a, symmetry, data)
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
    first = ModuleObjective(data.module, lambda: [next(iter(data.batches()))], data.loss, data.score)
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


# ---- batches and weights -------------------------------------------------------------------------------------------

FAMILY = [("correlation", "pre"), ("l2", "post"), ("mutual_information", "pre")]


def noisy(symmetry, state, size=0.3):
    """Return a state whose units are alike those of another one, in another order."""
    generator = torch.Generator().manual_seed(3)
    near = {k: v + size * torch.randn(v.shape, generator=generator) if v.dim() else v for k, v in state.items()}
    return symmetry.permute(symmetry.sample(0), near)


def matched(name, measure, where, batches):
    """Return the alignment of a noisy copy on some batches."""
    symmetry, state, data = problem(name)
    on = ModuleObjective(data.module, lambda: iter(batches), data.loss, data.score)
    return ActivationMatching(measure, where)(noisy(symmetry, state), state, symmetry, on)


def assert_same(found, expected, tolerance=1e-4):
    for group, p in expected.items():
        np.testing.assert_array_equal(found[group], p, err_msg=group)
    assert found.matched == pytest.approx(expected.matched, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize(("measure", "where"), FAMILY)
@pytest.mark.parametrize("name", ["relu", "images", "recurrent"])
def test_cut_and_order_of_the_batches_change_nothing(name, measure, where):
    shape, n = NETS[name][1], 400  # of images and sequences there are more values than are kept
    generator = torch.Generator().manual_seed(1)
    drift = torch.linspace(0.2, 3, n).view(-1, *[1] * len(shape))
    x = (torch.randn(n, *shape, generator=generator) + 1) * drift
    shuffled = x[torch.randperm(n, generator=generator)]
    cuts = [x.split(20), x.split(20)[::-1], shuffled.split(177), x.tensor_split([1, 2, 37, 38, 399])]
    one = matched(name, measure, where, [Batch(x, torch.zeros(n))])
    for parts in cuts:
        assert_same(matched(name, measure, where, [Batch(p, torch.zeros(len(p))) for p in parts]), one)


@pytest.mark.parametrize(("measure", "where"), FAMILY)
@pytest.mark.parametrize("name", ["relu", "images", "attention", "recurrent"])
def test_weights_are_repetitions(name, measure, where):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(90, *NETS[name][1], generator=generator)
    weight = torch.randint(0, 4, (90,), generator=generator)
    weight[60:71] = 0  # a batch of which nothing counts
    weighted = [Batch(x[i:j], torch.zeros(j - i), weight[i:j].double()) for i, j in ((0, 60), (60, 71), (71, 90))]
    repeated = x.repeat_interleave(weight, 0)
    expected = matched(name, measure, where, [Batch(repeated, torch.zeros(len(repeated)))])
    assert_same(matched(name, measure, where, weighted), expected)
    for factor in (0.1, 2):
        others = [b._replace(weight=factor * b.weight) for b in weighted]
        assert_same(matched(name, measure, where, others), expected)
    x[weight == 0] = torch.nan
    assert_same(matched(name, measure, where, weighted), expected)
    plain = matched(name, measure, where, [Batch(torch.nan_to_num(x), torch.zeros(90))])
    assert plain.matched != pytest.approx(expected.matched, rel=1e-4)


@pytest.mark.parametrize(("measure", "where"), FAMILY)
def test_tokens_count_as_rows(measure, where):
    x = torch.randn(60, 5, 3, generator=torch.Generator().manual_seed(1))
    weight = torch.arange(60) % 3 + 1
    for w, each in ((None, None), (weight, weight.repeat_interleave(5))):
        tokens = matched("relu", measure, where, [Batch(x, torch.zeros(60), w)])
        rows = matched("relu", measure, where, [Batch(x.flatten(0, 1), torch.zeros(300), each)])
        assert_same(tokens, rows)


class TokensFirst(nn.Module):
    """Has samples on the second axis behind its first layer, so that this one is not weighed by them."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.last(self.first(x.transpose(0, 1)).tanh()).mean(0)


def test_samples_may_stand_on_a_later_axis():
    NETS["tokens first"] = TokensFirst, (5, 3)
    generator = torch.Generator().manual_seed(1)
    x, weight = torch.randn(12, 5, 3, generator=generator), torch.arange(12) % 3
    expected = matched("tokens first", "correlation", "pre", [Batch(x.repeat_interleave(weight, 0), torch.zeros(12))])
    found = matched("tokens first", "correlation", "pre", [Batch(x, torch.zeros(12), weight.float())])
    assert_same(found, expected)


class Pooled(nn.Module):
    """Mixes the samples of a batch two by two, so that no axis behind counts them."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.last(self.first(x.unflatten(0, (-1, 2)).mean(1)).tanh())


@pytest.mark.parametrize("measure", MEASURES)
def test_where_no_axis_counts_samples_units_are_matched_by_weights_if_samples_are_weighted(measure):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module, x = Pooled().eval(), torch.randn(40, 3)
    symmetry, state = symmetry_of(module, x), module.state_dict()
    planted = symmetry.sample(0)
    for weight in (None, torch.ones(40)):
        data = ModuleObjective(module, lambda weight=weight: [Batch(x, torch.zeros(40), weight)])
        found = ActivationMatching(measure)(symmetry.permute(planted, state), state, symmetry, data)
        assert all((found[g] == p).all() for g, p in symmetry.invert(planted).items())
        assert bool(found.matched) == (weight is None)


@pytest.mark.parametrize("size", [1e4, 1e6])
def test_least_squares_see_units_far_from_zero(size):
    symmetry, state, data = problem("relu")
    for seed, far in enumerate((size, -size, size * torch.sign(torch.arange(16) - 7.5))):
        moved = {**state, "0.bias": state["0.bias"] + far}
        planted = symmetry.sample(seed)
        found = ActivationMatching("l2")(symmetry.permute(planted, moved), moved, symmetry, data)
        np.testing.assert_array_equal(found["0.weight:0"], symmetry.invert(planted)["0.weight:0"])


class Flagged(nn.Module):
    """Takes its input by name, and a flag."""

    def __init__(self):
        super().__init__()
        self.net = relu_net()

    def forward(self, twice, x):
        return self.net(2 * x if twice else x)


@pytest.mark.parametrize("measure", MEASURES)
def test_inputs_by_name_may_hold_flags_and_single_rows(measure):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module, x = Flagged().eval(), torch.randn(201, 3)
    state, symmetry = module.state_dict(), symmetry_of(module, {"twice": True, "x": x})
    planted = symmetry.permute(symmetry.sample(0), state)
    data = [{"twice": True, "x": part} for part in x.split(50)]
    found = rebasin(state, planted, module, data[0], ActivationMatching(measure), data)
    assert all(torch.equal(found[k], state[k]) for k in state)


def test_no_row_counts():
    symmetry, state, data = problem("relu")
    none = ModuleObjective(data.module, lambda: [b._replace(weight=torch.zeros(len(b.x))) for b in data.batches()])
    with pytest.raises(ValueError, match="has seen no batch: the objective has none with rows of positive weight"):
        ActivationMatching()(state, state, symmetry, none)


def test_bad_input():
    symmetry, state, data = problem("relu")
    with pytest.raises(ValueError, match="give an objective"):
        ActivationMatching()(state, state, symmetry)
    axes = {"0.weight": ("h", None), "0.bias": ("h",), "2.weight": (None, "h")}
    with pytest.raises(ValueError, match=r"find it by symmetry_of\(module, example_inputs\)"):
        ActivationMatching()(state, state, Symmetry.of_axes(axes, state), data)


# ---- measures ------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)


def batches_of(a, b, weight=None, cuts=(11, 150)):
    """Return activations as tensors of shape (1, n_units, n_values), with weights and keys, in unequal batches."""
    a, b = (torch.from_numpy(x.astype(np.float32))[None].tensor_split(cuts, -1) for x in (a, b))
    weights = [None] * len(a) if weight is None else torch.from_numpy(weight).tensor_split(cuts)
    keys = np.split(np.random.default_rng(1).integers(2**63, size=sum(x.shape[-1] for x in a)).astype(np.uint64), cuts)
    return [*zip(a, b, weights, keys, strict=True)]


def worth(kind, a, b, weight=None, cuts=(11, 150)):
    evidence = kind()
    for part in batches_of(a, b, weight, cuts):
        evidence.add(*part)
    return evidence.similarity()[0]


@pytest.mark.parametrize("kind", MEASURES.values())
def test_values_that_drift_are_seen_as_one_batch(kind):
    drift = np.linspace(-40, 40, 300)
    a, b = RNG.normal(size=(4, 300)) + drift, RNG.normal(size=(4, 300)) * 5 - drift
    np.testing.assert_allclose(worth(kind, a, b), worth(kind, a, b, cuts=()), rtol=1e-5, atol=1e-5)
    weight = RNG.integers(1, 4, 300)
    keys = np.arange(300).repeat(weight)
    repeated = kind()
    repeated.add(*(torch.from_numpy(x.astype(np.float32))[None, :, keys] for x in (a, b)), None, keys.astype(np.uint64))
    for cuts in ((11, 150), ()):
        np.testing.assert_allclose(worth(kind, a, b, weight, cuts), repeated.similarity()[0], rtol=1e-5, atol=1e-5)


def test_correlation_is_that_of_numpy():
    a, b = RNG.normal(size=(4, 300)) + 100, RNG.normal(size=(4, 300)) * 5
    b[1] += a[2]
    expected = np.corrcoef(a, b)[:4, 4:]
    np.testing.assert_allclose(worth(Correlation, a, b), expected, atol=1e-4)
    a[3] = 7.0
    assert (worth(Correlation, a, b)[3] == 0).all()


def test_squared_distance_is_that_of_the_squares_but_for_terms_of_single_units():
    a, b = RNG.normal(size=(4, 300)) + 5 * RNG.normal(size=(4, 1)), RNG.normal(size=(4, 300))
    squares = ((a[:, None] - b[None]) ** 2).mean(-1)
    rest = worth(SquaredDistance, a, b) + squares / 2
    np.testing.assert_allclose(rest - rest[:1] - rest[:, :1] + rest[0, 0], 0, atol=1e-5)
    np.testing.assert_allclose(rest, (a.var(1)[:, None] + b.var(1)) / 2, atol=1e-5)
    products = rest - squares / 2 - a @ b.T / 300
    np.testing.assert_allclose(products - products[:1] - products[:, :1] + products[0, 0], 0, atol=1e-4)


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


def test_mutual_information_is_that_of_scikit_learn():
    a, b = RNG.normal(size=(3, 437)), RNG.exponential(size=(2, 437))
    b[0] += a[2] ** 2
    q = np.arange(1, 10) / 10
    codes = [[np.searchsorted(np.quantile(v, q, method="inverted_cdf"), v) for v in x] for x in (a, b)]
    expected = [[mutual_info_score(u, v) for v in codes[1]] for u in codes[0]]
    np.testing.assert_allclose(worth(MutualInformation, a, b), expected, atol=1e-5)


def test_mutual_information_of_many_values_is_near_that_of_all():
    a = RNG.normal(size=(3, 60_000))
    b = a[[1, 2, 0]] + RNG.normal(size=(3, 60_000))
    expected = [[information(x, y) for y in b] for x in a]
    found = worth(MutualInformation, a, b, cuts=[*range(700, 60_000, 700)])
    np.testing.assert_allclose(found, expected, atol=0.03)  # 81 degrees of freedom of 5000 values make .008


def test_mutual_information_keeps_few_values():
    evidence, alike = MutualInformation(), MutualInformation()
    keys = RNG.permutation(30_000).astype(np.uint64)
    for part in keys.reshape(-1, 1000):
        evidence.add(*torch.from_numpy(part.astype(np.float32)).expand(2, 1, 1, -1), None, part)
        alike.add(*torch.ones(2, 1, 1, 1000), None, part % 7)
    assert [x.shape[-1] for x in evidence.parts] == [5000] * 2
    assert (evidence.parts[0].sort().values == torch.arange(5000.0)).all()
    assert (evidence.mass == 1).all()
    evidence.add(*torch.zeros(2, 1, 1, 30_000), None, keys)
    assert (evidence.mass == 2).all()
    assert len(alike.keys) == 7
    assert alike.mass.sum() == 30_000


def test_mutual_information_sees_no_monotone_map_and_is_the_entropy_of_twins():
    a = RNG.normal(size=(3, 400))
    found = worth(MutualInformation, a, np.exp(2 * a))
    np.testing.assert_allclose(found, worth(MutualInformation, a, a), atol=1e-6)
    np.testing.assert_allclose(np.diag(found), np.log(10), atol=0.02)


@pytest.mark.parametrize("kind", MEASURES.values())
def test_nothing_seen(kind):
    assert kind().similarity() is None
