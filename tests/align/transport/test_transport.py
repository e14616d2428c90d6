"""A transport: the same as permutations where it is one, exact for copies and splits of units, and refused by name."""

import numpy as np
import pytest
import torch
from torch import nn
from tracing.checks import difference, in_general_position, outputs
from tracing.networks import KNOWN

from skfusion.align import PermutationAlignment, Transport
from skfusion.state import distance
from skfusion.symmetry import Block, Group, Symmetry
from skfusion.tracing import symmetry_of

NETWORKS = {name: case[:2] for name, case in KNOWN.items() if case[2]}
TIED = ("gpt", "tied autoencoder", "grouped transposed")


def of(name, seed=0):
    make, example = NETWORKS[name]
    torch.manual_seed(seed)
    module, x = make(), example()
    return in_general_position(module), x, symmetry_of(module, x, verify=False)


def soft(symmetry, seed=0):
    """Doubly stochastic maps that are no permutations, by a few averages of pairs of units."""
    rng = np.random.default_rng(seed)
    plans = {}
    for name, p in symmetry.identity().items():
        plans[name] = np.mean([np.eye(p.shape[-1])[rng.permuted(p, axis=-1)] for _ in range(3)], axis=0)
    return Transport.from_plans(plans, symmetry)


def loose(transport):
    """The same maps, which are not recognised as permutations, as they are not exactly so."""
    return Transport({n: (m.out * (1 + 1e-15), m.into * (1 + 1e-15)) for n, m in transport.items()}, transport.symmetry)


@pytest.mark.parametrize("name", NETWORKS)
def test_permutations_do_the_same_as_an_alignment_by_permutations(name):
    module, _, symmetry = of(name)
    perms, state = symmetry.sample(1), module.state_dict()
    transport = Transport.from_permutations(perms, symmetry)
    expected = PermutationAlignment(perms, symmetry).apply(state)
    assert transport.is_permutation
    assert all(torch.equal(tensor, expected[n]) for n, tensor in transport.apply(state).items())
    assert transport.permutations() == PermutationAlignment(perms, symmetry)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_product_with_zeros_and_ones_does_the_same_too(name):
    module, _, symmetry = of(name)
    perms, state = symmetry.sample(2), module.state_dict()
    transport = loose(Transport.from_permutations(perms, symmetry))
    assert not transport.is_permutation
    moved = transport.apply(state)
    assert distance(moved, symmetry.permute(perms, state)) <= 1e-12


def merged_and_split(symmetry, seed):
    """Map the second unit of each group to a copy of the first, and then read both of them in other shares."""
    rng = np.random.default_rng(seed)
    copies, shares = {}, {}
    for name, p in symmetry.identity().items():
        n, lead = p.shape[-1], p.shape[:-1]
        copy, share = np.eye(n), np.broadcast_to(np.eye(n), (*lead, n, n)).copy()
        copy[1] = copy[0]
        a = rng.normal(size=(*lead, 2))
        share[..., :2, :2] = np.stack([a, 1 - a], -1)  # the rows sum to 1: what is read of equal units stays the same
        copies[name] = (np.broadcast_to(copy, (*lead, n, n)), np.broadcast_to(np.eye(n), (*lead, n, n)))
        shares[name] = (np.broadcast_to(np.eye(n), (*lead, n, n)), share)
    return Transport(copies, symmetry), Transport(shares, symmetry)


def only(symmetry, name, axis, *, keep):
    """The symmetry of one axis of a tensor, which then reads its units; or, without ``keep``, of all but that axis."""
    parts = tuple(b if (d == axis) == keep else () for d, b in enumerate(symmetry.axes[name]))
    others = {} if keep else {n: b for n, b in symmetry.axes.items() if n != name}
    roles = {name: ("in",) * len(parts)} if keep else symmetry.roles
    axes = {**others, name: parts}
    return Symmetry(symmetry.groups.values(), axes, symmetry.shapes, roles=roles)


def pass_for_reading(module, x, symmetry):
    """The axes along which units that are equal everywhere else may be mixed."""
    state, reads = module.state_dict(), set()
    for tensor in symmetry.parameters:
        for axis in (d for d, blocks in enumerate(symmetry.axes[tensor]) if blocks):
            copies, _ = merged_and_split(only(symmetry, tensor, axis, keep=False), 0)
            _, shares = merged_and_split(only(symmetry, tensor, axis, keep=True), 0)
            equal_but_here = copies.apply(state)
            mixed = shares.apply(equal_but_here)
            if difference(outputs(module, x, equal_but_here), outputs(module, x, mixed)) <= 1e-9:
                reads.add((tensor, axis))
    return reads


BY_CONTEXT = ("grouped", "channel shuffle", "experts")  # one axis alone is no symmetry: others index its units


