"""ElasticBand: the pass of a known potential, springs, and what it leaves as it was."""

import math

import numpy as np
import pytest
import torch
from connect.strings.potentials import MULLER_BROWN_MINIMA, bowl, muller_brown, objective, on_circle, ring

from skfusion.connect import AutoNEB, ElasticBand, Line
from skfusion.objective import Batch, ModuleObjective
from skfusion.testing import _problems as problems

CHAINS = pytest.mark.parametrize("make", [ElasticBand, AutoNEB])


def heights(path, potential):
    return np.array([float(potential(c["w"])) for c in path.controls])


def test_the_highest_pivot_is_at_the_pass_of_muller_and_brown():
    """The saddle between the two deepest minima: -40.665 at (-0.822, 0.624), at a pivot of the band or between two."""
    path = ElasticBand(n_bends=39, n_epochs=8, lr=2e-4, momentum=0.8)(MULLER_BROWN_MINIMA, objective(muller_brown, 20))
    line = Line()(MULLER_BROWN_MINIMA)
    assert max(float(muller_brown(line.at(t)["w"])) for t in np.linspace(0, 1, 101)) == pytest.approx(12.6, abs=0.1)
    found = heights(path, muller_brown)
    assert found.max() == pytest.approx(-40.7, abs=0.15)
    np.testing.assert_allclose(path.controls[found.argmax()]["w"], [-0.822, 0.624], atol=0.03)
    assert path.controls[0] is MULLER_BROWN_MINIMA[0]
    assert path.controls[-1] is MULLER_BROWN_MINIMA[1]


def test_pivots_keep_their_distances():
    path = ElasticBand(n_bends=9, n_epochs=40, lr=0.02)([on_circle(0), on_circle(150)], objective(ring))
    gaps = np.diff(path.arc(path.grid(11)))
    assert np.ptp(gaps) < 0.02 * gaps.mean()
    assert path.length(11) == pytest.approx(math.radians(150), rel=0.02)
    assert heights(path, ring).max() < 1e-3


def test_springs_keep_pivots_apart_and_a_slack_band_does_not():
    ends = [on_circle(0), on_circle(150)]
    stiff, slack = (ElasticBand(9, 60, lr=0.02, spring=k)(ends, objective(ring)) for k in (1.0, 0.0))
    spread = [np.ptp(np.diff(p.arc(p.grid(11)))) for p in (stiff, slack)]
    assert spread[0] < 0.5 * spread[1]
    for path in (stiff, slack):
        assert heights(path, ring).max() < 0.01


@CHAINS
def test_weight_decay_is_across_the_band_too(make):
    """On a ring, decay draws pivots inwards; without it they lie on the ring."""
    ends = [on_circle(0), on_circle(90)]
    inside = make(n_epochs=40, lr=0.02, weight_decay=0.4)(ends, objective(ring))
    free = make(n_epochs=40, lr=0.02)(ends, objective(ring))
    radii = [np.array([float(c["w"].norm()) for c in p.controls[1:-1]]) for p in (inside, free)]
    # the slope of the ring, 4 r (r^2 - 1), and that of the decay, 0.4 r, are in balance at r^2 = 0.9
    assert radii[0].mean() == pytest.approx(math.sqrt(0.9), abs=0.02)
    assert radii[1].mean() == pytest.approx(1.0, abs=0.01)


@CHAINS
def test_what_a_convex_loss_says_of_the_line_is_kept(make):
    ends = [on_circle(10), on_circle(100)]
    path = make(n_epochs=5, lr=0.01)(ends, objective(bowl))
    line = Line()(ends)
    highest = max(float(bowl(line.at(t)["w"])) for t in np.linspace(0, 1, 21))
    assert max(float(bowl(path.at(t)["w"])) for t in np.linspace(0, 1, 200)) <= highest + 1e-9


