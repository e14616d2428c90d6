"""REPAIR: activations of a merged network have the mean and spread that they have in its members."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from skfusion.objective import Batch, ModuleObjective
from skfusion.repair import Recalibrate, Repair
from skfusion.repair._repair import _shares
from skfusion.state import copy, weighted_sum
from skfusion.testing._laws_states import turned

CUTS = [(0, 40), (40, 47), (47, 90)]


class Sequences(nn.Module):
    """Linear layers on sequences, the last one on their mean."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.c(self.b(self.a(x).tanh()).relu().mean(1))


NETS = {
    "perceptron": (
        lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 2)),
        (4,),
    ),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 2, groups=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 3)
        ),
        (2, 6, 6),
    ),
    "sequences": (Sequences, (3, 4)),
}


def problem(name, k=2, n=90, weight=None):
    """Return a module, K states of it, an objective and its inputs."""
    make, shape = NETS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        states = [make().state_dict() for _ in range(k)]
        for state in states:
            for key in state:
                if key.endswith("bias"):
                    state[key] = torch.randn_like(state[key])
        x = 1 + 2 * torch.randn(n, *shape)
        module = make()
    return module, states, data_of(module, x, weight), x


def data_of(module, x, weight=None):
    def rows(i, j):
        return {k: v[i:j] for k, v in x.items()} if isinstance(x, dict) else x[i:j]

    batches = [Batch(rows(i, j), torch.zeros(j - i), None if weight is None else weight[i:j]) for i, j in CUTS]
    return ModuleObjective(module, lambda: batches, lambda s: 0.0, lambda s: 0.0)


def outputs(module, state, x):
    """Return what each layer gives, shape (n, channels, positions), by name."""
    found, layers = {}, {n: m for n, m in module.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))}

    def keep(name):
        def hook(module, args, out):
            axis = -1 if isinstance(module, nn.Linear) else 1
            found[name] = (
                out.detach().double().movedim(axis, 1).flatten(2) if out.dim() > 2 else out.double()[..., None]
            )

        return hook

    hooks = [m.register_forward_hook(keep(n)) for n, m in layers.items()]
    with torch.no_grad():
        torch.func.functional_call(module, state, (x,))
    for hook in hooks:
        hook.remove()
    return found


def moments(module, state, x, weight=None):
    """Return mean and standard deviation of each channel of each layer."""
    w = torch.ones(len(x)) if weight is None else weight
    found = {}
    for name, z in outputs(module, state, x).items():
        flat, each = z.movedim(1, -1).reshape(-1, z.shape[1]), w.double().repeat_interleave(z.shape[2])
        mean = (each[:, None] * flat).sum(0) / each.sum()
        found[name] = mean, ((each[:, None] * (flat - mean) ** 2).sum(0) / each.sum()).sqrt()
    return found


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.2, 0.8), (0.2, 0.3, 0.5)])
def test_statistics_are_the_goals(name, shares):
    module, states, data, x = problem(name, len(shares))
    merged = weighted_sum(states, shares)
    found = moments(module, Repair()(merged, states, data), x)
    known = [moments(module, s, x) for s in states]
    *inner, last = found
    for layer in inner:
        for i, what in enumerate(("mean", "spread")):
            goal = sum(w * k[layer][i] for w, k in zip(shares, known, strict=True))
            torch.testing.assert_close(found[layer][i], goal, rtol=1e-4, atol=1e-4, msg=lambda m, w=what: f"{w}: {m}")
    own = outputs(module, merged, x)
    assert merged[f"{last}.weight"].equal(Repair()(merged, states, data)[f"{last}.weight"])
    assert own.keys() == found.keys()


def test_spread_has_collapsed_before():
    module, states, data, x = problem("perceptron")
    merged = weighted_sum(states, [0.5, 0.5])
    known, before, after = (
        moments(module, s, x)["0"][1].mean() for s in (states[0], merged, Repair()(merged, states, data))
    )
    assert before < 0.85 * known
    assert after == pytest.approx(float(sum(moments(module, s, x)["0"][1].mean() for s in states) / 2), rel=1e-4)


def test_result_does_not_depend_on_the_batches():
    module, states, data, x = problem("convolutions")
    merged = weighted_sum(states, [0.5, 0.5])
    whole = ModuleObjective(module, lambda: [Batch(x, torch.zeros(len(x)))], data.loss, data.score)
    one, other = (Repair()(merged, states, d) for d in (data, whole))
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-4, atol=1e-5)


