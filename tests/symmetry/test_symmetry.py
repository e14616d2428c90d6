"""The action of permutations on states, their group law, and symmetries declared by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from skfusion.symmetry import Block, Group, Site, Symmetry

H, D, N_IN = 3, 4, 5
RNG = np.random.default_rng(0)
HEADS, INNER, READ = Group("heads", H), Group("inner", D, ("heads",)), Group("read", D, ("heads",))


def block(*groups, within=None):
    sizes = [H if g == "heads" else D for g in groups]
    return Block(groups, np.arange(np.prod(sizes)).reshape(1, *sizes), within or {})


FLAT = (block("heads", "inner"),)
LAYOUTS = {
    "rows": {
        "q": (FLAT, ()),
        "k": (FLAT, ()),
        "v": ((block("heads", "read"),), ()),
        "o": ((), (block("heads", "read"),)),
    },
    "axes": {
        "q": ((block("heads"),), (block("inner"),), ()),
        "k": ((block("heads"),), (block("inner"),), ()),
        "v": ((block("heads"),), (block("read"),), ()),
        "o": ((), (block("heads"),), (block("read"),)),
    },
    "packed": {
        "qkv": (
            (),
            (block("heads"),),
            (block("inner", within={0: np.array([0, 1])}), block("read", within={0: np.array([2])})),
            (),
        ),
        "o": ((), (block("heads", "read"),)),
    },
}


def attention(layout):
    """Return a symmetry of attention with three heads, a state of it, and its function."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, H, D, N_IN, generator=generator, dtype=torch.float64)
    o = torch.randn(N_IN, H, D, generator=generator, dtype=torch.float64)
    state = {"q": q, "k": k, "v": v, "o": o}
    if layout == "rows":
        state = {n: t.reshape(N_IN, -1) if n == "o" else t.reshape(-1, N_IN) for n, t in state.items()}
    if layout == "packed":
        state = {"qkv": torch.stack([q, k, v]), "o": o.reshape(N_IN, -1)}
    x = torch.randn(7, N_IN, generator=generator, dtype=torch.float64)

    def function(s):
        q, k, v = s["qkv"] if "qkv" in s else (s[n].reshape(H, D, N_IN) for n in "qkv")
        score = torch.einsum("ti,hdi,hdj,sj->hts", x, q, k, x).softmax(-1)
        return torch.einsum("hts,sj,hdj,ihd->ti", score, x, v, s["o"].reshape(N_IN, H, D))

    axes = LAYOUTS[layout]
    symmetry = Symmetry([HEADS, INNER, READ], axes, {n: tuple(t.shape) for n, t in state.items()})
    return symmetry, state, function


@pytest.mark.parametrize("layout", LAYOUTS)
def test_heads_and_the_channels_in_each_of_them_change_places_and_the_function_stays(layout):
    symmetry, state, function = attention(layout)
    for seed in range(5):
        moved = symmetry.permute(symmetry.sample(seed), state)
        torch.testing.assert_close(function(moved), function(state), rtol=0, atol=1e-12)
        assert any((moved[n] != state[n]).any() for n in state)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["heads", "inner", "read"])
def test_a_tensor_that_is_left_behind_changes_the_function(layout, name):
    symmetry, state, function = attention(layout)
    moved = symmetry.permute({name: symmetry.identity()[name][..., ::-1]}, state)
    torch.testing.assert_close(function(moved), function(state), rtol=0, atol=1e-12)
    if name != "inner":
        left = {"o": state["o"]}
    elif layout == "packed":
        left = {"qkv": torch.cat([state["qkv"][:1], moved["qkv"][1:]])}
    else:
        left = {"q": state["q"]}
    assert (function({**moved, **left}) - function(state)).abs().max() > 1e-3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_group_law(layout):
    symmetry, state, _ = attention(layout)
    a, b, c = (symmetry.sample(seed) for seed in (1, 2, 3))
    one = symmetry.identity()

    def equal(p, q):
        return p.keys() == q.keys() and all((p[n] == q[n]).all() for n in p)

    assert equal(symmetry.compose(a, one), a)
    assert equal(symmetry.compose(one, a), a)
    assert equal(symmetry.compose(a, symmetry.invert(a)), one)
    assert equal(symmetry.compose(symmetry.invert(a), a), one)
    left = symmetry.compose(symmetry.compose(a, b), c)
    assert equal(left, symmetry.compose(a, symmetry.compose(b, c)))
    twice = symmetry.permute(b, symmetry.permute(a, state))
    once = symmetry.permute(symmetry.compose(a, b), state)
    assert all(torch.equal(once[n], twice[n]) for n in state)
    back = symmetry.permute(symmetry.invert(a), symmetry.permute(a, state))
    assert all(torch.equal(back[n], state[n]) for n in state)


