"""Networks drawn from a Gaussian along the tail of a run."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recording import ROWS, Recorder, collect
from skorch.callbacks import Callback
from torch import nn

from skfusion import EnsembleClassifier, nets
from skfusion._rows import Rows
from skfusion.collect import SWAG, MultiSWAG, Tail
from skfusion.collect._base import Progress
from skfusion.collect.trajectory._gaussian import Gaussian
from skfusion.collect.trajectory._swag import Draws
from skfusion.merge import Uniform
from skfusion.repair import Recalibrate
from skfusion.state import flatten
from skfusion.testing import _problems as problems

PLAIN = {"module__norm": None, "lr": 0.1}
"""A net without BatchNorm that moves."""


class EveryStep(Callback):
    """Writes down the state after each step."""

    states: list = []  # noqa: RUF012

    def on_train_begin(self, net, **_):
        self.states.clear()

    def on_batch_end(self, net, training=False, **_):
        if training:
            self.states.append(nets.state_of(net))


def collect_with(collector, *callbacks, sample_weight=None, **params):
    found = [(f"own-{i}", c) for i, c in enumerate(callbacks)]
    net = problems.net(**{"callbacks": found, "max_epochs": 8, **params})
    return collector.collect(net, ROWS.X, ROWS.y, random_state=0, sample_weight=sample_weight)


def literal(states, rank):
    """Mean, variances and deviations of a run of vectors, as Algorithm 1 of Maddox et al. has them."""
    mean, square, deviations = np.zeros(len(states[0])), np.zeros(len(states[0])), []
    for n, state in enumerate(states):
        mean = (n * mean + state) / (n + 1)
        square = (n * square + state**2) / (n + 1)
        deviations = [*deviations, state - mean][-rank:] if rank else []
    return mean, square - mean**2, np.array(deviations).reshape(-1, len(mean)).T


def vectors(n, d=5, seed=0):
    return np.cumsum(np.random.RandomState(seed).normal(size=(n, d)), axis=0)


def gaussian_of(states, rank):
    gaussian, live = Gaussian(rank), torch.empty(len(states[0]), dtype=torch.float64)
    for state in states:
        gaussian.update({"w": live.copy_(torch.from_numpy(state))})
    return gaussian


# ---- the Gaussian ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "rank"), [(2, 2), (9, 4), (9, 20), (9, 0)])
def test_moments_are_those_of_the_algorithm(n, rank):
    states = vectors(n)
    gaussian = gaussian_of(states, rank)
    mean, variance, deviations = literal(states, rank)
    np.testing.assert_allclose(gaussian.mean[0], mean, atol=1e-12)
    np.testing.assert_allclose(gaussian.square[0] / gaussian.n, variance, atol=1e-12)
    assert len(gaussian.deviations) == min(rank, n)
    for column, (kept,) in zip(deviations.T, gaussian.deviations, strict=True):
        np.testing.assert_allclose(kept, column, atol=1e-12)


@pytest.mark.parametrize("level", [0.1, 1e6])
def test_a_run_that_stays_has_no_covariance(level):
    gaussian = gaussian_of([np.full(3, level)] * 7, 4)
    assert float(gaussian.square[0].abs().max()) == 0
    assert all(float(d.abs().max()) == 0 for (d,) in gaussian.deviations)
    like = {"w": torch.zeros(3, dtype=torch.float64)}
    draw = gaussian.draw(like, 0.5, {"w"}, torch.Generator().manual_seed(0))
    assert torch.equal(draw["w"], torch.full((3,), level, dtype=torch.float64))


def test_variances_far_from_zero_are_not_lost_in_rounding():
    states = vectors(12)
    near, far = gaussian_of(states, 3), gaussian_of(states + 1e6, 3)
    np.testing.assert_allclose(far.square[0], near.square[0], rtol=1e-7)


@pytest.mark.parametrize(("rank", "scale"), [(0, 1.0), (3, 0.5), (20, 2.0)])
def test_draws_have_the_covariance_of_the_formula(rank, scale):
    states = vectors(8, d=4)
    gaussian, generator = gaussian_of(states, rank), torch.Generator().manual_seed(0)
    like, n = {"w": torch.zeros(4, dtype=torch.float64)}, 6000
    draws = np.stack([gaussian.draw(like, scale, {"w"}, generator)["w"].numpy() for _ in range(n)])
    mean, variance, D = literal(states, rank)
    expected = scale * (np.diag(variance) + (D @ D.T / (D.shape[1] - 1) if rank else 0))
    spread = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / n)  # of a sample covariance
    assert (np.abs(draws.mean(axis=0) - mean) < 5 * np.sqrt(np.diag(expected) / n)).all()
    assert (np.abs(np.cov(draws.T) - expected) < 5 * spread).all()


def test_complex_numbers_are_drawn_in_both_parts():
    gaussian, like = Gaussian(2), {"w": torch.zeros(2, dtype=torch.complex64)}
    for value in (0, 2, 4):
        gaussian.update({"w": torch.full((2,), value * 1j)})
    draw = gaussian.draw(like, 0.5, {"w"}, torch.Generator().manual_seed(0))["w"]
    assert torch.equal(draw.real, torch.zeros(2))
    assert (draw.imag != 2).all()
    assert torch.equal(gaussian.draw(like, 0.0, {"w"}, torch.Generator())["w"], torch.full((2,), 2j))


# ---- the members -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params", [{}, {"lr": 0.02}, {"every": 2, "lr": 0.3}, {"burn_in": 0.0}, {"burn_in": 0.3, "every": 2}], ids=str
)
def test_without_variance_a_draw_is_the_mean_of_the_tail(params):
    tail = collect(Tail(**{"burn_in": 0.5, **params}), max_epochs=8, **PLAIN)
    rates = [*Recorder.rates]
    (member,) = collect(SWAG(1, scale=0.0, **params), max_epochs=8, **PLAIN)
    assert pytest.approx(rates) == Recorder.rates
    assert member.meta["n_states"] == len(tail)
    assert member.meta["seed"] == tail[0].meta["seed"]
    for key, value in Uniform()(tail.states).items():
        torch.testing.assert_close(member.state[key], value, rtol=1e-6, atol=1e-7)


def test_the_rate_is_constant_after_the_burn_in():
    collect(SWAG(1, lr=0.02), max_epochs=8, lr=0.1)
    assert Recorder.rates[:6] == pytest.approx([0.1] * 6)
    assert Recorder.rates[12:] == pytest.approx([0.02] * 12)


@pytest.mark.parametrize(("every", "burn_in"), [(1, 0.5), (5, 0.25)])
def test_states_of_steps(every, burn_in):
    (member,) = collect_with(SWAG(1, scale=0.0, every=every, unit="step", burn_in=burn_in), EveryStep(), **PLAIN)
    first = int(burn_in * 24)
    states = EveryStep.states[first + every - 1 :: every]
    assert member.meta["n_states"] == len(states)
    for key, value in Uniform()(states).items():
        torch.testing.assert_close(member.state[key], value, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("rank", "scale"), [(20, 0.5), (0, 1.0)])
def test_the_covariance_of_members_is_that_of_the_run(rank, scale):
    n = 1000
    pool = collect(SWAG(n, rank=rank), max_epochs=8, **PLAIN)
    states = np.stack([flatten(Recorder.states[epoch]).numpy() for epoch in range(5, 9)])
    moved = np.ptp(states, axis=0) > 0  # buffers do not
    draws = np.stack([flatten(state).numpy() for state in pool.states])
    mean, variance, D = literal(states, rank)
    expected = scale * (np.diag(variance) + (D @ D.T / (D.shape[1] - 1) if rank else 0))[np.ix_(moved, moved)]
    assert moved.sum() == 3 * 4 + 4 + 4 * 3 + 3
    np.testing.assert_allclose(draws[:, ~moved], np.broadcast_to(mean[~moved], draws[:, ~moved].shape), atol=1e-6)
    spread = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / n)
    assert (np.abs(np.cov(draws[:, moved].T) - expected) < 6 * spread).all()  # of 496 numbers
    assert (np.abs(draws.mean(axis=0) - mean)[moved] < 5 * np.sqrt(np.diag(expected) / n)).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_each_draw_has_statistics_of_its_own(weighted):
    weight = np.random.RandomState(1).uniform(0.2, 1.8, len(ROWS.y)) if weighted else None
    pool = collect_with(SWAG(3), lr=0.1, sample_weight=weight)
    rows = Rows(ROWS.X, ROWS.y, weight)
    data = nets.Judge(nets.Runner(pool[0].net, "classification"), rows, rows)
    for member in pool:
        for key, value in Recalibrate()(member.state, [], data).items():
            torch.testing.assert_close(member.state[key], value, rtol=1e-5, atol=1e-6)
        assert int(member.state["layers.1.num_batches_tracked"]) == 24
    variances = [member.state["layers.1.running_var"] for member in pool]
    assert not torch.allclose(variances[0], variances[1], rtol=1e-3)


def test_the_first_draws_are_the_same_for_any_number():
    few, many = collect(SWAG(2), max_epochs=8), collect(SWAG(4), max_epochs=8)
    assert many.names == [f"swag-draw-{i}" for i in range(4)]
    assert problems.snapshot(few.states) == problems.snapshot(many.states[:2])
    assert problems.snapshot(many[2].state) != problems.snapshot(many[3].state)


def test_one_run_of_several_is_that_of_one():
    one, several = collect(SWAG(3), max_epochs=8), collect(MultiSWAG(1, 3), max_epochs=8)
    assert several.names == [f"swag-0-draw-{i}" for i in range(3)]
    assert problems.snapshot(one.states) == problems.snapshot(several.states)


def test_each_run_has_a_gaussian_of_its_own():
    pool = collect(MultiSWAG(3, 2, scale=0.0, vectorize=False), max_epochs=8, **PLAIN)
    assert [(m.meta["run"], m.meta["draw"]) for m in pool] == [(i, k) for i in range(3) for k in range(2)]
    means = [problems.snapshot(m.state) for m in pool]
    assert means[::2] == means[1::2]
    assert len({*means}) == 3
    assert len({m.meta["seed"] for m in pool}) == 3


def test_tied_tensors_stay_tied_and_constants_stay_what_they_are():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = self.second = nn.Linear(3, 3)
            self.frozen = nn.Linear(3, 3)
            self.frozen.requires_grad_(False)
            self.register_buffer("mask", torch.tensor([0.0, -torch.inf, 0.1]))
            self.register_buffer("order", torch.tensor([2, 0, 1]))

        def forward(self, X):
            return self.second(torch.relu(self.first(self.frozen(X[:, self.order]))))[:, : ROWS.y.max() + 1]

    given = nets.with_module(problems.net(max_epochs=6), Tied())
    for member in SWAG(2).collect(given, ROWS.X, ROWS.y):
        state = member.state
        assert state["first.weight"].data_ptr() == state["second.weight"].data_ptr()
        assert not torch.equal(state["first.weight"], given.module.first.weight)
        for key in ("frozen.weight", "frozen.bias", "mask", "order"):
            assert torch.equal(state[key], given.module.state_dict()[key]), key


def test_an_ensemble_of_draws_averages_their_predictions():
    groups = np.arange(len(ROWS.y)) // 2
    ensemble = EnsembleClassifier(problems.net(max_epochs=6), collect=SWAG(4), random_state=0)
    ensemble.fit(ROWS.X, ROWS.y, sample_weight=np.linspace(0.5, 1.5, len(ROWS.y)), groups=groups)
    assert len(ensemble.members_) == 4
    mean = ensemble.predict_members(ROWS.X).mean(axis=0)
    np.testing.assert_allclose(ensemble.predict_proba(ROWS.X), mean, atol=1e-6)


# ---- runs that are too short, and bad input ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("collector", "message"),
    [
        (SWAG(burn_in=0.9), "SWAG fits .* at least 2 states, and there is 1 state in the 8 epochs .* burn-in of 7"),
        (SWAG(every=3), "1 state in the 8 epochs of the run, with a burn-in of 4 and every=3"),
        (MultiSWAG(every=9), "MultiSWAG fits .* there is none in the 8 epochs"),
        (SWAG(every=9, unit="step"), "1 state in the 24 steps of the run, with a burn-in of 12 and every=9"),
        (SWAG(1, burn_in=1.0), "burn_in is a share"),
        (SWAG(0), "n_samples must be a whole number of at least 1; got 0"),
        (SWAG(rank=1), "rank must be 0, for the diagonal alone, or at least 2"),
        (SWAG(rank=-1), "rank must be a whole number of at least 0; got -1"),
        (SWAG(every=0), "every must be a whole number of at least 1; got 0"),
        (SWAG(unit="batch"), "unit must be 'epoch' or 'step'; got 'batch'"),
        (SWAG(lr=0.0), "lr must be a finite learning rate above 0"),
        (SWAG(lr="net"), "lr must be a finite learning rate above 0, or None for that of the net; got 'net'"),
        (SWAG(scale="x"), "scale is a factor on the covariance, finite and at least 0; got 'x'"),
        (SWAG(scale=-1.0), "scale is a factor on the covariance, finite and at least 0; got -1.0"),
        (MultiSWAG(0), "n_runs must be a whole number of at least 1; got 0"),
    ],
    ids=repr,
)
def test_what_gives_no_gaussian_is_refused(collector, message):
    with pytest.raises(ValueError, match=message):
        collect_with(collector)


def test_a_rate_of_zero_is_refused_where_it_would_be_scaled():
    with pytest.raises(ValueError, match="SWAG sets the learning rate by a factor on the net's own, which is 0"):
        collect_with(SWAG(lr=0.1), lr=0.0)


class Ends(Callback):
    """Ends the training in an epoch, before its state is seen."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, net, **_):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


def test_a_run_that_ends_early_says_so():
    with pytest.raises(ValueError, match="'swag' ended after 1 of the 4 states .* takes at least 2. Take the callback"):
        collect_with(SWAG(2), Ends(6))
    with pytest.warns(UserWarning, match="'swag' ended after 3 of the 4 states that its Gaussian was to be fitted to."):
        pool = collect_with(SWAG(2), Ends(8))
    assert [m.meta["n_states"] for m in pool] == [3, 3]


def test_a_run_that_is_ended_on_purpose_leaves_its_last_state():
    class Stops(Progress):
        def begin(self, name, n_epochs):
            return lambda epoch, net: epoch == 5

    pool = SWAG(2)(problems.sized_net(max_epochs=8), ROWS, np.random.RandomState(0), progress=Stops())
    assert pool.names == ["swag"]
    assert pool[0].meta["epoch"] == 5


def test_an_interrupted_run_has_no_members():
    recorder = Draws(SWAG(), 0, 4, lambda module, state, last: state, seed=0)
    for epoch in range(1, 4):
        recorder.after_epoch(epoch, SimpleNamespace(module_=nn.Linear(2, 1)))
    assert recorder.members("swag") == []
