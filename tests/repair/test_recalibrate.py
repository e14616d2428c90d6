"""Exact BatchNorm statistics."""

import copy
import weakref

import pytest
import torch
from torch import nn

from skfusion.objective import Batch, ModuleObjective
from skfusion.repair import Recalibrate


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def perceptron():
    return seeded(
        lambda: nn.Sequential(
            nn.Linear(4, 6),
            nn.BatchNorm1d(6),
            nn.Tanh(),
            nn.Linear(6, 5),
            nn.BatchNorm1d(5),
            nn.Tanh(),
            nn.Linear(5, 2),
        )
    )


def convolutions():
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.Flatten()
        )
    )


NETS = {"perceptron": (perceptron, (4,)), "convolutions": (convolutions, (2, 6, 5))}
CUTS = [(0, 29), (29, 31), (31, 37), (37, 40)]


def inputs(shape, n=40):
    return seeded(lambda: 3 + 2 * torch.randn(n, *shape))


def objective(module, batches):
    return ModuleObjective(module, lambda: list(batches), lambda s: 0.0, lambda s: 0.0)


def cut(x, weight=None, cuts=CUTS):
    return [Batch(x[i:j], torch.zeros(j - i), None if weight is None else weight[i:j]) for i, j in cuts]


def layer_by_layer(module, x):
    """The statistics of each BatchNorm layer of a chain under the final statistics of those before it, in float64."""
    module = copy.deepcopy(module).double().eval()
    z = x.double()
    with torch.no_grad():
        for layer in module:
            if hasattr(layer, "running_mean"):
                rows = z.transpose(0, 1).flatten(1)
                layer.running_mean.copy_(rows.mean(1))
                layer.running_var.copy_(rows.var(1, correction=1))
            z = layer(z)
    return {k: v for k, v in module.state_dict().items() if "running" in k}


def assert_statistics(found, expected, tolerance=1e-6):
    for key, value in expected.items():
        if "running" in key:
            torch.testing.assert_close(found[key].double(), value.double(), rtol=tolerance, atol=tolerance)


def test_layers_that_are_frozen_in_training_keep_their_statistics():
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.kept, self.free = nn.BatchNorm1d(4), nn.BatchNorm1d(4)

        def train(self, mode=True):
            super().train(mode)
            self.kept.eval()
            return self

        def forward(self, x):
            return self.free(self.kept(x))

    module, x = Frozen().eval(), inputs((4,))
    found = Recalibrate()(module.state_dict(), [], objective(module, cut(x)))
    assert torch.equal(found["kept.running_mean"], torch.zeros(4))
    assert torch.equal(found["kept.running_var"], torch.ones(4))
    seen = module.kept(x).double()
    expected = {"free.running_mean": seen.mean(0), "free.running_var": seen.var(0)}
    assert_statistics({k: found[k] for k in expected}, expected)
    assert not any(part.training for part in module.modules())


def test_unequal_batches_are_pooled():
    batches = [Batch(x, x) for x in (torch.zeros(96, 1), torch.ones(4, 1))]
    module = nn.BatchNorm1d(1)
    found = Recalibrate()(module.state_dict(), [], objective(module, batches))
    assert found["running_mean"].item() == pytest.approx(0.04, abs=1e-8)
    assert found["running_var"].item() == pytest.approx(0.04 * 0.96 * 100 / 99, abs=1e-8)


@pytest.mark.parametrize("name", NETS)
def test_several_layers_match_the_statistics_taken_layer_by_layer(name):
    make, shape = NETS[name]
    module, x = make(), inputs(shape)
    found = Recalibrate()(module.state_dict(), [], objective(module, cut(x)))
    assert_statistics(found, layer_by_layer(module, x))


