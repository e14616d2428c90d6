"""Several states on one batch, beside autograd of each of them."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from skfusion.connect._together import Together
from skfusion.objective import Batch, ModuleObjective, Wrapper

N_POINTS = 4


def seeded(make, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().double()


def cross_entropy(out, batch):
    losses = nn.functional.cross_entropy(out, batch.y, reduction="none")
    return losses.mean() if batch.weight is None else (losses * batch.weight).sum() / batch.weight.sum()


def rows_of(*shape):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(12, *shape, dtype=torch.float64, generator=generator)
    return Batch(x, torch.arange(12) % 2)


def states_of(make):
    return [{**seeded(make, seed).state_dict()} for seed in range(N_POINTS)]


def perceptron():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def normalised():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def convolutional():
    conv = nn.Conv1d(1, 3, 2)
    return nn.Sequential(nn.Unflatten(1, (1, 3)), conv, nn.BatchNorm1d(3), nn.ReLU(), nn.Flatten(), nn.Linear(6, 2))


class Tied(nn.Module):
    """One matrix under two names."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.head(self.b(self.a(x).tanh()).tanh())


class Named(nn.Module):
    """Takes its inputs by name, and says more than logits."""

    def __init__(self):
        super().__init__()
        self.net = perceptron()

    def forward(self, left, right):
        return {"logits": self.net(torch.cat([left, right], 1)), "size": 3}


class Writing(nn.Module):
    """Writes to its input, and has a part that gets no gradient."""

    def __init__(self):
        super().__init__()
        self.net, self.spare = perceptron(), nn.Linear(2, 2)

    def forward(self, x):
        return self.net(x.mul_(2))


class Reaching(nn.Module):
    """Looks its own parameters up, which are not those that are lent."""

    def __init__(self):
        super().__init__()
        self.net = perceptron()
        self.kept = [self.net[0].bias]

    def forward(self, x):
        return self.net(x) * self.kept[0].sum().cos()


class Noisy(nn.Module):
    """Draws the same noise for all that are computed at once."""

    def __init__(self):
        super().__init__()
        self.net = perceptron()

    def forward(self, x):
        return self.net(x + torch.randn_like(x))


class Counting(nn.Module):
    """Writes to buffers, one of which it reads."""

    def __init__(self):
        super().__init__()
        self.net = perceptron()
        self.register_buffer("seen", torch.tensor(2.0))
        self.register_buffer("count", torch.tensor(3))

    def forward(self, x):
        self.seen += 1
        self.count += 1
        return self.net(x) * self.seen


def together(make, states=None, names=None, wrap=lambda objective: objective):
    module = seeded(make, 9)
    states = states_of(make) if states is None else states
    names = [k for k, _ in module.named_parameters()] if names is None else names
    objective = wrap(ModuleObjective(module, lambda: [], criterion=cross_entropy))
    return Together(names, states[0], objective), states


def alone(make, states, names, batch):
    """Losses and gradients by a module for each state."""
    losses, gradients = [], []
    for state in states:
        module = seeded(make, 9).train()
        leaves = {k: state[k].clone().requires_grad_() for k in names}
        first = {id(p): k for k, p in reversed([*module.named_parameters(remove_duplicate=False)])}
        owner = {k: first[id(p)] for k, p in module.named_parameters(remove_duplicate=False)}
        full = {k: leaves.get(owner.get(k, k), v.clone()) for k, v in state.items()}
        args, kwargs = ((), batch.x) if isinstance(batch.x, dict) else ((batch.x.clone(),), {})
        out = functional_call(module, full, args, kwargs)
        loss = cross_entropy(out["logits"] if isinstance(out, dict) else out, batch)
        parts = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        losses.append(loss.detach())
        parts = [torch.zeros_like(v) if p is None else p for p, v in zip(parts, leaves.values(), strict=True)]
        gradients.append(torch.cat([p.flatten() for p in parts]))
    return torch.stack(losses), torch.stack(gradients)


def by_name():
    batch = rows_of(3)
    return Batch({"left": batch.x[:, :1], "right": batch.x[:, 1:]}, batch.y)


def weighted():
    return rows_of(3)._replace(weight=torch.arange(12, dtype=torch.float64))


CASES = {
    "perceptron": (perceptron, lambda: rows_of(3), True),
    "weights": (perceptron, weighted, True),
    "BatchNorm": (normalised, lambda: rows_of(3), True),
    "convolution": (convolutional, lambda: rows_of(3), False),
    "tied": (Tied, lambda: rows_of(3), True),
    "by name": (Named, by_name, True),
    "written inputs": (Writing, lambda: rows_of(3), True),
    "counters": (Counting, lambda: rows_of(3), True),
}