@pytest.mark.parametrize("name", [n for n in NETWORKS if n not in TIED + BY_CONTEXT])
def test_units_that_differ_in_one_place_where_they_are_made_may_not_be_read_in_any_shares(name):
    """An axis that reads would pass: there, equal units may be read in any shares."""
    symmetry = of(name)[2]
    places = [(n, d) for n in symmetry.parameters for d, b in enumerate(symmetry.axes[n]) if b]
    expected = {(n, d) for n, d in places if symmetry.roles[n][d] == "in"}
    # softmax does not see the bias of keys, nor a ReLU the slopes before it
    idle = {"grouped queries": {("k.bias", 0)}, "prelu": {("1.weight", 0)}}.get(name, set())
    reads, seed = {*places}, 0
    while reads - idle != expected and seed < 12:  # a unit that is not active on the example passes, too
        reads &= pass_for_reading(*of(name, seed))
        seed += 1
    assert reads - idle == expected


@pytest.mark.parametrize("name", [n for n in NETWORKS if n not in TIED])
def test_equal_units_may_be_read_in_any_shares(name):
    """It holds only where each axis of each weight is known to make units, or to read them."""
    module, x, symmetry = of(name)
    copies, shares = merged_and_split(symmetry, 0)
    state = copies.apply(module.state_dict())
    other = shares.apply(state)
    assert distance(state, other) > 0.1
    assert difference(outputs(module, x, state), outputs(module, x, other)) <= 1e-9


@pytest.mark.parametrize("name", TIED)
def test_weights_that_make_and_read_the_same_units_refuse_a_map_that_is_not_its_own_dual(name):
    module, _, symmetry = of(name)
    copies, _ = merged_and_split(symmetry, 0)
    with pytest.raises(ValueError, match=r"Tensor '.*' cannot be mapped .*made and read by the same weights"):
        copies.apply(module.state_dict())
    soft_map = Transport({n: (m.out, m.out.swapaxes(-1, -2)) for n, m in soft(symmetry).items()}, symmetry)
    assert soft_map.apply(module.state_dict()).keys() == module.state_dict().keys()


@pytest.mark.parametrize("name", [n for n in NETWORKS if n not in TIED])
def test_maps_are_composed(name):
    module, _, symmetry = of(name)
    state = module.state_dict()
    first, then = soft(symmetry, 1), Transport.from_permutations(symmetry.sample(1), symmetry)
    assert distance(first.then(then).apply(state), then.apply(first.apply(state))) <= 1e-12
    if not any(g.context for g in symmetry.groups.values()):
        second = soft(symmetry, 2)
        assert distance(first.then(second).apply(state), second.apply(first.apply(state))) <= 1e-12


def widened(symmetry, extra=2):
    """Copy the first units of each group, and read both copies in equal shares: another width, the same function."""
    maps = {}
    for name, group in symmetry.groups.items():
        out = np.concatenate([np.eye(group.size), np.eye(group.size)[:extra]])
        maps[name] = (out, (out / out.sum(0)).T)
    return Transport(maps, symmetry)


@pytest.mark.parametrize("bias", [True, False])
def test_a_network_of_another_width_computes_the_same(bias):
    def net(width, channels):
        return nn.Sequential(
            *(nn.Conv2d(2, channels, 3, bias=bias), nn.BatchNorm2d(channels), nn.ReLU(), nn.Flatten()),
            *(nn.Linear(channels * 9, width, bias=bias), nn.Tanh(), nn.Linear(width, 3, bias=bias)),
        )

    module, x = net(4, 5), torch.randn(2, 2, 5, 5)
    symmetry = symmetry_of(module, x)
    position = in_general_position(module)
    wide = widened(symmetry).apply(position.state_dict())
    other = net(6, 7).double().eval()
    other.load_state_dict(wide)
    with torch.no_grad():
        assert float((other(x.double()) - position(x.double())).abs().max()) <= 1e-12
    # and back: the mean of equal units, which are read once
    symmetry = symmetry_of(other.float(), x)
    plan = np.concatenate([np.eye(5), np.eye(5)[:2]]), np.concatenate([np.eye(4), np.eye(4)[:2]])
    narrow = Transport.from_plans(dict(zip(symmetry.groups, plan, strict=True)), symmetry)
    assert distance(narrow.apply(wide), position.state_dict()) <= 1e-12
    assert max(narrow.sum_errors().values()) <= 1e-12


def test_a_concatenation_keeps_its_parts_in_order():
    module, _, symmetry = of("two branches")
    wide = widened(symmetry).apply(module.state_dict())
    read = module.state_dict()["head.weight"]
    assert wide["head.weight"].shape == (2, 6 + 7)
    assert torch.equal(wide["head.weight"][:, 2:4], read[:, 2:4])
    assert torch.equal(wide["head.weight"][:, 8:11], read[:, 6:9])
    assert torch.equal(wide["head.weight"][:, 4:6], read[:, :2] / 2)


