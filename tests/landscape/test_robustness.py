"""Points of a subspace under attacks, and at any points of it."""

import numpy as np
import pytest
import torch
from torch import nn

from skfusion.connect import Attack, Bezier, Line, Spokes, StarDomain
from skfusion.landscape import Robustness, loss_along, loss_at, robustness_at
from skfusion.objective import Batch, Likelihood, ModuleObjective
from skfusion.repair import Recalibrate
from skfusion.testing import _problems as problems

ATTACKS = [Attack(l_inf=0.1), Attack(l2=0.3), Attack(l1=0.4)]


def objective():
    """A perceptron with dropout, of 6 inputs from 0 to 1 and 3 classes, on 40 held-out rows in two batches."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 3))
        x, y = torch.rand(40, 6), torch.randint(3, (40,))
        others = [nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 3)) for _ in range(2)]
    batches = [Batch(x[:25], y[:25]), Batch(x[25:], y[25:])]
    data = ModuleObjective(
        net,
        lambda: batches,
        held_out=lambda: batches,
        criterion=lambda out, batch: nn.functional.cross_entropy(out, batch.y),
        likelihood=Likelihood("categorical", lambda out: out),
    )
    return data, [{k: v.detach() for k, v in other.state_dict().items()} for other in others]


def test_accuracy_and_loss_are_those_of_each_attack_by_hand():
    data, ends = objective()
    path = Line()(ends)
    found = robustness_at(path, path.grid(3), data, ATTACKS)
    assert found.accuracy.shape == found.loss.shape == (4, 3)
    data.module.eval()
    for place, t in enumerate(path.grid(3)):
        right = np.ones(40, bool)
        for number, attack in enumerate([Attack(), *ATTACKS]):
            changed = [attack.on(data, path.at(t), batch) for batch in data.held_out()]
            out = torch.cat([data.forward(path.at(t), batch.x) for batch in changed])
            y = torch.cat([batch.y for batch in changed])
            hit = (out.argmax(1) == y).numpy()
            right &= hit
            assert found.accuracy[number, place] == pytest.approx(hit.mean())
            assert found.loss[number, place] == pytest.approx(float(nn.functional.cross_entropy(out, y)), rel=1e-5)
        assert found.worst_accuracy[place] == pytest.approx(right.mean())


def test_the_worst_case_is_no_better_than_any():
    data, ends = objective()
    path = Line()(ends)
    found = robustness_at(path, path.grid(5), data, ATTACKS)
    assert (found.worst_accuracy <= found.accuracy.min(axis=0)).all()
    assert (found.worst_loss >= found.loss.max(axis=0) - 1e-7).all()
    assert (found.loss[1:] >= found.loss[0] - 1e-7).all()
    assert (found.loss[1:] > found.loss[0]).any()


def test_the_module_is_evaluated_and_left_as_it_was():
    data, ends = objective()
    data.module.train()
    data.module[1].eval()
    before = [m.training for m in data.module.modules()]
    first, second = (robustness_at(Line()(ends), [0.5], data, ATTACKS) for _ in range(2))
    assert [m.training for m in data.module.modules()] == before
    np.testing.assert_array_equal(first.loss, second.loss)  # no dropout


def test_the_best_point_has_the_highest_worst_accuracy_and_then_the_lowest_loss():
    nothing = np.zeros((1, 4))
    found = Robustness([0.0, 0.3, 0.6, 1.0], nothing, nothing, np.array([0.5, 0.8, 0.8, 0.7]), np.array([0.1, 3, 2, 1]))
    assert found.best == 0.6
    unknown = np.full(4, np.nan)
    assert Robustness(found.points, nothing, nothing, unknown, np.array([2, np.nan, 1, 3])).best == 0.6


def test_values_have_losses_only():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net, x = nn.Linear(3, 1), torch.rand(10, 3)
        ends = [{k: torch.rand(v.shape) for k, v in net.state_dict().items()} for _ in range(2)]
    rows = [Batch(x, x[:, :1])]
    data = ModuleObjective(
        net, lambda: rows, held_out=lambda: rows, criterion=lambda out, batch: (out - batch.y).square().mean()
    )
    found = robustness_at(Line()(ends), [0.0, 1.0], data, ATTACKS)
    assert np.isnan(found.accuracy).all()
    assert found.best in (0.0, 1.0)
    assert found.best == found.points[int(found.worst_loss.argmin())]


def test_inner_points_are_recalibrated_and_ends_are_not():
    ends, data = problems.ends(), problems.to_train()
    path = Line()(ends)
    found = robustness_at(path, path.grid(3), data, [])
    np.testing.assert_allclose(found.loss[0], loss_along(path, data, 3).loss, rtol=1e-4)
    by_hand = robustness_at(path, [0.5], data, [Attack()], Recalibrate(n_passes=1))
    assert by_hand.loss[0] == pytest.approx(found.loss[0, 1:2], rel=1e-6)
    np.testing.assert_array_equal(by_hand.loss[0], by_hand.loss[1])  # an attack without a radius


def test_points_of_a_subspace_without_networks_are_recalibrated_too():
    ends, data = problems.ends(), problems.to_train()
    path = Line()(ends).replace(own_ends=False)  # as of a line that is trained from scratch
    found = robustness_at(path, path.grid(3), data, [])
    np.testing.assert_allclose(found.loss[0], loss_along(path, data, 3).loss, rtol=1e-4)


def test_rows_count_by_their_weights():
    """A row of weight 3 is three rows of weight 1."""
    data, ends = objective()
    (batch, _), number = data.batches(), torch.tensor([1, 3] * 12 + [0])
    many = torch.arange(25).repeat_interleave(number)
    versions = [Batch(batch.x, batch.y, number.float()), Batch(batch.x[many], batch.y[many])]
    found = []
    for rows in versions:
        data.held_out = lambda rows=rows: [rows]
        found.append(robustness_at(Line()(ends), [0.0, 0.5], data, ATTACKS))
    for name in ("accuracy", "loss", "worst_accuracy", "worst_loss"):
        np.testing.assert_allclose(*(getattr(each, name) for each in found), rtol=1e-5)
    assert (found[0].accuracy[0] != robustness_at(Line()(ends), [0.0, 0.5], objective()[0], []).accuracy[0]).any()


def test_an_objective_without_held_out_rows_is_refused():
    ends, data = problems.ends(), problems.to_train()
    lacking = ModuleObjective(data.module, data.batches, criterion=data.criterion)
    with pytest.raises(ValueError, match="held-out rows by a criterion"):
        robustness_at(Line()(ends), [0.5], lacking, ATTACKS)


# ---- losses at any points --------------------------------------------------------------------------------------------


def test_losses_at_points_of_a_path_are_those_along_it():
    ends, data = problems.ends(), problems.to_train()
    path = Bezier(n_epochs=2)(ends, data)
    found, along = loss_at(path, path.grid(9), data), loss_along(path, data, 9)
    np.testing.assert_allclose(found.loss, along.loss, rtol=1e-5)
    np.testing.assert_allclose(found.score, along.score, rtol=1e-5)


def test_losses_at_points_of_a_star_are_those_of_its_segments():
    ends, data = problems.ends(), problems.to_train()
    star = StarDomain([Line()(ends).at(0.4), *ends], Spokes(2))
    found = loss_at(star, [(1, 0.0), (1, 0.5), (1, 1.0)], data)
    assert found.points == [(1, 0.0), (1, 0.5), (1, 1.0)]
    along = loss_along(star.segment(1), data, 3)
    np.testing.assert_allclose(found.loss[:2], along.loss[:2], rtol=1e-4)
    assert found.loss[2] == pytest.approx(data.loss(ends[1]), rel=1e-6)  # a network has its own statistics
