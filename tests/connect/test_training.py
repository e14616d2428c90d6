"""The training of curves, beside steps that are written by hand."""

import numpy as np
import pytest
import torch
from reference import curve as reference
from torch import nn
from torch.func import functional_call

from skfusion.connect import Bezier, Fourier, Line, PolyChain
from skfusion.connect._train import rate
from skfusion.objective import Batch, ModuleObjective

KINDS = [PolyChain, Bezier, Fourier]
kinds = pytest.mark.parametrize("kind", KINDS)


def seeded(make, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def perceptron():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def batches(n=4, n_rows=10, dtype=torch.float64):
    def draw():
        x = torch.randn(n * n_rows, 3, dtype=dtype)
        return [Batch(part, (part[:, 0] > part[:, 1]).long()) for part in x.split(n_rows)]

    return seeded(draw)


def cross_entropy(out, batch):
    return nn.functional.cross_entropy(out, batch.y)


def objective(module, rows=None, **fields):
    rows = batches() if rows is None else rows
    return ModuleObjective(module, lambda: rows, criterion=fields.pop("criterion", cross_entropy), **fields)


def ends_of(make, change=lambda state: state):
    return [change({k: v.detach() for k, v in seeded(make, seed).state_dict().items()}) for seed in (1, 2)]


def vector(state, names):
    return torch.cat([state[k].flatten().double() for k in names])


def by_hand(curve, module, states, rows, start):
    """The controls as vectors after plain steps, and the mean loss of each epoch."""
    names = [k for k, _ in module.named_parameters()]
    shapes = [states[0][k].shape for k in names]
    a, b = (vector(s, names) for s in states)
    losses = []

    def loss(point, batch):
        parts = torch.split(point, [s.numel() for s in shapes])
        state = {k: part.view(s) for k, part, s in zip(names, parts, shapes, strict=True)}
        found = cross_entropy(functional_call(module, state, batch.x), batch)
        losses.append(float(found.detach()))
        return found

    every = rows * curve.n_epochs
    rng = np.random.RandomState(curve.random_state)
    vectors = [a, *((1 - s) * a + s * b for s in start), b]
    found = reference.train(
        lambda t: curve.weights(t, len(vectors)),
        vectors,
        range(len(vectors)) if curve.train_ends else range(1, len(vectors) - 1),
        loss,
        every,
        [rng.uniform() for _ in every],
        curve.lr,
        curve.momentum,
        curve.weight_decay,
    )
    return found, np.array(losses).reshape(curve.n_epochs, -1).mean(axis=1).tolist()


@kinds
@pytest.mark.parametrize(
    "params",
    [
        {"n_epochs": 1},
        {"n_epochs": 10},
        {"n_epochs": 3, "n_bends": 3, "weight_decay": 0.1},
        {"n_epochs": 4, "n_bends": 2, "train_ends": True, "weight_decay": 0.01, "momentum": 0.5, "random_state": 7},
    ],
    ids=["one epoch", "schedule", "three bends", "trained ends"],
)
def test_training_is_that_by_hand(kind, params):
    curve, module, states = kind(**params), seeded(perceptron), ends_of(perceptron)
    start = [0.5] * curve.n_bends if kind is Fourier else np.linspace(0, 1, curve.n_bends + 2)[1:-1]
    path = curve(states, objective(module))
    expected, history = by_hand(curve, module, states, batches(), start)
    names = [k for k, _ in module.named_parameters()]
    for control, vector_by_hand in zip(path.controls, expected, strict=True):
        torch.testing.assert_close(vector(control, names), vector_by_hand, rtol=0, atol=1e-10)
    assert path.history == pytest.approx(history, abs=1e-10)


def test_learning_rate_is_constant_then_linear_then_a_hundredth():
    for step in range(101):
        assert rate(step / 100) == pytest.approx(reference.rate(step, 100), abs=1e-12)
    assert [rate(0.0), rate(0.499), rate(0.7), rate(0.9), rate(1.0)] == pytest.approx([1, 1, 0.505, 0.01, 0.01])


@pytest.mark.parametrize("kind", [PolyChain, Bezier])
def test_weight_decay_shrinks_the_point_and_not_the_bends(kind):
    def no_loss(out, batch):
        return 0 * out.sum()

    module = nn.Linear(1, 1, bias=False).double()
    ends = [{"weight": torch.tensor([[v]], dtype=torch.float64)} for v in (1.0, 3.0)]
    rows = [Batch(torch.ones(1, 1, dtype=torch.float64), torch.ones(1))] * 20
    path = kind(n_epochs=150, lr=0.02, weight_decay=1.0)(ends, objective(module, rows, criterion=no_loss))
    # E |c_a a + c w + c_b b|^2 is least at w = -2 E[c_a c] (a + b) / (2 E[c^2]), not at w = 0.
    c = np.array([kind().weights(t, 3) for t in np.linspace(0, 1, 20001)])
    best = -float((c[:, 1] * (c[:, 0] * 1 + c[:, 2] * 3)).mean() / (c[:, 1] ** 2).mean())
    assert best < -0.5
    assert path.controls[1]["weight"].item() == pytest.approx(best, rel=0.03)


@kinds
def test_ends_move_only_where_they_are_trained(kind):
    module, states = seeded(perceptron), ends_of(perceptron)
    fixed = kind(n_epochs=2)(states, objective(module))
    assert fixed.controls[0] is states[0]
    assert fixed.at(1.0) is states[1]
    moved = kind(n_epochs=2, train_ends=True)(states, objective(module))
    for control, state in zip((moved.controls[0], moved.controls[-1]), states, strict=True):
        assert all(not torch.equal(control[k], state[k]) for k in state)


@kinds
def test_control_states_do_not_keep_one_another_in_memory(kind):
    """A view of what was trained would be pickled with all of it."""
    module, states = seeded(perceptron), ends_of(perceptron)
    bends = kind(n_epochs=1, n_bends=3)(states, objective(module)).controls[1:-1]
    size = sum(v.nbytes for v in states[0].values())
    places = [{t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in bend.values()} for bend in bends]
    assert [sum(place.values()) for place in places] == [size] * 3
    assert len({*places[0], *places[1], *places[2]}) == sum(map(len, places))


def test_ends_alone_can_be_trained():
    module, states = seeded(perceptron), ends_of(perceptron)
    path = Bezier(n_bends=0, n_epochs=30, train_ends=True)(states, objective(module))
    assert len(path.controls) == 2
    assert path.history[-1] < 0.7 * path.history[0]
    untrained = Bezier(n_bends=0)(states, objective(module))
    assert untrained.controls[0] is states[0]
    assert untrained.history == ()


class Tied(nn.Module):
    """One matrix under two names."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.head(self.b(self.a(x).tanh()).tanh())


class Aliased(nn.Module):
    """One layer under two names."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.b, self.head = self.a, nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.b(self.a(x).tanh()).tanh())


@kinds
@pytest.mark.parametrize("make", [Tied, Aliased], ids=["tied", "aliased"])
def test_tied_weights_stay_tied_and_are_trained_once(kind, make):
    def double():
        return make().double()

    curve, module, states = kind(n_epochs=3), seeded(double), ends_of(double)
    path = curve(states, objective(module))
    bend = path.controls[1]
    assert bend["a.weight"].data_ptr() == bend["b.weight"].data_ptr()
    assert [*bend] == [*states[0]]
    names = [k for k, _ in module.named_parameters()]
    expected, _ = by_hand(curve, module, states, batches(), [0.5])
    torch.testing.assert_close(vector(bend, names), expected[1], rtol=0, atol=1e-10)
    point = path.at(0.3)
    assert point["a.weight"].data_ptr() == point["b.weight"].data_ptr()


@kinds
def test_frozen_parameters_stay_on_the_line(kind):
    module, states = seeded(perceptron), ends_of(perceptron)
    module[0].weight.requires_grad_(False)
    path = kind(n_epochs=3, n_bends=2)(states, objective(module))
    for k, control in enumerate(path.controls[1:-1], 1):
        s = 0.5 if kind is Fourier else k / 3
        on_line = (1 - s) * states[0]["0.weight"] + s * states[1]["0.weight"]
        torch.testing.assert_close(control["0.weight"], on_line, rtol=0, atol=1e-12)
        assert not torch.allclose(control["0.bias"], (1 - s) * states[0]["0.bias"] + s * states[1]["0.bias"])


def test_a_module_without_trained_parameters_is_refused():
    module = seeded(perceptron).requires_grad_(False)
    with pytest.raises(ValueError, match="Sequential has no parameters that are trained"):
        Bezier(n_epochs=1)(ends_of(perceptron), objective(module))


class Buffered(nn.Module):
    """Has a float buffer that is no statistic, a counter, and BatchNorm."""

    def __init__(self):
        super().__init__()
        self.scale, self.head, self.norm = nn.Linear(3, 3), nn.Linear(3, 2), nn.BatchNorm1d(3)
        self.register_buffer("shift", torch.randn(3))
        self.register_buffer("count", torch.tensor(5))

    def forward(self, x):
        self.count += 1
        return self.head(self.norm(self.scale(x - self.shift)).relu())


@kinds
def test_buffers_are_on_the_line_and_those_of_the_ends_are_not_written(kind):
    states = ends_of(lambda: Buffered().double())
    before = [{k: v.clone() for k, v in s.items()} for s in states]
    module = seeded(lambda: Buffered().double()).eval()
    own = {k: v.clone() for k, v in module.state_dict().items()}
    path = kind(n_epochs=2)(states, objective(module))
    for now, then in zip([*states, module.state_dict()], [*before, own], strict=True):
        assert all(torch.equal(now[k], then[k]) for k in then)
    bend = path.controls[1]
    middle = (states[0]["shift"] + states[1]["shift"]) / 2
    torch.testing.assert_close(bend["shift"], middle, rtol=0, atol=1e-12)
    assert int(bend["count"]) == 5
    assert int(bend["norm.num_batches_tracked"]) == 0
    torch.testing.assert_close(bend["norm.running_var"], torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_bends_have_the_dtype_of_their_ends(dtype):
    def make():
        return perceptron().to(dtype)

    path = Bezier(n_epochs=2)(ends_of(make), objective(seeded(make), batches(dtype=dtype)))
    assert {v.dtype for v in path.controls[1].values()} == {dtype}


def test_mixed_precision_is_trained_in_the_wider_one():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2).double()

        def forward(self, x):
            return self.b(self.a(x).tanh().double())

    states = ends_of(Mixed)
    path = Bezier(n_epochs=5)(states, objective(seeded(Mixed), batches(dtype=torch.float32)))
    bend = path.controls[1]
    assert {k: v.dtype for k, v in bend.items()} == {k: v.dtype for k, v in states[0].items()}
    assert path.history[-1] < path.history[0]


def test_inputs_may_be_dicts():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = perceptron()

        def forward(self, left, right):
            return self.net(torch.cat([left, right], 1))

    plain, named = seeded(perceptron), seeded(Named)
    states = ends_of(perceptron)
    rows = [Batch({"left": b.x[:, :1], "right": b.x[:, 1:]}, b.y) for b in batches()]
    expected = Bezier(n_epochs=3)(states, objective(plain)).controls[1]
    renamed = [{f"net.{k}": v for k, v in s.items()} for s in states]
    found = Bezier(n_epochs=3)(renamed, objective(named, rows)).controls[1]
    assert all(torch.equal(found[f"net.{k}"], v) for k, v in expected.items())


def test_weights_of_rows_reach_the_criterion():
    def weighted(out, batch):
        each = nn.functional.cross_entropy(out, batch.y, reduction="none")
        return (each * batch.weight).sum() / batch.weight.sum()

    plain = batches()
    rows = [Batch(b.x, b.y, torch.tensor([1.0] * 7 + [0.0] * 3)) for b in plain]
    short = [Batch(b.x[:7], b.y[:7]) for b in plain]
    states, module = ends_of(perceptron), seeded(perceptron)
    found = Bezier(n_epochs=3)(states, objective(module, rows, criterion=weighted)).controls[1]
    expected = Bezier(n_epochs=3)(states, objective(module, short)).controls[1]
    every = Bezier(n_epochs=3)(states, objective(module, plain)).controls[1]
    for k, v in expected.items():
        torch.testing.assert_close(found[k], v, rtol=0, atol=1e-12)
        assert not torch.allclose(found[k], every[k], rtol=0, atol=1e-6)


def test_training_rows_come_before_the_batches_of_statistics():
    states, module, rows = ends_of(perceptron), seeded(perceptron), batches()
    other = [Batch(b.x + 1, 1 - b.y) for b in rows]
    found = Bezier(n_epochs=3)(states, objective(module, other, training=lambda: rows)).controls[1]
    expected = Bezier(n_epochs=3)(states, objective(module, rows)).controls[1]
    assert all(torch.equal(found[k], expected[k]) for k in expected)


def test_the_order_of_rows_is_drawn_from_the_seed(untouched_rng):
    rows = batches()

    def training():
        return [rows[i] for i in torch.randperm(len(rows)).tolist()]

    states, data = ends_of(perceptron), objective(seeded(perceptron), training=training)
    first, again, other = (Bezier(n_epochs=3, random_state=s)(states, data).controls[1] for s in (0, 0, 1))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert all(not torch.equal(first[k], other[k]) for k in first)


def test_a_module_that_reaches_for_its_parameters_is_trained_by_its_function():
    class Reaching(nn.Module):
        """Uses a list of its parameters by place, which is not found where tensors are lent."""

        def __init__(self):
            super().__init__()
            self.net = perceptron()

        def forward(self, x):
            return self.net(x) * dict(self.named_parameters())["net.0.bias"].sum().cos()

    states = ends_of(Reaching)
    path = Bezier(n_epochs=20)(states, objective(seeded(Reaching)))
    assert path.history[-1] < path.history[0]


def test_gradients_that_are_views_of_one_number():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(5))

        def forward(self, x):
            return self.w

    ends = [{"w": torch.full((5,), v)} for v in (0.0, 1.0)]
    data = objective(Bare(), criterion=lambda out, batch: out.sum())
    path = PolyChain(n_epochs=1, lr=0.1, weight_decay=0.1)(ends, data)
    assert (path.controls[1]["w"] < 0.45).all()


