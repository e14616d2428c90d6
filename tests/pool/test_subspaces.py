"""Subspaces in the directory of a pool."""

import json
import math

import numpy as np
import pytest
import torch

from skfusion.connect import (
    Bezier,
    CellPlane,
    Cells,
    Complex,
    Fourier,
    Line,
    Path,
    PathBasis,
    PolyChain,
    SimplicialComplex,
    Spokes,
    StarDomain,
    Subdivision,
    WedgeSimplex,
)
from skfusion.pool import ModelPool, PoolFormatError, load_subspace, save_subspace

STATES = [{"w": torch.tensor([v, v**2]), "n": torch.tensor(3)} for v in (0.0, 1.0, 3.0)]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


SUBSPACES = {
    "simplex": SimplicialComplex(STATES, Complex([(0, 1, 2)]), [0.5, 0.25], [0, 2]),
    "complex": SimplicialComplex(STATES, Complex([(0, 2), (1, 2)], [0.3, 0.7])),
    "line": Path(STATES[:2], Line()),
    "chain": Path(STATES, PolyChain(n_epochs=3, lr=0.2), [1.0], own_ends=False),
    "bezier": Path(STATES, Bezier()),
    "star": StarDomain(STATES, Spokes(2)),
    "star of the middle": StarDomain(STATES, Spokes(2, math.inf), [2.0]),
    "wedge": WedgeSimplex(STATES, Subdivision(2)),
    "plane": CellPlane(STATES, Cells([[1, 0, -1], [1, 1, 1]])),
    "by length": Path(STATES, Fourier()).by_length(50),
}


@pytest.mark.parametrize("subspace", SUBSPACES.values(), ids=SUBSPACES)
def test_what_is_written_comes_back(subspace, tmp_path):
    save_subspace(subspace, tmp_path)
    again = load_subspace(tmp_path)
    assert type(again) is type(subspace)
    assert all(same(a, b) for a, b in zip(again.controls, subspace.controls, strict=True))
    assert again.history == subspace.history
    assert again.networks == subspace.networks
    assert repr(again) == repr(subspace)
    for point in subspace.spread(5):
        np.testing.assert_array_equal(again.weights(point), subspace.weights(point))
    assert ModelPool.load(tmp_path).names[:2] == ["control-0", "control-1"]


def test_a_pool_without_a_subspace_is_named(tmp_path):
    pool = tmp_path / "pool"
    save_subspace(SUBSPACES["line"], pool)
    members = [m.replace(meta={}) for m in ModelPool.load(pool)]
    ModelPool(members).save(pool)
    with pytest.raises(PoolFormatError, match="holds networks and no subspace"):
        load_subspace(pool)
    with pytest.raises((FileNotFoundError, PoolFormatError)):
        load_subspace(tmp_path / "nothing")


class Own(PathBasis):
    """A basis that is not of the library."""

    def weights(self, t, n_controls):
        return np.array([1 - t**2, t**2])


def test_a_basis_of_ones_own_is_given_to_the_reader(tmp_path):
    save_subspace(Path(STATES[:2], Own()), tmp_path)
    with pytest.raises(PoolFormatError, match="no Basis of the name '.*Own'.* give it as basis="):
        load_subspace(tmp_path)
    assert load_subspace(tmp_path, Own()).weights(0.5).tolist() == [0.75, 0.25]


@pytest.mark.parametrize("parent", [Line, Complex])
def test_a_class_of_ones_own_is_not_taken_for_that_of_the_library(parent, tmp_path):
    basis = type(parent.__name__, (parent,), {"weights": lambda self, point, n: np.array([0.0, 1.0])})
    own = Path(STATES[:2], basis()) if parent is Line else SimplicialComplex(STATES[:2], basis([(0, 1)]))
    save_subspace(own, tmp_path)
    with pytest.raises(PoolFormatError, match=f"no Basis of the name '.*{parent.__name__}'"):
        load_subspace(tmp_path)
    kind = type("Path", (Path,), {"at": lambda self, point: STATES[2]})
    save_subspace(kind(STATES[:2], Line()), tmp_path)
    with pytest.raises(PoolFormatError, match="no Subspace of the name '.*Path'"):
        load_subspace(tmp_path)


def test_numbers_of_numpy_come_back(tmp_path):
    basis = PolyChain(n_bends=np.int64(3), lr=np.float32(0.25))  # as a grid over np.arange gives them
    save_subspace(Path(STATES, basis), tmp_path)
    assert load_subspace(tmp_path).basis.get_params() == basis.get_params()


def test_files_that_name_other_things_are_refused(tmp_path):
    for name, about in (
        ("kind", {"kind": "Bezier", "basis": {"name": "Line", "params": {}}, "history": [], "more": {}}),
        ("basis", {"kind": "Path", "basis": {"name": "combined", "params": {}}, "history": [], "more": {}}),
        ("corner", {"kind": "SimplicialComplex", "basis": {"name": "Complex", "simplexes": [[0, 9]], "shares": [1]},
                    "history": [], "more": {}}),
        ("short", {"kind": "Path"}),
    ):  # fmt: skip
        path = tmp_path / name
        save_subspace(SUBSPACES["line"], path)
        members = [m.replace(meta={"subspace": about}) for m in ModelPool.load(path)]
        ModelPool(members).save(path)
        assert json.dumps(about)
        with pytest.raises(PoolFormatError, match="cannot be read"):
            load_subspace(path)