@pytest.mark.parametrize("n_passes", [None, 2, 5])
@pytest.mark.parametrize("name", NETS)
def test_unequal_batches_give_what_one_batch_gives(name, n_passes):
    make, shape = NETS[name]
    module, x = make(), inputs(shape)
    whole, parts = (
        Recalibrate(n_passes)(module.state_dict(), [], objective(module, cut(x, cuts=cuts)))
        for cuts in ([(0, 40)], CUTS)
    )
    assert_statistics(parts, whole)


@pytest.mark.parametrize("name", NETS)
def test_one_pass_over_one_batch_is_a_training_pass(name):
    make, shape = NETS[name]
    module, x = make(), inputs(shape)
    expected = copy.deepcopy(module).train()
    for layer in expected:
        if hasattr(layer, "momentum"):
            layer.reset_running_stats()
            layer.momentum = None
    expected(x)
    found = Recalibrate(n_passes=1)(module.state_dict(), [], objective(module, cut(x, cuts=[(0, 40)])))
    assert_statistics(found, expected.state_dict())


def test_one_pass_pools_the_first_layer_exactly():
    module, x = perceptron(), inputs((4,))
    found = Recalibrate(n_passes=1)(module.state_dict(), [], objective(module, cut(x)))
    exact = layer_by_layer(module, x)
    assert_statistics(found, {k: v for k, v in exact.items() if k.startswith("1.")})
    assert not torch.allclose(found["4.running_var"].double(), exact["4.running_var"], rtol=1e-3)


@pytest.mark.parametrize("n_passes", [None, 1])
@pytest.mark.parametrize("name", NETS)
def test_sample_weights_are_repetitions(name, n_passes):
    make, shape = NETS[name]
    module, x = make(), inputs(shape)
    weight = torch.arange(40) % 4
    if n_passes == 1:  # inside a pass, later layers see the batch's own statistics, which know no weights
        keys = ["1.running_mean", "1.running_var"]
    else:
        keys = [k for k in module.state_dict() if "running" in k]
    weighted = Recalibrate(n_passes)(module.state_dict(), [], objective(module, cut(x, weight.double())))
    repeated = x.repeat_interleave(weight, dim=0)
    plain = Recalibrate(n_passes)(
        module.state_dict(), [], objective(module, cut(repeated, cuts=[(0, 17), (17, len(repeated))]))
    )
    assert_statistics(weighted, {k: plain[k] for k in keys})


class Tokens(nn.Module):
    """Norms the tokens of sequences of shape (n_samples, n_tokens, n_channels) one by one, samples or tokens first."""

    def __init__(self, samples_first=True):
        super().__init__()
        self.inner, self.samples_first = nn.ModuleDict({"norm": nn.BatchNorm1d(4)}), samples_first

    def forward(self, x):
        return self.inner["norm"](x.flatten(0, 1) if self.samples_first else x.transpose(0, 1))


@pytest.mark.parametrize("n_passes", [None, 1])
def test_sample_weights_count_for_each_token(n_passes):
    module, x = Tokens(), inputs((3, 4))
    weight = torch.arange(40) % 4
    found = Recalibrate(n_passes)(module.state_dict(), [], objective(module, cut(x, weight.double())))
    rows = x.repeat_interleave(weight, dim=0).flatten(0, 1).double()
    assert_statistics(found, {"inner.norm.running_mean": rows.mean(0), "inner.norm.running_var": rows.var(0)})


def test_sample_weights_where_samples_are_not_first_are_refused():
    module, x = Tokens(samples_first=False), inputs((4, 7))  # its norm sees (4 tokens, batch, 7)
    module.inner["norm"] = nn.BatchNorm1d(10)
    batches = cut(x, torch.ones(40), [(0, 10)])
    with pytest.raises(ValueError, match=r"'inner.norm' sees 4 rows .* 10 weighted samples.*batch-first.*repetitions"):
        Recalibrate()(module.state_dict(), [], objective(module, batches))
    Recalibrate()(module.state_dict(), [], objective(module, cut(x, None, [(0, 10)])))