def test_parameters_that_are_not_used_stay_on_the_line():
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.spare = perceptron(), nn.Linear(2, 2)

        def forward(self, x):
            return self.net(x)

    states = ends_of(Spare)
    bend = Bezier(n_epochs=3)(states, objective(seeded(Spare))).controls[1]
    torch.testing.assert_close(bend["spare.weight"], (states[0]["spare.weight"] + states[1]["spare.weight"]) / 2)
    assert not torch.allclose(bend["net.0.weight"], (states[0]["net.0.weight"] + states[1]["net.0.weight"]) / 2)


def test_training_without_gradients_of_the_caller():
    states, data = ends_of(perceptron), objective(seeded(perceptron))
    expected = Bezier(n_epochs=2)(states, data).controls[1]
    with torch.no_grad():
        found = Bezier(n_epochs=2)(states, data).controls[1]
    assert all(torch.equal(found[k], expected[k]) for k in expected)


@kinds
def test_a_diverging_rate_is_named(kind):
    def squared(out, batch):
        return (out - 5).square().mean()

    with pytest.raises(ValueError, match=r"diverged in epoch \d+: its loss is (inf|nan)") as caught:
        kind(n_epochs=60, lr=1e6)(ends_of(perceptron), objective(seeded(perceptron), criterion=squared))
    assert "smaller lr than 1000000.0" in str(caught.value)


