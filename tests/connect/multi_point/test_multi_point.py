"""Planes of networks in three vectors: their cells, their axes, and what draws a picture."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from skfusion.connect import CellPlane, Cells, MultiPoint
from skfusion.connect.multi_point._plane_training import drawn_axes, orthogonalised
from skfusion.landscape import loss_at
from skfusion.objective import Batch, ModuleObjective
from skfusion.testing import _problems as problems

RING = [[1, 1, 1], [1, -1, 1], [1, 1, 1]]


def seeded(make, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def perceptron():
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def start(*seeds):
    return [{k: v.detach() for k, v in seeded(perceptron, seed).state_dict().items()} for seed in seeds]


def objective(n_batches=4):
    x = seeded(lambda: torch.randn(20 * n_batches, 4), 5).double()
    batches = [Batch(part, (part[:, 0] > 0).long() + (part[:, 1] > 0).long()) for part in x.split(20)]

    def loss(state):
        with torch.no_grad():
            parts = [nn.functional.cross_entropy(data.forward(state, b.x), b.y) for b in batches]
        return float(torch.stack(parts).mean())

    data = ModuleObjective(
        seeded(perceptron),
        lambda: batches,
        loss,
        lambda state: -loss(state),
        held_out=lambda: batches,
        criterion=lambda out, batch: nn.functional.cross_entropy(out, batch.y),
    )
    return data


def flatten(state):
    """Return the numbers of a state in the order of its tensors."""
    return torch.cat([t.flatten() for t in state.values()])


def axes_of(plane):
    o, *others = (flatten(state) for state in plane.controls)
    return torch.stack([other - o for other in others])


def assert_orthogonal(axes):
    (uu, uv), (_, vv) = (axes.double() @ axes.double().T).tolist()
    assert uv == pytest.approx(0, abs=1e-6 * uu)
    assert vv == pytest.approx(uu, rel=1e-6)


# ---- points ----------------------------------------------------------------------------------------------------------


def test_three_vectors_give_every_cell():
    rng = np.random.RandomState(0)
    o, u, v = rng.normal(size=(3, 6))
    plane = CellPlane([{"w": torch.from_numpy(w)} for w in (o, o + u, o + v)], Cells(np.ones((4, 7))))
    assert len(plane.cells()) == 28
    for i, j in plane.cells():
        np.testing.assert_allclose(plane.at((i, j))["w"], o + (i - 1.5) * u + (j - 3) * v, rtol=0, atol=1e-12)
        assert plane.weights((i, j)).sum() == pytest.approx(1, abs=1e-12)


def test_cells_are_listed_by_their_kind_row_by_row():
    plane = CellPlane([{"w": torch.zeros(1)}] * 3, Cells([[1, 0, -1], [1, 1, -1]]))
    assert plane.cells(1) == [(0, 0), (1, 0), (1, 1)]
    assert plane.cells(-1) == [(0, 2), (1, 2)]
    assert plane.cells(0) == [(0, 1)]
    assert plane.cells() == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert plane.networks == ()


def test_the_domain_is_the_rectangle_between_the_cells():
    cells = Cells(np.ones((3, 5)))
    assert cells.within((2, 4)) == (2.0, 4.0)
    assert cells.grid(2, 3) == [(0.0, 0.0), (0.0, 4.0), (2.0, 0.0), (2.0, 4.0)]
    assert cells.weights(cells.center(3), 3).tolist() == [1.0, 0.0, 0.0]
    points = np.array([cells.sample(np.random.RandomState(k), 3) for k in range(500)])
    assert points.min() >= 0
    np.testing.assert_allclose(points.mean(axis=0), [1, 2], rtol=0, atol=0.15)
    np.testing.assert_allclose(points.max(axis=0), [2, 4], rtol=0, atol=0.1)


@pytest.mark.parametrize("point", [(3, 0), (0, 5), (-0.1, 0), (math.nan, 0), (0, 0, 0), 1.0])
def test_points_outside_the_rectangle_are_refused(point):
    plane = CellPlane([{"w": torch.zeros(1)}] * 3, Cells(np.ones((3, 5))))
    with pytest.raises(ValueError, match="a row from 0 to 2 and a column from 0 to 4"):
        plane.at(point)


@pytest.mark.parametrize("shape", [(3, 5), (1, 4), (2, 2)])
def test_the_nearest_point_is_no_further_than_any_other(shape):
    rng, cells = np.random.RandomState(0), Cells(np.ones(shape))
    for _ in range(20):
        o, u, v = rng.normal(size=(3, 6))
        controls = np.array([o, o + u, o + v])
        found = cells.within(cells.nearest(controls @ controls.T))
        distance = np.linalg.norm(cells.weights(found, 3) @ controls)
        every = [np.linalg.norm(cells.weights(p, 3) @ controls) for p in cells.grid(41, 3)]
        assert distance <= min(every) + 1e-12
        assert distance == pytest.approx(min(every), rel=1e-2)


# ---- axes ------------------------------------------------------------------------------------------------------------


def test_axes_become_the_nearest_ones_that_are_orthogonal_and_equally_long():
    axes = seeded(lambda: torch.randn(2, 9, dtype=torch.float64))
    found = orthogonalised(axes)
    assert_orthogonal(found)
    torch.testing.assert_close(orthogonalised(found), found)
    torch.testing.assert_close(orthogonalised(axes.flip(0)), found.flip(0))
    distance = (found - axes).norm()
    for seed in range(20):  # others in the same plane and in others
        nudged = orthogonalised(found + 0.1 * seeded(lambda: torch.randn(2, 9, dtype=torch.float64), seed))
        assert (nudged - axes).norm() > distance


def test_parallel_axes_are_refused():
    a, b = start(1, 2)
    with pytest.raises(ValueError, match="axes of the plane are parallel"):
        MultiPoint()([a, b, {k: 2 * v for k, v in b.items()}], objective())


def test_drawn_axes_are_as_long_as_the_network_tensor_by_tensor():
    network = torch.cat([torch.full((6,), 2.0), torch.zeros(3), torch.full((4,), 0.5)])
    axes = drawn_axes(network, [6, 3, 4], 2, 0)
    for part, size in ((slice(0, 6), 24**0.5), (slice(6, 9), 0.0), (slice(9, 13), 1.0)):
        torch.testing.assert_close(axes[:, part].norm(dim=1), torch.full((2,), size))
    assert not torch.equal(axes[0], axes[1])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_states_are_where_origin_and_axes_start(n):
    states = start(1, 2, 3)[:n]
    plane = MultiPoint(RING, spacing=0.2, n_epochs=0)(states, objective())
    torch.testing.assert_close(flatten(plane.controls[0]), flatten(states[0]))
    axes = axes_of(plane)
    assert_orthogonal(axes)
    if n == 3:
        given = 0.2 * torch.stack([flatten(s) for s in states[1:]])
        torch.testing.assert_close(axes, orthogonalised(given))
    assert plane.history == ()


def test_axes_stay_orthogonal_and_equally_long_in_training():
    plane = MultiPoint(RING, n_cells=3, n_epochs=3, lr=0.02)(start(1), objective())
    assert_orthogonal(axes_of(plane))


# ---- training --------------------------------------------------------------------------------------------------------


def test_one_good_cell_is_ordinary_training():
    data, (first,) = objective(), start(1)
    plane = MultiPoint([[1]], n_epochs=3, lr=0.01)([first], data)
    module = seeded(perceptron, 1)
    optimizer, history = torch.optim.Adam(module.parameters(), lr=0.01), []
    for epoch in range(3):
        losses = []
        for number, batch in enumerate(data.training()):
            done = (epoch + (number / 4 if epoch else 0)) / 3
            rate = 1.0 if done < 0.5 else 0.01 if done > 0.9 else 1.0 - (done - 0.5) / 0.4 * 0.99
            optimizer.param_groups[0]["lr"] = 0.01 * rate
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(module(batch.x), batch.y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        history.append(np.mean(losses))
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(plane.controls[0][name], parameter.detach(), rtol=0, atol=1e-9)
    assert plane.history == pytest.approx(history, abs=1e-9)


def test_a_step_is_that_of_the_losses_of_its_cells_by_hand():
    mask = [[1, -1, 0], [-1, 1, 1]]
    states, data = start(1, 2, 3), objective(1)
    made = MultiPoint(mask, n_cells=2, bad_weight=0.7, ceiling=1.165, n_epochs=1, lr=0.05, random_state=3)
    plane = made(states, data)
    rng, mask = np.random.RandomState(3), np.array(mask)
    drawn = {}
    for kind in (1, -1):
        cells = np.argwhere(mask == kind)
        drawn[kind] = cells[rng.choice(len(cells), 2, replace=False)] - [0.5, 1.0]
    axes = orthogonalised(0.1 * torch.stack([flatten(s) for s in states[1:]]))
    vectors = torch.cat([flatten(states[0])[None], axes]).requires_grad_()
    (batch,) = data.training()

    def loss(step):
        point, parts = vectors[0] + step[0] * vectors[1] + step[1] * vectors[2], {}
        for name, value in states[0].items():
            parts[name], point = point[: value.numel()].view(value.shape), point[value.numel() :]
        return nn.functional.cross_entropy(torch.func.functional_call(data.module, parts, batch.x), batch.y)

    good, bad = (torch.stack([loss(step) for step in drawn[kind].tolist()]) for kind in (1, -1))
    assert (bad > 1.165).any() != (bad > 1.165).all()  # one of them is bad enough
    optimizer = torch.optim.Adam([vectors], lr=0.05)
    (good.mean() - 0.7 * bad.clamp(max=1.165).mean()).backward()
    optimizer.step()
    trained = vectors.detach()
    expected = torch.cat([trained[:1], orthogonalised(trained[1:])])
    torch.testing.assert_close(flatten(plane.controls[0]), expected[0], rtol=0, atol=1e-8)
    torch.testing.assert_close(axes_of(plane), expected[1:], rtol=0, atol=1e-8)
    assert plane.history == pytest.approx([good.mean().item()])


def test_good_cells_are_better_than_bad_ones():
    data = objective(2)
    plane = MultiPoint(RING, n_cells=4, n_epochs=150, lr=0.01)(start(1), data)
    good, bad = (loss_at(plane, plane.cells(kind), data).loss for kind in (1, -1))
    assert good.max() < 0.6 < 1.5 < bad.min()


def test_a_mask_of_good_cells_gives_a_plane_of_low_loss():
    data = objective(2)
    plane = MultiPoint(n_cells=4, n_epochs=120, lr=0.01)(start(1), data)
    assert plane.basis.shape == (5, 5)
    assert loss_at(plane, plane.cells(), data).loss.max() < 0.7 < data.loss(start(1)[0])


def test_networks_are_left_as_they_were_and_are_not_part_of_the_plane():
    states, data = start(1, 2), objective()
    before = problems.snapshot(states)
    plane = MultiPoint(RING, n_epochs=1)(states, data)
    assert problems.snapshot(states) == before
    assert not torch.equal(plane.controls[0]["0.weight"], states[0]["0.weight"])


def test_control_states_do_not_keep_one_another_in_memory():
    plane = MultiPoint(RING, n_epochs=1)(start(1), objective())
    places = [{t.untyped_storage().data_ptr() for t in state.values()} for state in plane.controls]
    assert not places[0] & places[1]
    size = sum(t.numel() * t.element_size() for t in plane.controls[0].values())
    held = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in plane.controls[0].values()}
    assert sum(held.values()) == size


def test_statistics_and_frozen_tensors_are_those_of_the_first_network():
    states, data = problems.ends(), problems.to_train()
    data.module[0].bias.requires_grad_(False)
    plane = MultiPoint(RING, n_epochs=1)(states, data)
    for state in plane.controls:
        for name in ("1.running_mean", "1.running_var", "0.bias"):
            assert torch.equal(state[name], states[0][name])


def test_gradients_are_cut_off_at_their_length():
    """Adam goes as far with gradients of any length, but for the one of them that is cut off after others were not."""
    steep = objective(2)
    steep.criterion = lambda out, batch: (1e3 if batch.x is steep_batch.x else 1e-3) * out.square().mean()
    steep_batch = [*steep.batches()][1]
    short, long = (MultiPoint([[1]], n_epochs=1, max_norm=m)(start(1), steep).controls[0] for m in (1e-3, 1e9))
    assert not torch.allclose(short["0.weight"], long["0.weight"], rtol=0, atol=1e-5)


# ---- what cannot be trained ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"mask": [[1, 2]]}, "1 for good networks, -1 for bad ones, and 0 for any"),
        ({"mask": [1, 1]}, "a row and a column for each cell"),
        ({"mask": np.zeros((0, 3))}, "a row and a column for each cell"),
        ({"mask": [[0, -1]]}, "no cell that is 1"),
        ({"n_cells": 0}, "n_cells must be a whole number of at least 1"),
        ({"spacing": 0.0}, "spacing must be above 0"),
        ({"ceiling": -1.0}, "ceiling must be finite and at least 0"),
        ({"n_epochs": 1.5}, "n_epochs must be a whole number"),
    ],
)
def test_settings_that_make_no_sense_are_refused(params, says):
    with pytest.raises(ValueError, match=says):
        MultiPoint(**params)(start(1), objective())


def test_none_and_more_than_three_networks_are_refused():
    for n, says in ((0, "No states"), (4, "at most 3 networks; got 4")):
        with pytest.raises(ValueError, match=says):
            MultiPoint()(start(1, 2, 3, 4)[:n], objective())


def test_a_plane_needs_labels():
    with pytest.raises(ValueError, match="MultiPoint trains on labelled rows"):
        MultiPoint()(start(1))


def test_a_training_that_diverges_says_so():
    with pytest.raises(ValueError, match="diverged"):
        MultiPoint(lr=1e308, n_epochs=3)(start(1), objective())