def test_a_batch_of_weight_zero_does_not_count():
    module, x = perceptron(), inputs((4,))
    weight = torch.ones(40, dtype=torch.float64)
    weight[29:31] = 0
    found = Recalibrate()(module.state_dict(), [], objective(module, cut(x, weight)))
    assert_statistics(found, layer_by_layer(module, torch.cat([x[:29], x[31:]])))


def test_dropout_is_off():
    plain = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    noisy = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.BatchNorm1d(3))
    state = noisy.state_dict()
    x = inputs((4,))
    noisy.train()
    for n_passes in (None, 1):
        first, second = (Recalibrate(n_passes)(state, [], objective(noisy, cut(x))) for _ in range(2))
        assert all(torch.equal(first[k], second[k]) for k in first)
    expected = Recalibrate()({k: state[k] for k in plain.state_dict()}, [], objective(plain, cut(x)))
    assert_statistics(first, expected)


class Fails(nn.Module):
    """Raises from its third call on."""

    def __init__(self):
        super().__init__()
        self.norm, self.dropout, self.calls = nn.BatchNorm1d(4), nn.Dropout(), 0

    def forward(self, x):
        self.calls += 1
        if self.calls > 2:
            raise RuntimeError("out of memory")
        return self.dropout(self.norm(self.norm(x)))


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_hooks_are_restored_even_when_the_module_raises(training):
    module = Fails().train(training)
    module.dropout.train(not training)
    with pytest.raises(RuntimeError, match="out of memory"):
        Recalibrate()(module.state_dict(), [], objective(module, cut(inputs((4,)))))
    assert module.training is training
    assert module.norm.training is training
    assert module.dropout.training is not training
    assert not module.norm._forward_pre_hooks
    assert module.norm.momentum == 0.1


@pytest.mark.parametrize("n_passes", [None, 1])
def test_state_module_and_data_are_not_written(n_passes):
    module, x = perceptron().train(), inputs((4,))
    state = {k: v.clone() for k, v in module.state_dict().items()}
    before = {k: v.clone() for k, v in state.items()}
    given = x.clone()
    found = Recalibrate(n_passes)(state, [], objective(module, cut(x)))
    assert all(torch.equal(state[k], before[k]) for k in before)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert torch.equal(x, given)
    assert torch.equal(found["1.num_batches_tracked"], before["1.num_batches_tracked"])
    assert all(torch.equal(found[k], before[k]) for k in before if "running" not in k)


def test_a_network_without_batch_norm_is_free():
    module = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.BatchNorm1d(2, track_running_stats=False))
    state = module.state_dict()

    def no_data():
        raise AssertionError("the data is read")

    assert Recalibrate()(state, [], ModuleObjective(module, no_data, lambda s: 0.0, lambda s: 0.0)) is state


def test_a_member_is_returned_as_it_is():
    module = perceptron()
    state = {k: v.clone() for k, v in module.state_dict().items()}
    other = {k: v + 1 for k, v in state.items()}
    data = objective(module, cut(inputs((4,))))
    assert Recalibrate()(state, [other, module.state_dict()], data) is state
    assert Recalibrate()(state, [other], data) is not state


def test_a_layer_that_runs_twice_pools_both_calls():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, x):
            return self.norm(x) + self.norm(2 * x + 1)

    module, x = Twice(), inputs((3,))
    for n_passes in (None, 1):
        found = Recalibrate(n_passes)(module.state_dict(), [], objective(module, cut(x)))
        both = torch.cat([x, 2 * x + 1]).double()
        assert_statistics(found, {"norm.running_mean": both.mean(0), "norm.running_var": both.var(0)})


class Chain(nn.Module):
    """A linear layer and several norms that feed one another, some of them several times."""

    def __init__(self, order="abaab"):
        super().__init__()
        self.order, self.linear = order, nn.Linear(4, 4)
        self.norms = nn.ModuleDict({name: nn.BatchNorm1d(4) for name in sorted(set(order))})
        for norm in self.norms.values():
            nn.init.uniform_(norm.weight, 0.5, 2)

    def forward(self, x):
        for name in self.order:
            x = self.norms[name](self.linear(x)).tanh()
        return x