@kinds
def test_what_is_missing_is_named(kind):
    states, module = ends_of(perceptron), seeded(perceptron)
    for data in (None, ModuleObjective(module, batches)):
        with pytest.raises(
            ValueError, match=rf"{kind.__name__} trains on labelled rows: give it an objective with a crit"
        ):
            kind()(states, data)
    with pytest.raises(ValueError, match="the objective has none"):
        kind()(states, objective(module, []))


@kinds
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_bends": -1}, "n_bends must be a whole number of at least 0; got -1"),
        ({"n_bends": 1.0}, "n_bends must be a whole number"),
        ({"n_epochs": -2}, "n_epochs must be a whole number"),
        ({"lr": float("nan")}, "lr must be finite"),
        ({"lr": -0.1}, "lr must be finite and at least 0"),
        ({"momentum": float("inf")}, "momentum must be finite"),
        ({"weight_decay": -1.0}, "weight_decay must be finite and at least 0; got -1.0"),
        ({"n_bends": True}, "n_bends must be a whole number of at least 0; got True"),
        ({"n_epochs": True}, "n_epochs must be a whole number of at least 0; got True"),
        ({"lr": "0.1"}, "lr must be a number; got '0.1'"),
        ({"lr": None}, "lr must be a number; got None"),
        ({"weight_decay": True}, "weight_decay must be a number; got True"),
        ({"momentum": 1.0}, "momentum must be below 1, .*; got 1.0"),
        ({"random_state": None}, "random_state must be a whole number .*; got None"),
        ({"random_state": -1}, "random_state must be a whole number from 0 .*; got -1"),
        ({"random_state": 2**32}, "random_state must be a whole number from 0 .*; got 4294967296"),
        ({"random_state": True}, "random_state must be a whole number .*; got True"),
        ({"random_state": np.random.RandomState(0)}, r"random_state must be a whole number .*; got RandomState"),
    ],
    ids=[
        *("bends", "float bends", "epochs", "nan", "negative", "inf", "decay", "true bends", "true epochs", "text"),
        *("no lr", "true decay", "momentum", "no seed", "negative seed", "large seed", "true seed", "stream"),
    ],
)
def test_parameters_out_of_range_are_refused(kind, params, message):
    for refuse in (kind(**params).check, lambda: kind(**params)(ends_of(perceptron), objective(seeded(perceptron)))):
        with pytest.raises((TypeError, ValueError), match=message):
            refuse()


def test_numbers_of_numpy_are_parameters():
    given = {"n_bends": np.int64(1), "n_epochs": np.int32(1), "lr": np.float32(0.1), "random_state": np.int64(3)}
    states, data = ends_of(perceptron), objective(seeded(perceptron))
    found, expected = (Bezier(**p)(states, data) for p in (given, {"n_epochs": 1, "lr": 0.1, "random_state": 3}))
    torch.testing.assert_close(found.controls[1], expected.controls[1])
    assert Line().check() is None


@kinds
def test_missing_labels_are_told(kind):
    rows = [Batch(b.x, None) for b in batches()]
    with pytest.raises(ValueError, match=rf"{kind.__name__} trains on labelled rows, and the labels are missing"):
        kind(n_epochs=1)(ends_of(perceptron), objective(seeded(perceptron), rows))


@kinds
def test_an_end_with_nan_is_named(kind):
    first, second = ends_of(perceptron)
    broken = second | {"2.bias": torch.tensor([0.0, float("nan")])}
    with pytest.raises(ValueError, match=r"Tensor '2.bias' of member second holds NaN"):
        kind()([first, broken], objective(seeded(perceptron)))