def test_index_convention_is_take():
    axes = {"w": ("units", None)}
    state = {"w": torch.arange(6.0).reshape(3, 2)}
    found = Symmetry.of_axes(axes, state).permute({"units": np.array([2, 0, 1])}, state)
    assert found["w"].tolist() == [[4, 5], [0, 1], [2, 3]]


def test_flattened_pixels_follow_their_channel():
    positions = np.arange(6).reshape(2, 3).T  # 2 channels of 3 pixels
    symmetry = Symmetry([Group("c", 2)], {"w": ((), (Block(("c",), positions),))}, {"w": (1, 6)})
    found = symmetry.permute({"c": np.array([1, 0])}, {"w": torch.arange(6.0)[None]})
    assert found["w"].tolist() == [[3, 4, 5, 0, 1, 2]]


def test_sample_is_uniform_and_reproducible():
    symmetry, _, _ = attention("rows")
    counts = {}
    rng = np.random.default_rng(0)
    for _ in range(1200):
        key = tuple(symmetry.sample(rng)["heads"])
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 6
    assert all(150 < n < 250 for n in counts.values())  # 200 +- 4 standard deviations
    one, two = (symmetry.sample(torch.Generator().manual_seed(3)) for _ in range(2))
    assert all((one[n] == two[n]).all() for n in one)
    assert (symmetry.sample(0)["inner"] != symmetry.sample(1)["inner"]).any()


def test_tied_tensors_stay_tied_and_nothing_is_written():
    w = torch.randn(3, 3)
    state = {"a": w, "b": w, "c": torch.ones(2)}
    parts = ((Block(("g",), np.arange(3)[None]),), ())
    symmetry = Symmetry([Group("g", 3)], {"a": parts, "b": parts}, {"a": (3, 3), "b": (3, 3)})
    before = w.clone()
    found = symmetry.permute({"g": np.array([1, 2, 0])}, state)
    assert found["a"] is found["b"]
    assert found["c"] is state["c"]
    assert torch.equal(w, before)
    assert not torch.equal(found["a"], w)
    assert symmetry.parameters == ["a"]


def test_frozen_groups_rest_with_those_that_they_index():
    symmetry, state, function = attention("rows")
    still = symmetry.frozen({"heads": "asked"})
    assert not still.groups
    assert all(not any(parts) for parts in still.axes.values())
    assert still.pinned["o", 1] == "asked"
    assert any("'inner'" in note for note in still.notes)
    partly = symmetry.frozen({"read": "asked"})
    assert [*partly.groups] == ["heads", "inner"]
    moved = partly.permute(partly.sample(0), state)
    torch.testing.assert_close(function(moved), function(state), rtol=0, atol=1e-12)
    assert not torch.equal(moved["v"], state["v"])  # heads still carry their channels
    assert len(symmetry.groups) == 3


def test_frozen_sites_go():
    parts = ((), (Block(("g",), np.arange(3)[None]),))
    site = Site(0, None, "mm", "", (2, 3), parts)
    symmetry = Symmetry([Group("g", 3)], {"w": ((Block(("g",), np.arange(3)[None]),),)}, {"w": (3,)}, sites=[site])
    assert symmetry.frozen({}).sites[0].axes[1]
    assert symmetry.frozen({"g": "asked"}).sites == ()


