"""Sinkhorn re-basin: planted pairs reach distance 0, losses on data use the objective's own, results are hard."""

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn
from tracing.networks import KNOWN

from skfusion.align import PermutationAlignment, SinkhornRebasin, Transport
from skfusion.align.transport._sinkhorn_layer import sinkhorn_layer
from skfusion.align.transport._sinkhorn_rebasin import _Learned
from skfusion.objective import Batch, ModuleObjective
from skfusion.state import distance
from skfusion.testing import _problems as problems
from skfusion.tracing import symmetry_of

PLANTED = ["mlp", "layer norm", "cnn", "lstm", "own attention", "gpt"]


@pytest.mark.parametrize("name", PLANTED)
def test_the_distance_of_a_planted_pair_goes_to_zero(name):
    make, example, *_ = KNOWN[name]
    torch.manual_seed(0)
    module = make()
    symmetry = symmetry_of(module, example(), verify=False)
    a = {k: t + 0.3 * torch.randn_like(t) if t.dim() == 1 else t.clone() for k, t in module.state_dict().items()}
    if "head.weight" in a and "tokens.weight" in a:
        a["head.weight"] = a["tokens.weight"]
    b = symmetry.permute(symmetry.sample(0), a)
    found = SinkhornRebasin(n_steps=100)(b, a, symmetry)
    assert isinstance(found, PermutationAlignment)
    assert distance(found.apply(b), a) == 0
    assert found.history[-1] < found.history[0]


def test_one_hidden_layer_is_as_near_as_the_best_permutation():
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    symmetry = symmetry_of(net, torch.randn(2, 3, dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    a, b = (
        {k: torch.randn(t.shape, generator=generator, dtype=torch.float64) for k, t in net.state_dict().items()}
        for _ in range(2)
    )
    found = distance(SinkhornRebasin(n_steps=150)(b, a, symmetry).apply(b), a)
    every = [distance(symmetry.permute({"0.weight:0": np.array(p)}, b), a) for p in permutations(range(5))]
    assert found == pytest.approx(min(every), rel=1e-12)


def test_a_soft_state_at_the_identity_is_the_state():
    (a, b, _), symmetry, _ = problems.networks(3)
    learned = _Learned(SinkhornRebasin(tau=1e-3), b, a, symmetry)
    learned.free = {g: torch.eye(x.shape[-1], dtype=x.dtype) for g, x in learned.free.items()}
    assert distance(learned.mapped(learned.names), {n: b[n] for n in learned.names}) <= 1e-12


def test_soft_states_are_those_of_a_transport():
    (a, b, _), symmetry, _ = problems.networks(3)
    learned = _Learned(SinkhornRebasin(tau=0.2, n_iter=500), b, a, symmetry)
    soft = {g: sinkhorn_layer(x, 0.2, 500).detach().numpy() for g, x in learned.free.items()}
    expected = Transport({g: (s, s.T) for g, s in soft.items()}, symmetry).apply(b)
    got = {k: t.detach() for k, t in learned.mapped(learned.names).items()}
    assert distance(got, {k: expected[k] for k in got}) <= 1e-12


def labelled(seed=0, n=120):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return x, (x[:, 0] > x[:, 1] * x[:, 2]).long()


def on_rows(net, x, y, weight=None, training=None):
    cuts = [slice(i, i + 40) for i in range(0, len(x), 40)]
    batches = [Batch(x[i], y[i], None if weight is None else weight[i]) for i in cuts]

    def criterion(out, batch):
        loss = nn.functional.cross_entropy(out, batch.y, reduction="none")
        return loss.mean() if batch.weight is None else (loss * batch.weight).sum() / batch.weight.sum()

    return ModuleObjective(net, lambda: batches, criterion=criterion, training=training)


@pytest.mark.parametrize("loss", ["midpoint", "random"])
def test_losses_on_data_lower_the_loss_halfway(loss):
    x, y = labelled()
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    symmetry = symmetry_of(net, x[:3])
    states = []
    for seed in range(2):
        torch.manual_seed(seed)
        net.apply(lambda m: m.reset_parameters() if isinstance(m, nn.Linear) else None)
        optimizer = torch.optim.Adam(net.parameters(), 0.05)
        for _ in range(80):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        states.append({k: v.detach().clone() for k, v in net.state_dict().items()})
    a, b = states
    data = on_rows(net, x, y)

    def halfway(state):
        middle = {k: (a[k] + state[k]) / 2 for k in a}
        return float(nn.functional.cross_entropy(torch.func.functional_call(net, middle, (x,)), y).detach())

    found = SinkhornRebasin(loss, n_steps=30)(b, a, symmetry, data)
    assert halfway(found.apply(b)) < halfway(b)
    assert len(found.history) == 10
    assert all(torch.equal(p, states[1][n]) for n, p in net.named_parameters())  # the module is as it was


def test_random_labels_are_not_learned():
    """Permutations keep the function of both ends: the loss of the aligned state is what it was, on any labels."""
    x, y = labelled()
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(3))]
    (a, b, _), symmetry, data = problems.networks(1)
    found = SinkhornRebasin("midpoint", n_steps=15)(b, a, symmetry, on_rows(data.module, x, y))
    outs = [torch.func.functional_call(data.module, s, (x,)) for s in (b, found.apply(b))]
    assert float((outs[0] - outs[1]).abs().max()) <= 1e-12