def test_a_width_that_a_layout_forbids_is_refused_by_name():
    module, _, symmetry = of("glu")  # units of one group in both halves of an axis, which may grow as a whole
    (name,) = symmetry.groups
    shape = widened(symmetry, 1).apply(module.state_dict())["a.weight"].shape
    assert shape == (2 * (symmetry.groups[name].size + 1), 3)
    axes = ((Block(("g",), np.array([[0, 2, 1]])),),)
    state = {"w": torch.arange(3.0)}
    odd = Symmetry([Group("g", 3)], {"w": axes}, {"w": (3,)})
    with pytest.raises(ValueError, match=r"Tensor 'w' cannot be mapped .*do not follow one another"):
        widened(odd).apply(state)
    halves = ((Block(("g",), np.array([[0, 2, 4]])), Block(("h",), np.array([[1, 3, 5]]))),)
    mixed = Symmetry([Group("g", 3), Group("h", 3)], {"w": halves}, {"w": (6,)})
    with pytest.raises(ValueError, match=r"Tensor 'w' cannot be mapped"):
        widened(mixed).apply({"w": torch.arange(6.0)})


def test_integers_are_not_mixed():
    state = {"w": torch.arange(3)}
    symmetry = Symmetry.of_axes({"w": ("g",)}, state)
    with pytest.raises(ValueError, match=r"Tensor 'w' cannot be mapped .*torch.int64"):
        Transport({"g": (np.full((3, 3), 1 / 3),) * 2}, symmetry).apply(state)
    hard = Transport.from_permutations({"g": np.array([2, 0, 1])}, symmetry)
    assert hard.apply(state)["w"].tolist() == [2, 0, 1]


def test_bad_maps_are_named():
    _, _, symmetry = of("mlp")
    name, n = next((g.name, g.size) for g in symmetry.groups.values())
    for pair in ((np.eye(n), np.eye(n - 1)), (np.eye(n - 1), np.eye(n - 1)), (np.ones(n), np.ones(n))):
        with pytest.raises(ValueError, match=f"Group '{name}' of {n} units"):
            Transport({name: pair}, symmetry)
    with pytest.raises(ValueError, match="There is no group 'x'"):
        Transport({"x": (np.eye(2), np.eye(2))}, symmetry)
    with pytest.raises(ValueError, match="holds NaN"):
        Transport({name: (np.full((n, n), np.nan), np.eye(n))}, symmetry)
    with pytest.raises(ValueError, match="without mass"):
        Transport.from_plans({name: np.diag([0.0, *np.ones(n - 1)])}, symmetry)
    with pytest.raises(ValueError, match="no permutation"):
        widened(symmetry).permutations()


def test_what_does_not_move_is_shared_and_ties_stay():
    module, _, symmetry = of("gpt")
    state = dict(module.state_dict())
    maps = {n: (m.out, m.out.swapaxes(-1, -2)) for n, m in soft(symmetry).items()}
    moved = Transport(maps, symmetry).apply(state)
    assert moved["head.weight"] is moved["tokens.weight"]
    some = Transport.from_plans({n: np.ones((g.size, g.size)) for n, g in [*symmetry.groups.items()][-1:]}, symmetry)
    still = [n for n, parts in symmetry.axes.items() if not any(g in some for b in parts for x in b for g in x.groups)]
    assert still
    assert all(some.apply(state)[n] is state[n] for n in still)


def test_inner_units_that_are_mapped_before_their_outer_ones_are_mixed_have_no_composition():
    _, _, symmetry = of("own attention")
    inner = next(g.name for g in symmetry.groups.values() if g.context)
    with pytest.raises(ValueError, match=f"Group {inner!r} is mapped before"):
        soft(symmetry, 1).then(soft(symmetry, 2))
    assert soft(symmetry, 1).describe()["group"].tolist() == [*symmetry.groups]


def test_a_declared_embedding_may_say_that_it_makes_units():
    module = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 2)).double()
    state = module.state_dict()
    axes = {"0.weight": (None, "g"), "1.weight": (None, "g")}
    symmetry = Symmetry.of_axes(axes, state, roles={"0.weight": (None, "out")})
    x = torch.tensor([0, 3])
    assert symmetry.roles == {"0.weight": ("out", "out"), "1.weight": ("out", "in")}
    copies, shares = merged_and_split(symmetry, 0)
    state = copies.apply(state)
    assert difference(outputs(module, (x,), state), outputs(module, (x,), shares.apply(state))) <= 1e-12
    with pytest.raises(ValueError, match="roles gives"):
        Symmetry.of_axes(axes, state, roles={"0.weight": ("made", None)})
    with pytest.raises(ValueError, match="roles names the tensor 'x'"):
        Symmetry.of_axes(axes, state, roles={"x": ("out",)})