@pytest.mark.parametrize(("make", "batch", "vectorized"), CASES.values(), ids=CASES)
def test_losses_and_gradients_are_those_of_each_point(make, batch, vectorized):
    points, states = together(make)
    before = [{k: v.clone() for k, v in s.items()} for s in states]
    batch = batch()
    rows = points.rows(states)
    expected = alone(make, states, points.names, batch)
    for _ in range(2):  # the first time is a check
        for found, value in zip(points.losses(rows, batch), expected, strict=True):
            torch.testing.assert_close(found, value, rtol=1e-9, atol=1e-12)
    assert points.vectorized is vectorized
    for state, then in zip(states, before, strict=True):
        assert all(torch.equal(state[k], v) for k, v in then.items())
    module = points.objective.module
    own = seeded(make, 9).state_dict()
    assert all(torch.equal(v, own[k]) for k, v in module.state_dict().items())


@pytest.mark.parametrize("make", [convolutional, normalised])
def test_both_ways_give_the_same(make):
    points, states = together(make)
    rows, batch, found = points.rows(states), rows_of(3), []
    for way in (True, False):
        points.vectorized = way
        found.append(points.losses(rows, batch))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def dropping():
    return nn.Sequential(nn.Linear(3, 40), nn.Dropout(0.5), nn.ReLU(), nn.Linear(40, 2))


def test_each_point_has_its_own_dropout():
    points, states = together(dropping)
    rows, batch = points.rows([states[0]] * N_POINTS), rows_of(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        losses = torch.stack([points.losses(rows, batch)[0] for _ in range(3)])
        assert points.vectorized
        assert len(losses.unique()) == 3 * N_POINTS  # of equal points, and from call to call
        torch.manual_seed(3)
        again, _ = together(dropping)
        torch.testing.assert_close(torch.stack([again.losses(rows, batch)[0] for _ in range(3)]), losses)


@pytest.mark.parametrize("make", [Noisy, Reaching])
def test_what_cannot_be_computed_at_once_goes_one_by_one(make):
    points, states = together(make)
    rows = points.rows([states[0]] * N_POINTS)
    losses, gradients = points.losses(rows, rows_of(3))
    assert points.vectorized is False
    assert (gradients.abs().sum(1) > 0).all()
    assert len(losses.unique()) == (N_POINTS if make is Noisy else 1)


def test_frozen_tensors_are_those_of_the_first_state_or_of_each_point():
    names = ["0.bias", "2.weight", "2.bias"]
    points, states = together(perceptron, names=names)
    rows, batch = points.rows(states), rows_of(3)
    shared = [{**s, "0.weight": states[0]["0.weight"]} for s in states]
    own = {"0.weight": torch.stack([s["0.weight"] for s in states])}
    for others, full in ((None, shared), (own, states)):
        for way in (True, False):
            points.vectorized = way
            for found, value in zip(
                points.losses(rows, batch, others), alone(perceptron, full, names, batch), strict=True
            ):
                torch.testing.assert_close(found, value, rtol=1e-9, atol=1e-12)


def test_states_come_back_from_their_rows():
    points, states = together(Tied)
    states = states[:2]
    rows = points.rows(states)
    assert rows.shape == (2, 3 * 3 + 3 + 3 + 3 * 2 + 2)
    back = points.state(rows[1], states[0])
    assert [*back] == [*states[0]]
    assert all(torch.equal(back[k], v) for k, v in states[1].items())
    assert back["a.weight"].data_ptr() == back["b.weight"].data_ptr()


def test_several_dtypes_are_rows_of_the_widest():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2).double()

        def forward(self, x):
            return self.b(self.a(x.float()).tanh().double())

    module = Mixed()
    states = [{k: v.detach() for k, v in Mixed().state_dict().items()} for _ in range(2)]
    points = Together(
        [k for k, _ in module.named_parameters()], states[0], ModuleObjective(module, list, criterion=cross_entropy)
    )
    rows = points.rows(states)
    assert rows.dtype == torch.float64
    back = points.state(rows[1], states[0])
    assert {k: v.dtype for k, v in back.items()} == {k: v.dtype for k, v in states[1].items()}
    found = []
    for way in (True, False):
        points.vectorized = way
        found.append(points.losses(rows, rows_of(3)))
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-5)


def test_states_without_a_head_are_run_by_the_function_of_the_objective():
    head = {"2.weight": torch.ones(2, 4, dtype=torch.float64), "2.bias": torch.zeros(2, dtype=torch.float64)}

    class Headed(Wrapper):
        def whole(self, state):
            return {**state, **head}

    states = states_of(perceptron)
    bodies = [{k: v for k, v in s.items() if k.startswith("0.")} for s in states]
    points, _ = together(perceptron, bodies, ["0.weight", "0.bias"], Headed)
    batch = rows_of(3)
    found = points.losses(points.rows(bodies), batch)
    expected = alone(perceptron, [{**s, **head} for s in bodies], points.names, batch)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_modes_come_back_and_errors_of_a_criterion_are_raised():
    points, states = together(normalised)
    module = points.objective.module.eval()
    rows, batch = points.rows(states), rows_of(3)
    with torch.no_grad():
        assert (points.losses(rows, batch)[1] != 0).any()
    assert not any(m.training for m in module.modules())
    with pytest.raises((IndexError, RuntimeError, ValueError)):
        together(perceptron)[0].losses(points.rows(states)[:, :26], Batch(batch.x, batch.y + 7))