def run_by_run(module, x, weight=None):
    """Statistics of a Chain, each run under its own moments over all rows, pooled over the runs of a layer."""
    w = torch.ones(len(x), dtype=torch.float64) if weight is None else weight.double()
    module, x, seen = copy.deepcopy(module).double(), x.double(), {}
    with torch.no_grad():
        for name in module.order:
            z = module.linear(x)
            seen.setdefault(name, []).append(z)
            mean = w @ z / w.sum()
            var = w @ (z - mean) ** 2 / (w.sum() - 1)
            norm = module.norms[name]
            x = ((z - mean) / (var + norm.eps).sqrt() * norm.weight + norm.bias).tanh()
    found = {}
    for name, parts in seen.items():
        z, each = torch.cat(parts), w.repeat(len(parts))
        mean = each @ z / each.sum()
        found |= {
            f"norms.{name}.running_mean": mean,
            f"norms.{name}.running_var": each @ (z - mean) ** 2 / (each.sum() - 1),
        }
    return found


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("order", ["aa", "aaaa", "aba", "abaab", "ab"])
def test_layers_that_feed_themselves_are_estimated_run_by_run(order, weighted):
    module, x = seeded(lambda: Chain(order)), inputs((4,))
    weight = torch.arange(40) % 4 if weighted else None
    found = Recalibrate()(module.state_dict(), [], objective(module, cut(x, weight)))
    assert_statistics(found, run_by_run(module, x, weight), 1e-5)


@pytest.mark.parametrize("n_passes", [None, 1, 2])
@pytest.mark.parametrize("order", ["aa", "aba", "abaab"])
def test_statistics_of_before_have_no_influence(order, n_passes):
    module, x = seeded(lambda: Chain(order)), inputs((4,))
    data = objective(module, cut(x))
    once = Recalibrate(n_passes)(module.state_dict(), [], data)
    other = {k: v * 9 + 2 if "running" in k else v for k, v in once.items()}
    for start in (once, other):
        again = Recalibrate(n_passes)(start, [], data)
        assert all(torch.equal(once[k], again[k]) for k in once)