def test_sample_weights_count():
    weight = torch.arange(90.0) % 3
    module, states, data, x = problem("perceptron", weight=weight)
    found = moments(module, Repair()(weighted_sum(states, [0.5, 0.5]), states, data), x, weight)
    known = [moments(module, s, x, weight) for s in states]
    for i in range(2):
        torch.testing.assert_close(found["2"][i], (known[0]["2"][i] + known[1]["2"][i]) / 2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("k", [0, 1])
def test_ends_of_a_path_are_returned_as_they_are(k):
    _, states, data, _ = problem("perceptron")
    assert Repair()(states[k], states, data) is states[k]


def test_equal_members_in_all_but_rounding_change_nothing():
    module, states, data, x = problem("perceptron")
    near = {key: v + 1e-7 * torch.ones_like(v) for key, v in states[0].items()}
    merged = weighted_sum([states[0], near], [0.5, 0.5])
    found = Repair()(merged, [states[0], near], data)
    for layer, z in outputs(module, found, x).items():
        torch.testing.assert_close(z, outputs(module, states[0], x)[layer], rtol=1e-4, atol=1e-4)


def test_a_dead_channel_stays_as_it_is():
    _, states, data, _ = problem("perceptron")
    for state in states:
        state["0.weight"][3] = 0
    merged = weighted_sum(states, [0.5, 0.5])
    found = Repair()(merged, states, data)
    assert torch.equal(found["0.weight"][3], merged["0.weight"][3])
    assert all(torch.isfinite(v).all() for v in found.values())


def test_a_layer_without_bias_is_rescaled():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 2))
        states = [
            {k: torch.randn_like(v) for k, v in module.state_dict().items()},
            {k: torch.randn_like(v) for k, v in module.state_dict().items()},
        ]
        x = torch.randn(90, 4)
    found = Repair()(weighted_sum(states, [0.5, 0.5]), states, data_of(module, x))
    goal = sum(moments(module, s, x)["0"][1] for s in states) / 2
    torch.testing.assert_close(moments(module, found, x)["0"][1], goal, rtol=1e-4, atol=1e-4)
    assert "0.bias" not in found


def test_inputs_are_not_written():
    _, states, data, _ = problem("perceptron")
    merged = weighted_sum(states, [0.5, 0.5])
    kept = {k: v.clone() for k, v in merged.items()}
    Repair()(merged, states, data)
    assert all(torch.equal(merged[k], kept[k]) for k in kept)


def test_network_with_batch_norm_is_recalibrated():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
        states = [{k: v + 0.1 for k, v in module.state_dict().items()}, module.state_dict()]
        x = torch.randn(90, 4)
    merged, data = weighted_sum(states, [0.5, 0.5]), data_of(module, x)
    found, expected = Repair()(merged, states, data), Recalibrate()(merged, states, data)
    assert all(torch.equal(found[k], expected[k]) for k in expected)


def test_modes_and_hooks_are_restored_after_an_error():
    module, states, data, x = problem("perceptron")
    module.train()
    bad = ModuleObjective(module, lambda: [*data.batches(), Batch(x[:, :1], x)], data.loss, data.score)
    with pytest.raises(RuntimeError):
        Repair()(weighted_sum(states, [0.5, 0.5]), states, bad)
    assert all(m.training for m in module.modules())
    assert not any(m._forward_hooks for m in module.modules())


def test_no_data():
    module, states, data, _ = problem("perceptron")
    empty = ModuleObjective(module, lambda: [], data.loss, data.score)
    with pytest.raises(ValueError, match="needs at least one batch"):
        Repair()(weighted_sum(states, [0.5, 0.5]), states, empty)
    module, states, data, _ = problem("perceptron", weight=torch.zeros(90))
    with pytest.raises(ValueError, match="needs rows of positive weight"):
        Repair()(weighted_sum(states, [0.5, 0.5]), states, data)


@pytest.mark.parametrize("shares", [(1.0,), (0.3, 0.7), (0.1, 0.2, 0.7), (-0.5, 1.5)])
def test_shares_are_found(shares):
    states = problem("perceptron", len(shares))[1]
    np.testing.assert_allclose(_shares(weighted_sum(states, shares), states), shares, atol=1e-5)


def test_shares_are_found_by_name_and_in_spite_of_ties_of_one_state():
    states = problem("perceptron", 3)[1]
    shares = [0.2, 0.5, 0.3]
    merged = weighted_sum(states, shares)
    for state, members in ((merged, turned(states)), (dict(sorted(merged.items())), states)):
        np.testing.assert_allclose(_shares(state, members), shares, atol=1e-5)
    half = [{**s, "again": s["0.bias"] if s is states[0] else s["0.bias"] + 1} for s in states]
    np.testing.assert_allclose(_shares(weighted_sum(half, shares), half), shares, atol=1e-5)


