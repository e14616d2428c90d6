"""Points that are evaluated many at once have the loss and score that they have one by one."""

import weakref

import numpy as np
import pytest
import torch
from landscape.points import judged, perceptron, rows, states_of
from torch import nn

from skfusion.connect import Bezier, Fourier, Path, PolyChain
from skfusion.landscape import Plane, _evaluate, loss_along, loss_on, segment
from skfusion.objective import Batch, Wrapper
from skfusion.repair import Recalibrate


class Tied(nn.Module):
    """One matrix under two names."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.head(self.b(self.a(x).tanh()).relu() + self.b(x))


class Two(nn.Module):
    """Gives several things, of which the first is judged."""

    def __init__(self):
        super().__init__()
        self.net = perceptron()

    def forward(self, x):
        out = self.net(x)
        return out, out.sum(1)


class Writing(nn.Module):
    """Writes to its input."""

    def __init__(self):
        super().__init__()
        self.net = perceptron()

    def forward(self, x):
        x.mul_(2)
        return self.net(x)


class Counting(nn.Module):
    """Has an integer buffer that its output depends on, and a counter of batches."""

    def __init__(self, shift=0):
        super().__init__()
        self.net = perceptron(nn.BatchNorm1d(8))
        self.register_buffer("order", (torch.arange(6) + shift) % 6)

    def forward(self, x):
        return self.net(x[:, self.order])


class Shifting(nn.Module):
    """Has a whole number among its buffers that its output depends on."""

    def __init__(self):
        super().__init__()
        self.net = perceptron(nn.BatchNorm1d(8))
        self.register_buffer("shift", torch.tensor(1))

    def forward(self, x):
        return self.net(x[:, (torch.arange(6) + self.shift) % 6])


class Named(nn.Module):
    """Takes a dict."""

    def __init__(self):
        super().__init__()
        self.net = perceptron()

    def forward(self, a, b):
        return self.net(torch.cat([a, b], 1))


class Deaf(nn.Module):
    """Does not look at its weights."""

    def __init__(self):
        super().__init__()
        self.net = perceptron()

    def forward(self, x):
        return x[:, :3]


class Reaching(nn.Module):
    """Asks for its parameters as a list."""

    def __init__(self):
        super().__init__()
        self.net = perceptron()
        self.held = [*self.net.parameters()]

    def forward(self, x):
        return self.net(x) * self.held[0].sum().cos()


def lottery(x):
    """Gives other numbers for a member that is one of many."""
    return x if type(x) is torch.Tensor or isinstance(x, nn.Parameter) else x + 1


class Lying(nn.Module):
    """Computes something else for many members."""

    def __init__(self):
        super().__init__()
        self.net = perceptron()

    def forward(self, x):
        return lottery(self.net(x))


TOGETHER = {
    "perceptron": perceptron,
    "batch norm": lambda: perceptron(nn.BatchNorm1d(8)),
    "two batch norms": lambda: perceptron(nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.BatchNorm1d(8)),
    "batch norm first": lambda: nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)),
    "plain batch norm": lambda: perceptron(nn.BatchNorm1d(8, affine=False)),
    "layer norm": lambda: perceptron(nn.LayerNorm(8)),
    "dropout": lambda: perceptron(nn.Dropout(0.5)),
    "in place": lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)),
    "tied": Tied,
    "two outputs": Two,
    "writes to its input": Writing,
    "counter": Counting,
}
ALONE = {
    "convolutions": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    ),
    "deaf": Deaf,
    "reaching": Reaching,
    "lying": Lying,
}


@pytest.fixture
def taken(monkeypatch):
    """Whether points were evaluated together, call by call."""
    found, usual = [], _evaluate._Together.evaluate

    def watched(*args):
        out = usual(*args)
        found.append(out is not None)
        return out

    monkeypatch.setattr(_evaluate._Together, "evaluate", watched)
    return found


def compared(make, data, alone, path=segment, n_points=9):
    states = states_of(make)
    profiles = [loss_along(path(*states), d, n_points) for d in (data, alone)]
    for name in ("loss", "score", "arc"):
        a, b = (getattr(p, name) for p in profiles)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert np.ptp(profiles[0].loss) > 1e-3 or make is Deaf
    return profiles


@pytest.mark.parametrize("name", TOGETHER)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_together_as_one_by_one(name, weighted, taken):
    make = TOGETHER[name]
    batches, held = rows(weighted=weighted), rows(30, seed=1, weighted=weighted)
    compared(make, judged(make(), batches, held), judged(make(), batches, held, many=False))
    assert taken == [True, False]


@pytest.mark.parametrize("name", ALONE)
def test_what_cannot_be_done_together_is_done_one_by_one(name, taken):
    make = ALONE[name]
    module = make()
    compared(make, judged(module, rows()), judged(module, rows(), many=False))
    assert taken == [False, False]


def test_inputs_of_dicts_are_evaluated_one_by_one(taken):
    named = [Batch({"a": b.x[:, :2], "b": b.x[:, 2:]}, b.y) for b in rows()]
    compared(Named, judged(Named(), named), judged(Named(), named, many=False))
    assert taken == [False, False]


def test_integers_that_are_positions_must_be_equal():
    a, b = states_of(Counting)
    b = b | {"order": (b["order"] + 1) % 6}
    with pytest.raises(ValueError, match="'order' holds integers, and other ones in member first"):
        loss_along(segment(a, b), judged(Counting(), rows()), 5)


def test_integers_that_differ_are_evaluated_one_by_one(taken):
    a, b = states_of(Shifting)
    b = b | {"shift": b["shift"] + 1}
    data, alone = (judged(Shifting(), rows(), many=many) for many in (True, False))
    found, expected = (loss_along(segment(a, b), d, 5).loss for d in (data, alone))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert taken == [False, False]


@pytest.mark.parametrize("make", [perceptron, TOGETHER["batch norm"]], ids=["plain", "batch norm"])
def test_double_precision(make, taken):
    def double():
        return make().double()

    batches = rows(dtype=torch.float64)
    together, alone = compared(double, judged(double(), batches), judged(double(), batches, many=False))
    np.testing.assert_allclose(together.loss, alone.loss, rtol=1e-12)
    assert taken == [True, False]


@pytest.mark.parametrize("kind", [PolyChain, Bezier, Fourier])
def test_curves_with_bends(kind, taken):
    make = TOGETHER["batch norm"]

    def path(a, b):
        return Path([a, *states_of(make, 4)[2:], b], kind())

    compared(make, judged(make(), rows()), judged(make(), rows(), many=False), path, 13)
    assert taken == [True, False]


@pytest.mark.parametrize("n_points", [2, 3, 65, 130])
def test_any_number_of_points(n_points, taken):
    make = TOGETHER["batch norm"]
    data, alone = judged(make(), rows()), judged(make(), rows(), many=False)
    a, b = states_of(make)
    found, expected = (loss_along(segment(a, b), d, n_points).loss for d in (data, alone))
    assert len(found) == n_points
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert taken == [True, False]


def test_planes_are_evaluated_together(taken):
    make = TOGETHER["batch norm"]
    plane = Plane.through(*states_of(make, 3))
    a, b = (loss_on(plane, judged(make(), rows(), many=many), 5) for many in (True, False))
    np.testing.assert_allclose(a.loss, b.loss, rtol=1e-5)
    np.testing.assert_allclose(a.score, b.score, rtol=1e-5)
    assert taken == [True, False]


@pytest.mark.parametrize("name", ["perceptron", "batch norm", "writes to its input", "deaf"])
def test_nothing_is_written(name, taken):
    make = (TOGETHER | ALONE)[name]
    module, batches, states = make(), rows(weighted=True), states_of(make)
    data = judged(module, batches)
    module.train()
    [*module.modules()][-1].eval()
    given = [*module.state_dict().values(), *(t for b in batches for t in b), *(v for s in states for v in s.values())]
    before, modes = [t.clone() for t in given], [m.training for m in module.modules()]
    loss_along(segment(*states), data, 5)
    assert all(torch.equal(a, b) for a, b in zip(given, before, strict=True))
    assert [m.training for m in module.modules()] == modes
    assert not any(m._forward_pre_hooks for m in module.modules())


def test_a_repairer_of_the_user_is_applied_point_by_point(taken):
    make = TOGETHER["two batch norms"]
    exact, once = (loss_along(segment(*states_of(make)), judged(make(), rows()), 5, r) for r in (Recalibrate(), None))
    assert taken == [True]
    assert (exact.loss[1:-1] != once.loss[1:-1]).all()
    assert exact.loss[0] == pytest.approx(once.loss[0], rel=1e-6)


class Again(nn.Module):
    """Runs a norm on what it has given."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.norm(self.norm(self.first(x)).relu()))


