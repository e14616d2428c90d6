"""Subspaces by the domain of their basis: paths, and a simplex as another domain."""

import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skfusion.connect import Basis, Line, Path, PolyChain, Subspace
from skfusion.connect._train import train
from skfusion.state import weighted_sum
from skfusion.testing import _problems as problems


class Barycentric(Basis):
    """Points are the weights of the corners themselves."""

    def weights(self, point, n_controls):
        return np.asarray(point, np.float64)

    def within(self, point):
        if min(point) < 0 or abs(sum(point) - 1) > 1e-9:
            raise ValueError(f"The point {point} is not in the simplex.")
        return point

    def sample(self, rng, n_controls):
        return rng.dirichlet(np.ones(n_controls))

    def grid(self, n_points, n_controls):
        return [*np.eye(n_controls)]


class Simplex(Subspace):
    @property
    def networks(self):
        return tuple(range(len(self.controls)))


def vectors(*values):
    return [{"w": torch.tensor(v, dtype=torch.float64)} for v in values]


def test_points_of_another_domain():
    simplex = Simplex(vectors([0.0, 0.0], [4.0, 0.0], [0.0, 8.0]), Barycentric())
    assert simplex.at([0.5, 0.25, 0.25])["w"].tolist() == [1.0, 2.0]
    for corner, control in zip(simplex.grid(2), simplex.controls, strict=True):
        assert simplex.at(corner) is control
    x, y = simplex.sample(np.random.RandomState(0))["w"].tolist()
    assert 0 < x < 4
    assert 0 < y < 8
    with pytest.raises(ValueError, match="not in the simplex"):
        simplex.at([2.0, -1.0, 0.0])
    assert repr(simplex).startswith("Simplex(3 states, ")


def test_the_free_corner_of_a_simplex_is_trained():
    data, (a, b) = problems.to_train(), problems.ends()
    settings = SimpleNamespace(n_epochs=30, lr=0.1, momentum=0.9, weight_decay=0.0, random_state=0)
    middle = weighted_sum([a, b], [0.5, 0.5])
    controls, history = train(settings, Barycentric(), [a, b, middle], [2], [a, b], data)
    assert controls[0] is a
    assert controls[1] is b
    assert not torch.equal(controls[2]["0.weight"], middle["0.weight"])
    assert np.mean(history[-5:]) < np.mean(history[:5])


def test_a_path_knows_its_ends_and_which_of_them_are_networks():
    a, b, c = vectors([0.0], [3.0], [1.0])
    path = Path([a, c, b], PolyChain())
    assert path.ends == (a, b)
    assert path.networks == (0, -1)
    assert path.replace(own_ends=False).networks == ()
    assert path.replace(history=[1.0]).history == (1.0,)
    assert path.grid(3) == [0.0, 0.5, 1.0]
    assert path.arc([0.0, 0.5, 1.0]).tolist() == pytest.approx([0.0, 1.0, 3.0])
    assert path.length(3) == pytest.approx(3.0)


def test_a_random_position_is_one_draw():
    path = Line()(vectors([0.0], [1.0]))
    rng = np.random.RandomState(3)
    assert path.sample(rng)["w"].item() == np.random.RandomState(3).uniform()


def page_of(subspace):
    shown = subspace._repr_html_()
    assert "<script" not in shown
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", shown, flags=re.S)))


def test_notebooks_show_what_a_subspace_is_made_of():
    states = [{"w": torch.full((3, 2), float(k)), "b": torch.zeros(2)} for k in range(3)]
    path = Path(states[:2], Line())
    shown = page_of(path)
    for words in (type(path).__name__, "control states 2", "networks 2 as their own training left them, at 0, 1"):
        assert words in shown
    assert "numbers 8 in each state" in shown
    assert "loss" not in shown
    trained = path.replace(history=[1.0, math.nan, 0.25, 0.125])
    assert "loss: 1 → 0.125, over 4 epochs; 1 that are not finite are left out" in page_of(trained)
    assert "loss nan" not in page_of(path.replace(history=[math.nan]))
    assert "loss 0.5 in the last of 1 epochs" in page_of(path.replace(history=[0.5]))


class _Open(Subspace):
    """All of its control states are networks."""

    @property
    def networks(self):
        return tuple(range(len(self.controls)))


def test_notebooks_show_the_first_of_many_networks():
    many = _Open([{"w": torch.full((2,), float(k))} for k in range(1000)], Barycentric())
    shown = page_of(many)
    assert "control states 1,000" in shown
    assert "9, 10, 11 and 988 more" in shown
    assert len(many._repr_html_()) < 5_000
