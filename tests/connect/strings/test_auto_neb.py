"""AutoNEB: where pivots are put, and which cycle is returned."""

import math

import numpy as np
import pytest
from connect.strings.potentials import objective, on_circle, ring

from skfusion.connect import AutoNEB, ElasticBand
from skfusion.connect.strings._auto_neb import hills
from skfusion.connect.strings._band import Band
from skfusion.landscape import loss_along, segment
from skfusion.testing import _problems as problems


def profile(*links, last=0.0):
    """A profile by its links, each with the loss at its first pivot and at three points."""
    return np.array([*links, [last, *[math.nan] * 3]])


def test_pivots_are_put_where_the_loss_rises_most_above_the_line_between_neighbours():
    steep = profile([0.0, 0.1, 0.9, 0.3], [0.0, 0.0, 0.0, 0.0], [0.0, 0.25, 0.5, 2.0], last=1.0)
    assert hills(steep, 0.1, 2) == [(2, 0.75), (0, 0.5)]
    assert hills(steep, 0.1, 1) == [(2, 0.75)]
    assert hills(steep, 0.5, 2) == [(2, 0.75)]
    assert hills(steep, 0.1, 0) == []


def test_a_slope_and_a_dent_are_no_hill():
    assert hills(profile([0.0, 1.0, 2.0, 3.0], [4.0, 3.0, 2.0, 1.0]), 0.0, 9) == []
    assert hills(profile([5.0, 1.0, 1.0, 1.0], last=5.0), 0.0, 9) == []
    assert hills(profile([1.0, 1.0, 1.0, 1.0], last=1.0), 0.0, 9) == []


def test_links_share_their_length_as_the_new_pivot_cuts_them():
    ends = [on_circle(0), on_circle(90)]
    band = Band(ElasticBand(), ends, objective(ring))
    band.insert_evenly(3)
    quarter = math.sqrt(2) / 4
    assert band.spacing == pytest.approx([quarter] * 4)
    assert [float(c["w"][0]) for c in band.controls] == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])
    band.insert([(3, 0.25), (0, 0.5)])
    assert band.spacing == pytest.approx([*[quarter / 2] * 2, quarter, quarter, quarter / 4, 3 * quarter / 4])
    assert [float(c["w"][0]) for c in band.controls] == pytest.approx([1.0, 0.875, 0.75, 0.5, 0.25, 0.1875, 0.0])
    assert band.controls[0] is ends[0]
    assert band.controls[-1] is ends[1]


def test_the_profile_is_the_loss_along_the_chain():
    band = Band(ElasticBand(), [on_circle(0), on_circle(90)], objective(ring))
    band.insert_evenly(1)
    a, b, c = (control["w"] for control in band.controls)
    shares = (0.0, 0.25, 0.5, 0.75)
    expected = [[float(ring(p.lerp(q, s))) for s in shares] for p, q in ((a, b), (b, c))]
    found = band.profile(3)
    np.testing.assert_allclose(found[:2], expected, atol=1e-12)
    assert found[2, 0] == pytest.approx(float(ring(c)))
    assert np.isnan(found[2, 1:]).all()


def test_pivots_are_added_until_the_chain_follows_the_ring():
    ends, data = [on_circle(0), on_circle(170)], objective(ring)
    few, many = (AutoNEB(n_bends=1, n_cycles=n, n_epochs=20, lr=0.02)(ends, data) for n in (1, 8))
    assert len(few.controls) == 3
    assert len(few.controls) < len(many.controls) <= 3 + 2 * 7
    worst = [max(float(ring(p.at(t)["w"])) for t in np.linspace(0, 1, 201)) for p in (few, many)]
    assert worst[1] < 0.1 * worst[0]
    assert many.length(301) == pytest.approx(math.radians(170), rel=0.03)


def test_nothing_is_added_where_nothing_may_be():
    ends, data = [on_circle(0), on_circle(170)], objective(ring)
    for params in ({"n_inserted": 0}, {"threshold": 2.0}):
        assert len(AutoNEB(n_bends=2, n_cycles=3, n_epochs=2, lr=0.02, **params)(ends, data).controls) == 4


def test_the_learning_rate_falls_with_the_cycles():
    band = AutoNEB(n_cycles=8)
    assert [band._rate(cycle, 0.5) for cycle in range(8)] == [1.0] * 4 + [0.1] * 2 + [0.01] * 2


def test_between_networks_the_path_is_far_below_the_line():
    ends, data = problems.ends(), problems.to_train()
    path = AutoNEB(n_epochs=10, n_cycles=4, n_points=3)(ends, data)
    found = loss_along(path, data, 41)
    worst = found.loss[[0, -1]].max()
    line = loss_along(segment(*ends), data, 41).loss.max()
    assert line > worst + 0.3
    assert found.loss.max() < worst + 0.3 * (line - worst)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_cycles": 0}, "n_cycles must be a whole number of at least 1; got 0"),
        ({"n_points": 0}, "n_points must be a whole number of at least 1; got 0"),
        ({"n_inserted": -1}, "n_inserted must be a whole number of at least 0; got -1"),
        ({"threshold": -0.1}, "threshold must be finite and at least 0; got -0.1"),
    ],
)
def test_parameters_of_the_cycles_are_checked(params, message):
    with pytest.raises(ValueError, match=message):
        AutoNEB(**params).check()