@pytest.mark.parametrize("order", ["aa", "abaab"])
def test_training_on_all_rows_in_one_batch_leaves_the_same_statistics(order):
    module, x = seeded(lambda: Chain(order)), inputs((4,), 4000)
    # training divides by the root of n in the place of n - 1, which is 1e-4 of a spread here
    found = Recalibrate()(module.state_dict(), [], objective(module, [Batch(x, x)]))
    means = {name: [] for name in module.norms}
    expected = copy.deepcopy(module).train()
    for name, norm in expected.norms.items():
        norm.reset_running_stats()
        norm.momentum = None  # the mean over its runs
        norm.register_forward_pre_hook(lambda _, args, name=name: means[name].append(args[0].detach().mean(0)))
    expected(x)
    for name, norm in expected.norms.items():
        torch.testing.assert_close(found[f"norms.{name}.running_mean"], norm.running_mean, rtol=1e-3, atol=1e-3)
        n = len(x) * len(means[name])  # the mean over runs leaves out how their means differ
        apart = torch.stack(means[name]).var(0, correction=0)
        total = (norm.running_var * (n - len(means[name])) + n * apart) / (n - 1)
        torch.testing.assert_close(found[f"norms.{name}.running_var"], total, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("n_passes", [None, 1])
def test_batches_are_not_kept(n_passes):
    alive, most = weakref.WeakSet(), []

    def batches():
        for k in range(30):
            x = inputs((4,), 1 if k % 4 == 3 else 20) + k  # single rows join their neighbours
            alive.add(x)
            most.append(len(alive))
            yield Batch(x, torch.zeros(len(x)))

    module = perceptron()
    data = ModuleObjective(module, batches)
    found = Recalibrate(n_passes)(module.state_dict(), [], data)
    assert max(most) <= 4
    kept = [*batches()]
    assert_statistics(found, Recalibrate(n_passes)(module.state_dict(), [], objective(module, kept)))


@pytest.mark.parametrize("cuts", [[(i, i + 1) for i in range(40)], [(0, 1), (1, 2), (2, 39), (39, 40)]])
def test_single_rows_count_as_the_others(cuts):
    module, x = perceptron(), inputs((4,))
    found = Recalibrate()(module.state_dict(), [], objective(module, cut(x, cuts=cuts)))
    assert_statistics(found, layer_by_layer(module, x))


def test_a_layer_that_does_not_run_keeps_its_statistics():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.BatchNorm1d(3), nn.BatchNorm1d(3)

        def forward(self, x):
            return self.used(x)

    module, x = Unused(), inputs((3,))
    found = Recalibrate()(module.state_dict(), [], objective(module, cut(x)))
    assert_statistics(found, {"used.running_mean": x.double().mean(0), "unused.running_mean": torch.zeros(3)})


def test_it_is_idempotent():
    module = perceptron()
    data = objective(module, cut(inputs((4,))))
    once = Recalibrate()(module.state_dict(), [], data)
    twice = Recalibrate()(once, [], data)
    assert all(torch.equal(once[k], twice[k]) for k in once)


def test_passes_over_the_data():
    def batches():
        passes.append(1)
        return cut(inputs((4,)))

    module = perceptron()
    for n_passes, expected in ((None, 3), (1, 2), (2, 3), (9, 3)):  # one more, of one batch, to see the order
        passes = []
        Recalibrate(n_passes)(module.state_dict(), [], ModuleObjective(module, batches, lambda s: 0.0, lambda s: 0.0))
        assert len(passes) == expected
    with pytest.raises(ValueError, match="n_passes"):
        Recalibrate(0)(module.state_dict(), [], objective(module, []))


def test_dict_inputs_and_double_precision():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(2)

        def forward(self, a, b):
            return self.norm(torch.stack([a, b], 1))

    module = Named().double()
    x = {"a": inputs((), 9).double(), "b": torch.arange(9.0, dtype=torch.float64)}
    found = Recalibrate()(module.state_dict(), [], objective(module, [Batch(x, torch.zeros(9))]))
    assert found["norm.running_mean"].dtype == torch.float64
    expected = torch.stack([x["a"].mean(), x["b"].mean()])
    torch.testing.assert_close(found["norm.running_mean"], expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("n_passes", [None, 1])
@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "at least one batch"),
        (
            [Batch(torch.ones(1, 4), torch.ones(1))],
            r"at least 2 values a channel .* at least 2 rows; the data .* has 1\.",
        ),
        (
            [Batch(torch.ones(3, 4), torch.ones(3), torch.tensor([1.0, 0.0, 0.0]))],
            r"has 3 \(or their weights sum to 1 or less\)\. Give more rows",
        ),
    ],
    ids=["none", "one", "weights"],
)
def test_too_little_data_is_refused(batches, message, n_passes):
    module = perceptron()
    with pytest.raises(ValueError, match=message):
        Recalibrate(n_passes)(module.state_dict(), [], objective(module, batches))


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("n_passes", [None, 1])
def test_a_single_row_left_over_counts_as_the_others(n_passes, named):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = perceptron()

        def forward(self, x):
            return self.net(x)

    module = seeded(Named) if named else perceptron()
    x, weight = inputs((4,), 9), torch.linspace(0.5, 1.5, 9)
    whole, left = (
        [b._replace(x={"x": b.x}) if named else b for b in cut(x, weight, cuts)]
        for cuts in ([(0, 9)], [(0, 8), (8, 9)])
    )
    expected, found = (Recalibrate(n_passes)(module.state_dict(), [], objective(module, b)) for b in (whole, left))
    assert_statistics(found, expected)