@CHAINS
def test_a_band_that_gets_worse_is_not_returned(make):
    """At such a rate pivots are thrown out of the valley; the line is the better path."""
    ends = [on_circle(0), on_circle(20)]
    path = make(n_epochs=1, lr=0.9, momentum=0.0)(ends, objective(lambda w: 0.1 * ring(w) + 10 * ring(w) ** 2, 1))
    line = max(float(ring(Line()(ends).at(t)["w"])) for t in np.linspace(0, 1, 101))
    assert heights(path, ring).max() <= line + 1e-9


@CHAINS
def test_equal_ends_are_joined_without_training(make):
    a, _ = problems.ends()
    path = make()([a, {k: v.clone() for k, v in a.items()}], problems.to_train())
    assert path.history == ()
    assert len(path.controls) == 2
    assert path.at(0.0) is a


@CHAINS
def test_what_is_equal_in_both_ends_stays_and_frozen_parts_are_those_of_the_line(make):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2), torch.nn.Linear(2, 2))
    module[0].requires_grad_(False)
    ends = [{k: torch.randn_like(v) for k, v in module.state_dict().items()} for _ in range(2)]
    ends[1]["3.weight"] = ends[0]["3.weight"].clone()
    x = torch.randn(40, 3)
    rows = [Batch(part, (part[:, 0] > 0).long()) for part in x.split(20)]
    data = ModuleObjective(module, lambda: rows, criterion=lambda out, b: torch.nn.functional.cross_entropy(out, b.y))
    path = make(n_epochs=3)(ends, data)
    for k, control in enumerate(path.controls[1:-1], 1):
        assert torch.allclose(control["3.weight"], ends[0]["3.weight"])
        along = (control["0.weight"] - ends[0]["0.weight"]) / (ends[1]["0.weight"] - ends[0]["0.weight"])
        assert float(along.max() - along.min()) < 1e-4
        assert not torch.allclose(control["2.weight"], ends[0]["2.weight"].lerp(ends[1]["2.weight"], along.mean())), k


@CHAINS
def test_history_is_the_mean_loss_of_the_pivots_of_each_epoch(make):
    extra = {"n_cycles": 1, "n_bends": 9} if make is AutoNEB else {}
    path = make(n_epochs=3, lr=0.0, **extra)([on_circle(0), on_circle(90)], objective(ring))
    assert path.history == pytest.approx([heights(path, ring).mean()] * 3)


@CHAINS
@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"n_bends": 0}, ValueError, "n_bends must be a whole number of at least 1; got 0"),
        ({"n_epochs": -1}, ValueError, "n_epochs must be a whole number of at least 0"),
        ({"lr": -1.0}, ValueError, "lr must be finite and at least 0"),
        ({"momentum": 1.0}, ValueError, "momentum must be below 1"),
        ({"weight_decay": float("nan")}, ValueError, "weight_decay must be finite"),
        ({"spring": "stiff"}, TypeError, "spring must be a number; got 'stiff'"),
        ({"spring": -1.0}, ValueError, "spring must be at least 0, or infinite; got -1.0"),
        ({"spring": float("nan")}, ValueError, "spring must be at least 0"),
        ({"random_state": None}, ValueError, "random_state must be a whole number"),
    ],
)
def test_parameters_out_of_range_are_refused(make, params, error, message):
    with pytest.raises(error, match=message):
        make(**params)([on_circle(0), on_circle(90)], objective(ring))


@CHAINS
def test_what_is_missing_is_named(make):
    ends = [on_circle(0), on_circle(90)]
    with pytest.raises(ValueError, match=rf"{make.__name__} trains on labelled rows: give it an objective"):
        make()(ends, None)
    blind = ModuleObjective(objective(ring).module, lambda: [Batch(torch.zeros(1), None)], criterion=ring)
    with pytest.raises(ValueError, match=rf"{make.__name__} trains on labelled rows, and the labels are missing"):
        make()(ends, blind)
    with pytest.raises(ValueError, match="the objective has none"):
        make()(ends, objective(ring, 0))
    with pytest.raises(ValueError, match=r"diverged in epoch \d+: its loss is (inf|nan)"):
        make(n_epochs=30, lr=1e6)(ends, objective(ring))