def test_shares_of_what_is_no_sum_are_equal():
    *states, other = problem("perceptron", 3)[1]
    np.testing.assert_array_equal(_shares(other, states), [0.5, 0.5])
    # twins share what is theirs
    np.testing.assert_allclose(_shares(states[0], [states[0], states[0]]), [0.5, 0.5], atol=0.51)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_shares_do_not_depend_on_the_size_of_weights(scale):
    *states, other = problem("perceptron", 3)[1]
    sum_, *states, other = (
        {k: scale * v for k, v in s.items()} for s in (weighted_sum(states, [0.3, 0.7]), *states, other)
    )
    np.testing.assert_allclose(_shares(sum_, states), [0.3, 0.7], atol=1e-5)
    np.testing.assert_array_equal(_shares(other, states), [0.5, 0.5])


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_layers_of_any_size_are_mended(scale):
    module, states, data, x = problem("perceptron")
    states = [{k: scale * v if k.startswith("0") else v for k, v in s.items()} for s in states]
    found = moments(module, Repair()(weighted_sum(states, [0.5, 0.5]), states, data), x)
    known = [moments(module, s, x) for s in states]
    for i in range(2):
        goal = (known[0]["0"][i] + known[1]["0"][i]) / 2
        torch.testing.assert_close(found["0"][i] / scale, goal / scale, rtol=1e-4, atol=1e-4)


def test_rounding_is_not_blown_up_to_the_spread_of_the_members():
    _, states, data, _ = problem("perceptron")
    states[1]["0.weight"][3] = -states[0]["0.weight"][3] * (1 + 1e-7)
    merged = weighted_sum(states, [0.5, 0.5])
    assert merged["0.weight"][3].any()
    found = Repair()(merged, states, data)
    for key in ("0.weight", "0.bias"):
        assert torch.equal(found[key][3], merged[key][3])
        assert not torch.equal(found[key][2], merged[key][2])


class Made(nn.Module):
    """Layers by name, and a function of them and the inputs."""

    def __init__(self, layers, run):
        super().__init__()
        self.layers, self.run = nn.ModuleDict(layers), run

    def forward(self, x):
        return self.run(self.layers, x)