def test_a_norm_that_runs_twice(taken):
    compared(Again, judged(Again(), rows()), judged(Again(), rows(), many=False))
    assert taken == [True, False]


@pytest.mark.parametrize("name", ["perceptron", "two batch norms"])
def test_batches_are_not_kept(name, taken):
    make, alive, most = TOGETHER[name], weakref.WeakSet(), []

    def batches():
        for k in range(12):
            (batch,) = rows(20, seed=k, cuts=())
            alive.add(batch.x)
            most.append(len(alive))
            yield batch

    module = make()
    many = judged(module, [*batches()])
    most.clear()
    expected = loss_along(segment(*states_of(make)), many, 3).loss
    most.clear()
    alive.clear()
    lazy = Wrapper(many)
    lazy.batches = lazy.held_out = batches
    np.testing.assert_allclose(loss_along(segment(*states_of(make)), lazy, 3).loss, expected, rtol=1e-6)
    assert max(most) <= 6  # those that are read for the statistics, and for the outputs
    assert taken == [True, True]


def test_ends_keep_their_statistics_also_together(taken):
    make = TOGETHER["batch norm"]
    a, b = states_of(make)
    data = judged(make(), rows())
    found = loss_along(segment(a, b), data, 3)
    assert found.loss[[0, -1]].tolist() == pytest.approx([data.loss(a), data.loss(b)], rel=1e-6)
    assert abs(found.loss[0] - data.loss(Recalibrate(1)(a, [], data))) > 1e-3
    assert taken == [True]