def test_describe():
    symmetry, _, _ = attention("rows")
    found = symmetry.frozen({"read": "asked"}).describe()
    row = found.set_index("group").loc["inner"]
    assert row["size"] == D
    assert row["indexed by"] == "heads"
    assert row["axes"] == "q[0], k[0]"
    assert found.attrs["notes"] == ["group 'read' does not move: asked"]
    # v and o still move by their heads, so no axis is pinned
    assert not (found["group"] == "").any()
    still = symmetry.frozen({"heads": "asked"}).describe()
    assert set(still["pinned because"]) >= {"asked"}
    assert "3 groups" in repr(symmetry)


def test_order_of_the_group():
    symmetry, _, _ = attention("rows")
    assert symmetry.log10_order == pytest.approx(np.log10(6 * 24**3 * 24**3))


def test_hand_declared_symmetry_of_a_residual_network():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.inner, self.outer = nn.Linear(3, 6), nn.Linear(6, 4), nn.Linear(4, 6)
            self.norm, self.last = nn.BatchNorm1d(6), nn.Linear(6, 2)

        def forward(self, x):
            h = self.first(x)
            return self.last(self.norm(h + self.outer(self.inner(h).relu())))

    net = Residual().double().eval()
    with torch.no_grad():
        net.norm.running_mean.normal_()
        net.norm.running_var.uniform_(0.5, 2)
    axes = {
        **{"first.weight": ("s", None), "first.bias": ("s",), "inner.weight": ("h", "s"), "inner.bias": ("h",)},
        **{"outer.weight": ("s", "h"), "outer.bias": ("s",), "last.weight": (None, "s")},
        **{f"norm.{name}": ("s",) for name in ("weight", "bias", "running_mean", "running_var")},
    }
    symmetry = Symmetry.of_axes(axes, net.state_dict())
    assert symmetry.buffers == ("norm.running_mean", "norm.running_var")
    assert "norm.running_mean" not in symmetry.parameters
    x = torch.randn(5, 3, dtype=torch.float64)
    before = net(x)
    net.load_state_dict(symmetry.permute(symmetry.sample(4), net.state_dict()))
    torch.testing.assert_close(net(x), before, rtol=0, atol=1e-12)


STATE = {"w": torch.zeros(3, 2), "b": torch.zeros(4)}


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"v": ("g",)}, "axes names the tensor 'v', which the state does not have"),
        ({"w": ("g",)}, r"give a name for each of its 2 axes"),
        ({"w": "gh"}, r"give a name for each of its 2 axes"),
        ({"w": ("g", None), "b": ("g",)}, r"'g' has 3 units on axis 0 of 'w' and 4 on axis 0 of 'b'"),
    ],
)
def test_bad_declarations(axes, message):
    with pytest.raises(ValueError, match=message):
        Symmetry.of_axes(axes, STATE)


@pytest.mark.parametrize(
    ("perms", "message"),
    [
        ({"x": np.arange(3)}, "There is no group 'x'; the groups are \\['g'\\]"),
        ({"g": np.array([0, 0, 1])}, "The array for group 'g'.*must hold each of 0, ..., 2 once"),
        ({"g": np.arange(4)}, "The array for group 'g', of shape \\(4,\\)"),
    ],
)
def test_bad_permutations(perms, message):
    with pytest.raises(ValueError, match=message):
        Symmetry.of_axes({"w": ("g", None)}, STATE).permute(perms, STATE)


def test_bad_states():
    symmetry = Symmetry.of_axes({"w": ("g", None)}, STATE)
    perms = {"g": np.array([1, 0, 2])}
    with pytest.raises(ValueError, match="The state has no tensor 'w'"):
        symmetry.permute(perms, {})
    with pytest.raises(ValueError, match=r"'w' is of shape \(2, 3\) in the state and \(3, 2\) in the symmetry"):
        symmetry.permute(perms, {"w": torch.zeros(2, 3)})


