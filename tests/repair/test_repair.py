"""REPAIR: activations of a merged network have the mean and spread that they have in its members."""

import numpy as np
import pytest
import torch
from torch import nn

from skfusion.objective import Batch, Objective
from skfusion.repair import Recalibrate, Repair
from skfusion.repair._repair import _shares
from skfusion.state import weighted_sum

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
    batches = [Batch(x[i:j], torch.zeros(j - i), None if weight is None else weight[i:j]) for i, j in CUTS]
    return Objective(module, lambda: batches, lambda s: 0.0, lambda s: 0.0)


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
    whole = Objective(module, lambda: [Batch(x, torch.zeros(len(x)))], data.loss, data.score)
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
    bad = Objective(module, lambda: [*data.batches(), Batch(x[:, :1], x)], data.loss, data.score)
    with pytest.raises(RuntimeError):
        Repair()(weighted_sum(states, [0.5, 0.5]), states, bad)
    assert all(m.training for m in module.modules())
    assert not any(m._forward_hooks for m in module.modules())


def test_no_data():
    module, states, data, _ = problem("perceptron")
    empty = Objective(module, lambda: [], data.loss, data.score)
    with pytest.raises(ValueError, match="needs at least one batch"):
        Repair()(weighted_sum(states, [0.5, 0.5]), states, empty)
    module, states, data, _ = problem("perceptron", weight=torch.zeros(90))
    with pytest.raises(ValueError, match="needs rows of positive weight"):
        Repair()(weighted_sum(states, [0.5, 0.5]), states, data)


@pytest.mark.parametrize("shares", [(1.0,), (0.3, 0.7), (0.1, 0.2, 0.7), (-0.5, 1.5)])
def test_shares_are_found(shares):
    states = problem("perceptron", len(shares))[1]
    np.testing.assert_allclose(_shares(weighted_sum(states, shares), states), shares, atol=1e-5)


def test_shares_of_what_is_no_sum_are_equal():
    *states, other = problem("perceptron", 3)[1]
    np.testing.assert_array_equal(_shares(other, states), [0.5, 0.5])
    # twins share what is theirs
    np.testing.assert_allclose(_shares(states[0], [states[0], states[0]]), [0.5, 0.5], atol=0.51)