def test_a_single_row_left_over_is_recalibrated_with_the_others(taken):
    make = TOGETHER["two batch norms"]
    cuts = [(39,), (25,)]
    found = [
        loss_along(segment(*states_of(make)), judged(make(), rows(cuts=c), many=m), 5) for c in cuts for m in (0, 1)
    ]
    assert taken == [False, True] * 2
    for one, many in (found[:2], found[2:]):
        np.testing.assert_allclose(one.loss, many.loss, rtol=1e-5)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("name", ["batch norm", "two batch norms"])
def test_one_row_is_too_few_for_batch_norm(name, many):
    make = TOGETHER[name]
    data = judged(make(), rows(1, cuts=()), rows(30), many=many)
    with pytest.raises(ValueError, match=r"at least 2 rows; the data to recalibrate on has 1\. Give more rows"):
        loss_along(segment(*states_of(make)), data, 3)


@pytest.mark.parametrize("many", [False, True])
def test_nan_on_the_path_is_named_by_its_position(many):
    class Rooted(nn.Module):
        """Is no number where its weights are negative."""

        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(6, 3))

        def forward(self, x):
            return x @ self.w.sqrt()

    a, b = ({"w": torch.full((6, 3), v)} for v in (1.0, -1.0))
    curve = Path([a, b, {"w": torch.full((6, 3), 1.0)}], PolyChain())
    with pytest.raises(ValueError, match=r"NaN at t = 0\.375, 0\.5, 0\.625: the network overflows there"):
        loss_along(curve, judged(Rooted(), rows(), many=many), 9)


def test_a_path_to_nan_is_refused():
    a, b = states_of(perceptron)
    broken = b | {"0.bias": torch.full((8,), float("nan"))}
    with pytest.raises(ValueError, match=r"'0.bias' of member .* holds NaN"):
        loss_along(segment(a, broken), judged(perceptron(), rows()), 3)