@pytest.mark.parametrize(
    ("groups", "axes", "message"),
    [
        ([Group("g", 2, ("h",))], {}, "is indexed by 'h', which is no group"),
        ([], {"w": ((), ())}, "has groups for 2 axes"),
        ([Group("g", 2)], {"w": ((Block(("g",), np.arange(3)[None]),),)}, "has 3 units of group 'g', which has 2"),
        ([], {"w": ((Block(("g",), np.arange(3)[None]),),)}, "which is unknown"),
        ([Group("g", 3)], {"w": ((Block(("g",), np.arange(1, 4)[None]),),)}, "lies outside its shape"),
        (
            [Group("h", 2), Group("g", 3, ("h",))],
            {"w": ((Block(("g",), np.arange(3)[None]),),)},
            "depends on the group 'h', which none of its other axes has",
        ),
    ],
)
def test_inconsistent_symmetries(groups, axes, message):
    with pytest.raises(ValueError, match=message):
        Symmetry(groups, axes, {"w": (3,)})


# ---- tied tensors, and dtypes that torch only stores -----------------------------------------------------------------

TIED_AXES = {"embed.weight": (None, "h"), "inner.weight": ("h", None), "head.weight": (None, "h")}


def tied_state():
    embed = torch.randn(6, 4, dtype=torch.float64)
    return {"embed.weight": embed, "inner.weight": torch.randn(4, 3, dtype=torch.float64), "head.weight": embed}


@pytest.mark.parametrize("left_out", [None, "head.weight", "embed.weight"])
def test_declared_symmetries_keep_ties_and_reach_all_names_of_a_tensor(left_out):
    state = tied_state()
    axes = {name: names for name, names in TIED_AXES.items() if name != left_out}
    symmetry = Symmetry.of_axes(axes, state)
    found = symmetry.permute(perms := symmetry.sample(0), state)
    assert found["embed.weight"] is found["head.weight"]
    assert torch.equal(found["embed.weight"], state["embed.weight"][:, perms["h"]])
    assert len(symmetry.parameters) == 2


def test_a_declaration_that_was_made_untied_keeps_the_ties_of_what_it_permutes():
    apart = {name: t.clone() for name, t in tied_state().items()}
    symmetry = Symmetry.of_axes(TIED_AXES, apart)
    found = symmetry.permute(symmetry.sample(0), tied_state())
    assert found["embed.weight"] is found["head.weight"]
    unlike = Symmetry.of_axes({**TIED_AXES, "head.weight": ("g", None)}, apart)
    state = tied_state()
    found = unlike.permute(perms := unlike.sample(0), state)
    assert torch.equal(found["embed.weight"], state["embed.weight"][:, perms["h"]])
    assert torch.equal(found["head.weight"], state["head.weight"][perms["g"]])


def test_one_tied_tensor_is_not_declared_in_two_ways():
    with pytest.raises(ValueError, match=r"for 'embed.weight' and \(None, 'g'\) for 'head.weight', .* one tied tensor"):
        Symmetry.of_axes({**TIED_AXES, "head.weight": (None, "g")}, tied_state())


def test_views_that_are_read_in_another_way_are_moved_by_themselves():
    z = torch.randn(4, 2, dtype=torch.complex128)
    state = {"z": z, "conjugate": z.conj()}
    symmetry = Symmetry.of_axes({"z": ("h", None), "conjugate": ("h", None)}, state)
    found = symmetry.permute(perms := symmetry.sample(1), state)
    for name, t in state.items():
        assert torch.equal(found[name], t[torch.from_numpy(perms["h"])])


STORED = ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]


@pytest.mark.parametrize("dtype", STORED)
def test_numbers_that_torch_only_stores_are_moved(dtype):
    numbers = torch.arange(H * D * N_IN).remainder(8)
    symmetry = Symmetry([HEADS, INNER], {"q": LAYOUTS["axes"]["q"]}, {"q": (H, D, N_IN)})
    state = {"q": numbers.reshape(H, D, N_IN)}
    perms = symmetry.sample(2)
    expected = symmetry.permute(perms, state)["q"]
    found = symmetry.permute(perms, {"q": state["q"].to(getattr(torch, dtype))})["q"]
    assert found.dtype == getattr(torch, dtype)
    assert torch.equal(found.to(torch.float64), expected.double())
