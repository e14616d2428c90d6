"""Units that are permuted in the memory of a state are those that are permuted in new memory."""

import numpy as np
import pytest
import torch

from skfusion.symmetry import Block, Group, Symmetry, permute_in_place

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.complex64, torch.int64, torch.uint16]


def of_kinds(dtype=torch.float32):
    """Return a state with all kinds of axes, and its symmetry."""
    generator = torch.Generator().manual_seed(0)
    h, d, n = 3, 5, 20
    heads = (Block(("heads", "inner"), np.arange(h * d).reshape(1, h, d)),)
    stream = (Block(("stream",), np.arange(n)[None]),)
    flat = (Block(("stream",), np.arange(n * 6).reshape(n, 6).T.copy()),)  # six pixels of each channel
    axes = {
        "rows": (heads, stream),
        "bias": (stream,),
        "convolution": (stream, stream, (), ()),
        "head": ((), flat),
        "axes": ((Block(("heads",), np.arange(h)[None]),), (Block(("inner",), np.arange(d)[None]),), ()),
        "free": ((), ()),
    }
    shapes = {"rows": (15, n), "bias": (n,), "convolution": (n, n, 3, 3), "head": (4, 6 * n), "axes": (h, d, 2)}
    shapes["free"] = (2, 2)
    groups = [Group("heads", h), Group("inner", d, ("heads",)), Group("stream", n)]
    state = {k: torch.randint(0, 200, shape, generator=generator).to(dtype) for k, shape in shapes.items()}
    return state, Symmetry(groups, axes, shapes)


def few_of(symmetry):
    """Return an element that moves two units of each group."""
    element = symmetry.identity()
    for p in element.values():
        p[..., [0, 2]] = p[..., [2, 0]]
    return element


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("part", [1, 50, 2**19])
def test_as_in_new_memory(monkeypatch, dtype, part):
    monkeypatch.setattr("skfusion.symmetry._action._PART", part)
    for make in (lambda s: s.sample(1), few_of):
        state, symmetry = of_kinds(dtype)
        element, before = make(symmetry), {k: t.clone() for k, t in state.items()}
        expected = symmetry.permute(element, before)
        found = permute_in_place(symmetry, element, state)
        assert all(torch.equal(found[k].view(torch.uint8), t.view(torch.uint8)) for k, t in expected.items())
        assert all(found[k].data_ptr() == state[k].data_ptr() for k in state)
        permute_in_place(symmetry, symmetry.invert(element), found)
        assert all(torch.equal(state[k].view(torch.uint8), t.view(torch.uint8)) for k, t in before.items())


def test_tied_tensors_move_once_and_those_that_move_in_two_ways_apart():
    w = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    for axes in (("h", None), (None, "h")):
        state = {"a": w.clone(), "free": torch.zeros(1)}
        state["b"] = state["a"]
        symmetry = Symmetry.of_axes({"a": ("h", None), "b": axes}, dict(state, b=w.clone()))
        element = symmetry.sample(0)
        expected = symmetry.permute(element, {**state, "a": w, "b": w.clone()})
        found = permute_in_place(symmetry, element, state)
        assert all(torch.equal(found[k], expected[k]) for k in found)
        assert (found["a"].data_ptr() == found["b"].data_ptr()) == (axes == ("h", None))


def test_runs_of_neighbours_move_as_single_positions_do():
    for n_copies, n in ((1, 12), (4, 6), (7, 5)):
        x = torch.randn(3, n_copies * n, 2, generator=torch.Generator().manual_seed(n))
        for positions in (np.arange(n * n_copies).reshape(n, n_copies).T, np.arange(n * n_copies).reshape(n_copies, n)):
            symmetry = Symmetry([Group("g", n)], {"x": ((), (Block(("g",), positions),), ())}, {"x": tuple(x.shape)})
            for p in (np.arange(n), np.roll(np.arange(n), 1), np.random.default_rng(0).permutation(n)):
                source = np.arange(n_copies * n)
                source[positions.reshape(-1)] = positions[:, p].reshape(-1)
                assert torch.equal(symmetry.permute({"g": p}, {"x": x})["x"], x[:, torch.from_numpy(source)])


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_complex_numbers_of_half_precision():
    symmetry = Symmetry.of_axes({"x": (None, "g")}, {"x": torch.zeros(3, 12)})
    x = torch.arange(36.0).reshape(3, 12)
    element, half = symmetry.sample(0), x.to(torch.complex64).to(torch.complex32)
    expected = symmetry.permute(element, {"x": x})["x"]
    assert torch.equal(symmetry.permute(element, {"x": half})["x"].to(torch.complex64).real, expected)
    permute_in_place(symmetry, element, {"x": half})
    assert torch.equal(half.to(torch.complex64).real, expected)


def test_tensors_without_numbers():
    state = {"x": torch.zeros(0, 12), "y": torch.zeros(12, 0), "z": torch.arange(12.0)}
    symmetry = Symmetry.of_axes({"x": (None, "g"), "y": ("g", None), "z": ("g",)}, state)
    element = symmetry.sample(0)
    assert torch.equal(permute_in_place(symmetry, element, state)["z"], torch.from_numpy(element["g"]).float())