def merged_of(make, x, weight=None):
    """Return a module, two states of it, their mean and an objective."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        states = [copy(make().state_dict()) for _ in range(2)]
        module = make()
    return module, states, weighted_sum(states, [0.5, 0.5]), data_of(module, x, weight)


def changed(make, x):
    """Return which layers are mended; the network must still run."""
    _, states, merged, data = merged_of(make, x)
    found = Repair()(merged, states, data)
    assert torch.isfinite(torch.cat([v.flatten() for v in found.values()])).all()
    data.forward(found, x)
    return {key.split(".")[1] for key in merged if not torch.equal(merged[key], found[key])}


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("n_runs", "gain"), [(2, 2), (4, 2), (4, 4), (8, 3)])
def test_a_layer_that_feeds_itself_comes_nearer_to_its_members(n_runs, gain):
    def run(layers, x):
        outputs.clear()
        for _ in range(n_runs):
            outputs.append(layers["loop"](x))
            x = outputs[-1].relu() * gain
        return layers["head"](x)

    def spreads(state):
        data.forward(state, x)
        return torch.stack([z.std(0).mean() for z in outputs]).log()

    outputs, x = [], normal(90, 16)
    _, states, merged, data = merged_of(lambda: Made({"loop": nn.Linear(16, 16), "head": nn.Linear(16, 2)}, run), x)
    found = Repair()(merged, states, data)
    goal = (spreads(states[0]) + spreads(states[1])) / 2
    before, after = ((spreads(s) - goal).abs().detach() for s in (merged, found))
    assert (after < before).all()
    assert after[0] < 0.05
    assert after.mean() < before.mean() / 2


def chain(layers, x):
    for layer in layers.values():
        x = layer(x).tanh()
    return x


def test_a_layer_with_two_names_is_left():
    def make():
        twice = nn.Linear(6, 6)
        return Made({"a": nn.Linear(6, 6), "b": twice, "c": twice, "d": nn.Linear(6, 2)}, chain)

    assert changed(make, normal(90, 6)) == {"a"}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "computed",
    [
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        lambda layer: parametrizations.weight_norm(layer, "bias", dim=None),
        nn.utils.weight_norm,
    ],
)
def test_a_layer_with_a_computed_tensor_is_left(computed):
    def make():
        return Made(
            {"a": nn.Linear(4, 6), "b": computed(nn.Linear(6, 6)), "c": nn.Linear(6, 6), "d": nn.Linear(6, 2)}, chain
        )

    assert changed(make, normal(90, 4)) == {"a", "c"}


def tied(key):
    layers = {"a": nn.Linear(6, 6), "b": nn.Linear(6, 6), "c": nn.Linear(6, 6), "d": nn.Linear(6, 2)}
    setattr(layers["c"], key, getattr(layers["b"], key))
    return Made(layers, chain)


def test_a_layer_of_one_vector_stays_as_it_is():
    def run(layers, x):
        return layers["last"]((layers["a"](x) + layers["code"](torch.ones(3))).tanh()).softmax(-1)

    sizes = {"a": (6, 5), "code": (3, 5), "last": (5, 2)}
    assert changed(lambda: Made({name: nn.Linear(*size) for name, size in sizes.items()}, run), normal(90, 6)) == {"a"}


@pytest.mark.parametrize("key", ["weight", "bias"])
def test_layers_that_share_a_tensor_are_left(key):
    assert changed(lambda: tied(key), normal(90, 6)) == {"a"}


def test_a_layer_that_shares_its_weight_with_an_embedding_is_left():
    def make():
        module = Made({"table": nn.Embedding(5, 6), "a": nn.Linear(6, 6), "b": nn.Linear(6, 5)}, run)
        module.layers["b"].weight = module.layers["table"].weight
        return module

    def run(layers, x):
        return layers["b"](layers["a"](layers["table"](x)).tanh()).softmax(-1)

    assert changed(make, torch.arange(90) % 5) == {"a"}


def heads(join):
    """Return a maker of a trunk with two heads, and with a third layer that runs last and is for training only."""

    def run(layers, x):
        z = layers["trunk"](x).tanh()
        found = join(layers["mean"](z), layers["logvar"](z))
        layers["auxiliary"](z)
        return found

    sizes = {"trunk": (4, 6), "mean": (6, 2), "logvar": (6, 2), "auxiliary": (6, 3)}
    return lambda: Made({name: nn.Linear(*size) for name, size in sizes.items()}, run)


@pytest.mark.parametrize(
    ("join", "expected"),
    [
        (lambda m, v: (m, v), {"trunk", "auxiliary"}),
        (lambda m, v: {"mean": m, "rest": [v]}, {"trunk", "auxiliary"}),
        (lambda m, v: (m.view(-1, 1, 2), v[:, :1]), {"trunk", "auxiliary"}),
        (lambda m, v: m, {"trunk", "logvar", "auxiliary"}),
        (lambda m, v: (m, v.exp()), {"trunk", "logvar", "auxiliary"}),
        (lambda m, v: (m + v).softmax(-1), {"trunk", "mean", "logvar"}),  # none is returned: the last that runs
    ],
)
def test_layers_whose_outputs_are_returned_are_left(join, expected):
    module, states, merged, data = merged_of(heads(join), normal(90, 4))
    found = Repair()(merged, states, data)
    assert {k.split(".")[1] for k in merged if not torch.equal(merged[k], found[k])} == expected
    assert not any(m._forward_hooks for m in module.modules())


def test_named_inputs_and_a_single_layer():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, left, right):
            return self.b(self.a(left + right).tanh())

    x = normal(90, 4)
    _, states, merged, data = merged_of(Named, {"left": x, "right": x})
    found = Repair()(merged, states, data)
    assert not torch.equal(found["a.weight"], merged["a.weight"])
    assert torch.equal(found["b.weight"], merged["b.weight"])
    _, states, merged, data = merged_of(lambda: nn.Linear(4, 2), x)
    assert Repair()(merged, states, data) is merged


def by_token(first):
    def run(layers, x):
        z = layers["a"](first(x)).tanh()
        return layers["b"](z)

    return lambda: Made({"a": nn.Linear(4, 6), "b": nn.Linear(6, 2)}, run)


def test_sample_weights_count_for_each_token():
    x, weight = normal(90, 3, 4), torch.arange(90.0) % 3
    module, states, merged, data = merged_of(by_token(lambda x: x.flatten(0, 1)), x, weight)
    each = weight.repeat_interleave(3)
    found, *known = (
        moments(module.layers["a"], {k: s[f"layers.a.{k}"] for k in ("weight", "bias")}, x.flatten(0, 1), each)[""]
        for s in (Repair()(merged, states, data), *states)
    )
    for i in range(2):
        torch.testing.assert_close(found[i], (known[0][i] + known[1][i]) / 2, rtol=1e-4, atol=1e-4)


def test_sample_weights_where_samples_are_not_first_are_refused():
    make = by_token(lambda x: x.transpose(0, 1))
    _, states, merged, data = merged_of(make, normal(90, 3, 4), torch.ones(90))
    with pytest.raises(ValueError, match=r"'layers.a' sees 3 rows .* 40 weighted samples.*batch-first.*repetitions"):
        Repair()(merged, states, data)
    assert changed(make, normal(90, 3, 4)) == {"a"}