def test_weights_are_repetitions_and_rows_of_no_weight_are_not_seen():
    (a, b, _), symmetry, data = problems.networks(1)
    x, y = labelled()
    weight = torch.arange(120) % 3
    weight[80:] = 0
    x[weight == 0] = torch.nan
    learned = _Learned(SinkhornRebasin("midpoint"), b, a, symmetry)
    weighted, repeated = (
        on_rows(data.module, x, y, weight.double()),
        on_rows(data.module, x.repeat_interleave(weight, 0), y.repeat_interleave(weight, 0)),
    )
    losses = [learned.halfway(symmetry.identity(), rows) for rows in (weighted, repeated)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    assert np.isfinite(SinkhornRebasin("midpoint", n_steps=4)(b, a, symmetry, weighted).history).all()


@pytest.mark.parametrize("loss", ["midpoint", "random"])
def test_batch_norm_uses_the_statistics_of_the_batch_and_nothing_is_left(loss):
    x, y = labelled()
    net = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2)).double()
    symmetry = symmetry_of(net, x[:3])
    generator = torch.Generator().manual_seed(0)
    a, b = (
        {k: torch.rand(v.shape, generator=generator, dtype=torch.float64) + 0.1 if v.dim() else v for k, v in s.items()}
        for s in 2 * [net.state_dict()]
    )
    kept = {k: v.clone() for k, v in net.state_dict().items()}
    found = SinkhornRebasin(loss, n_steps=6)(b, a, symmetry, on_rows(net, x, y))
    assert all(part.training for part in net.modules())
    assert all(torch.equal(v, kept[k]) for k, v in net.state_dict().items())
    wild = [{**s, "1.running_mean": s["1.running_mean"] + 100} for s in (a, b)]
    assert SinkhornRebasin(loss, n_steps=6)(wild[1], wild[0], symmetry, on_rows(net, x, y)).history == found.history


def test_the_order_of_rows_is_that_of_the_seed_and_the_generator_of_torch_is_left_as_it_was():
    (a, b, _), symmetry, data = problems.networks(1)
    x, y = labelled()
    shuffled = on_rows(data.module, x, y, training=lambda: [Batch(x[i], y[i]) for i in torch.randperm(120).split(40)])
    histories = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        histories.append(SinkhornRebasin("midpoint", n_steps=6)(b, a, symmetry, shuffled).history)
        assert torch.equal(torch.get_rng_state(), before)
    assert histories[0] == histories[1]


@pytest.mark.parametrize("loss", ["l2", "midpoint", "random"])
def test_a_network_is_aligned_with_itself_already(loss):
    """Halfway between units in another order a loss may be lower still, at which units would move for nothing."""
    (a, *_), symmetry, data = problems.networks(1)
    x, y = labelled()
    found = SinkhornRebasin(loss, n_steps=20)(a, {**a}, symmetry, on_rows(data.module, x, y))
    assert all((p == np.arange(len(p))).all() for p in found.values())


def test_a_training_that_diverges_is_named():
    (a, b, _), symmetry, data = problems.networks(1)
    x, y = labelled()
    x[3] = torch.inf
    with pytest.raises(ValueError, match="diverged in 3 steps"):
        SinkhornRebasin("midpoint", n_steps=6)(b, a, symmetry, on_rows(data.module, x, y))


def test_the_identity_is_kept_where_nothing_is_better():
    (a, _, _), symmetry, _ = problems.networks(1)
    near = {k: t + 1e-3 for k, t in a.items()}
    found = SinkhornRebasin(n_steps=3, lr=5.0)(near, a, symmetry)
    assert all((p == np.arange(len(p))).all() for p in found.values())


def test_no_group_has_nothing_to_learn():
    net = nn.Linear(3, 2)
    symmetry = symmetry_of(net, torch.randn(2, 3))
    for loss in ("l2", "midpoint"):
        data = on_rows(net, torch.randn(40, 3), torch.zeros(40).long())
        assert dict(SinkhornRebasin(loss)(net.state_dict(), net.state_dict(), symmetry, data)) == {}


def test_bad_input_is_named():
    (a, b, _), symmetry, known = problems.networks(1)
    data = ModuleObjective(known.module, known.batches)  # without a criterion
    for settings, message in (
        ({"loss": "l1"}, "loss must be one of"),
        ({"n_steps": 0}, "n_steps and n_iter are at least 1"),
        ({"lr": float("nan")}, "lr and tau above 0"),
        ({"tau": 0.0}, "lr and tau above 0"),
        ({"loss": "midpoint"}, "give an objective with a criterion"),
    ):
        with pytest.raises(ValueError, match=message):
            SinkhornRebasin(**settings)(b, a, symmetry, data)
    empty = on_rows(data.module, torch.zeros(0, 3), torch.zeros(0))
    with pytest.raises(ValueError, match="the objective has none"):
        SinkhornRebasin("random")(b, a, symmetry, empty)
    unlabelled = ModuleObjective(
        data.module,
        lambda: [Batch(torch.zeros(4, 3, dtype=torch.float64), None)],
        criterion=lambda out, batch: out.sum(),
    )
    with pytest.raises(ValueError, match="needs labels"):
        SinkhornRebasin("midpoint")(b, a, symmetry, unlabelled)
    with pytest.raises(ValueError, match="needs to know which units may change places"):
        SinkhornRebasin()(b, a)
