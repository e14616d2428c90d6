"""Arithmetic on states."""

import math

import pytest
import torch
from reference.weighted_mean import weighted_sum as reference_sum
from torch import nn

from skfusion import state as states_of
from skfusion._numbers import is_finite, sum_of
from skfusion.merge import TIES
from skfusion.pool import Member, ModelPool
from skfusion.state import (
    RunningSum,
    check_compatible,
    check_finite,
    copy,
    difference,
    distance,
    flatten,
    map_tensors,
    n_bytes,
    n_parameters,
    numbers_of,
    owners,
    stack,
    weighted_sum,
    weighted_sums,
)


def some_states(n=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "weight": torch.randn(4, 3, generator=generator, dtype=torch.float64).to(dtype),
            "bias": torch.randn(4, generator=generator, dtype=torch.float64).to(dtype),
            "count": torch.tensor(k * 7 % 5),
            "scalar": torch.randn((), generator=generator, dtype=torch.float64).to(dtype),
        }
        for k in range(n)
    ]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("weights", [[0.2, 0.5, 0.3], [1, -2.5, 0], [0, 0, 1]])
def test_weighted_sum_matches_loops(dtype, weights):
    states = some_states(dtype=dtype)
    found, expected = weighted_sum(states, weights), reference_sum(states, weights)
    assert [*found] == [*states[0]]
    for key, value in expected.items():
        assert found[key].dtype == states[0][key].dtype
        torch.testing.assert_close(found[key], value, rtol=1e-15 if dtype == torch.float64 else 0, atol=1e-15)


def test_weighted_sum_takes_a_tensor_of_weights():
    states = some_states(2)
    found = weighted_sum(states, torch.tensor([0.25, 0.75], dtype=torch.float64))
    assert torch.equal(found["weight"], weighted_sum(states, [0.25, 0.75])["weight"])


def test_weighted_sum_accumulates_in_double_precision():
    states = [{"w": torch.tensor([v])} for v in (1e8, 1.0, -1e8)]
    assert weighted_sum(states, [1, 1, 1])["w"].item() == 1.0
    halves = [{"w": torch.tensor([1.0], dtype=torch.bfloat16)} for _ in range(1000)]
    assert weighted_sum(halves, [1 / 1000] * 1000)["w"].item() == 1.0  # a bfloat16 sum would stop at 256


def test_one_hot_weights_copy_a_state_bit_for_bit():
    states = some_states()
    for k, state in enumerate(states):
        found = weighted_sum(states, [float(i == k) for i in range(3)])
        assert all(torch.equal(found[key], state[key]) for key in state)


def test_integer_tensors_become_the_maximum_over_states_with_a_weight():
    states = [{"n": torch.tensor([1, 9])}, {"n": torch.tensor([5, 2])}, {"n": torch.tensor([8, 8])}]
    assert weighted_sum(states, [0.5, 0.5, 0])["n"].tolist() == [5, 9]
    assert weighted_sum(states[::-1], [0, 0.5, 0.5])["n"].tolist() == [5, 9]
    assert weighted_sum(states, [0, 0, 0])["n"].tolist() == [1, 9]
    assert weighted_sum(states, [1, 1, 1])["n"].dtype == torch.int64


def test_positions_that_differ_are_not_merged_and_counters_are():
    states = [{"n": torch.tensor(k), "columns": torch.tensor([0, 2])} for k in range(3)]
    check_compatible(states)
    states[2]["columns"] = torch.tensor([1, 2])
    with pytest.raises(
        ValueError, match="Tensor 'columns' holds integers, and other ones in member a than in member c"
    ):
        check_compatible(states, ["a", "b", "c"])


def test_boolean_and_complex_tensors():
    states = [
        {"mask": torch.tensor([True, False]), "z": torch.tensor([1 + 2j])},
        {"mask": torch.tensor([False, False]), "z": torch.tensor([3 - 2j])},
    ]
    found = weighted_sum(states, [0.5, 0.5])
    assert found["mask"].tolist() == [True, False]
    assert found["z"].tolist() == [2 + 0j]
    assert found["z"].dtype == states[0]["z"].dtype


def test_tied_tensors_stay_tied_and_others_do_not_become_so():
    tied = [{"a": (t := torch.full((2,), float(k))), "b": t} for k in range(2)]
    found = weighted_sum(tied, [0.5, 0.5])
    assert found["a"] is found["b"]
    half = [tied[0], {"a": torch.ones(2), "b": torch.zeros(2)}]
    found = weighted_sum(half, [0.5, 0.5])
    assert found["a"].tolist() == [0.5, 0.5]
    assert found["b"].tolist() == [0.0, 0.0]
    whole = torch.arange(4.0)
    parts = {"head": whole[:2], "whole": whole, "turned": whole.view(2, 2)}
    found = copy(parts)
    assert len({t.data_ptr() for t in found.values()}) == 3
    empty = {"a": torch.zeros(0), "b": torch.zeros(0)}
    assert copy(empty)["a"] is not copy(empty)["b"]


def test_results_are_detached_and_new():
    w = torch.ones(2, requires_grad=True)
    for found in (weighted_sum([{"w": w}], [1])["w"], copy({"w": w})["w"], stack([{"w": w}])["w"]):
        assert not found.requires_grad
        assert found.data_ptr() != w.data_ptr()


def test_tensors_are_matched_by_name():
    a, b = {"x": torch.zeros(2), "y": torch.ones(2)}, {"y": torch.ones(2), "x": torch.zeros(2)}
    found = weighted_sum([a, b], [0.5, 0.5])
    assert found["x"].tolist() == [0.0, 0.0]
    assert [*found] == ["x", "y"]


def test_weights_and_states_must_be_as_many():
    with pytest.raises(ValueError, match="2 weights for 3 states"):
        weighted_sum(some_states(), [0.5, 0.5])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e5m2])
def test_sums_that_are_too_large_for_their_dtype_are_named(dtype):
    largest = torch.finfo(dtype).max
    states = [{"a": torch.ones(1), "w": torch.tensor([sign * largest, 0.0], dtype=dtype)} for sign in (1, -1, 1)]
    assert weighted_sum(states[::2], [0.5, 0.5])["w"].tolist() == [largest, 0.0]
    for some, weights in ((states[::2], [1, 1]), (states[1:2], [2])):
        with pytest.raises(ValueError, match=r"'w' reaches ([\d.e+]+|inf), and torch.\w+ ends at .* wider dtype"):
            weighted_sum(some, weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.complex64])
def test_a_mean_of_largest_numbers_may_exceed_them_by_its_rounding(dtype):
    """Shares sum to one up to rounding, and may be a little more."""
    largest, weights = torch.finfo(dtype).max, [0.1, 0.7, 0.2 + 1e-12]
    assert sum(w * largest for w in weights) > largest
    assert weighted_sum([{"w": torch.tensor([largest], dtype=dtype)}] * 3, weights)["w"].real.tolist() == [largest]
    with pytest.raises(ValueError, match="'w' reaches"):
        weighted_sum([{"w": torch.tensor([largest], dtype=dtype)}], [1.005])


def test_incompatible_states_are_named():
    a, b = {"w": torch.zeros(2, 3), "b": torch.zeros(2)}, {"w": torch.zeros(2, 4), "b": torch.zeros(2)}
    with pytest.raises(ValueError, match=r"'w' has shape \(2, 3\) in member left and \(2, 4\) in member right"):
        check_compatible([a, b], ["left", "right"])
    with pytest.raises(ValueError, match="'b' of member 0 is missing in member 1"):
        check_compatible([a, {"w": a["w"]}])
    with pytest.raises(ValueError, match="'b' of member 1 is missing in member 0"):
        check_compatible([{"w": a["w"]}, a])
    with pytest.raises(ValueError, match="empty"):
        check_compatible([])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_states_that_are_not_finite_are_named(value):
    bad = {"fine": torch.ones(2), "bad": torch.tensor([0.0, value])}
    with pytest.raises(ValueError, match="'bad' of member one holds NaN or infinity.*A mask.*persistent=False"):
        check_finite(bad, "one")
    with pytest.raises(ValueError, match="'bad' of member 1"):
        weighted_sum([{**bad, "bad": torch.zeros(2)}, bad], [1.0, 0.0])


def test_members_on_two_devices_are_named_with_what_helps():
    here, there = {"w": torch.ones(2)}, {"w": torch.ones(2, device="meta")}
    with pytest.raises(ValueError, match=r"'w' is on the device 'cpu' in member a and on 'meta' in member b\. Move"):
        check_compatible([here, there], ["a", "b"])
    pool = ModelPool([Member("a", here), Member("b", there)])
    with pytest.raises(ValueError, match=r"'w' is on the device 'cpu' in member 0 and on 'meta' in member 1"):
        TIES()(pool.states, here)
    with pytest.raises(ValueError, match=r"'w' of member 'b' is on the device 'meta'.*no numbers. Load its"):
        pool.check_compatible()
    with pytest.raises(ValueError, match=r"'w' of member 1 is on the device 'meta'"):
        weighted_sum([here, there], [0.5, 0.5])


def test_difference_is_a_task_vector():
    a, b = some_states(2)
    found = difference(a, b)
    assert torch.equal(found["weight"], a["weight"] - b["weight"])
    assert found["count"].item() == 0
    back = weighted_sum([b, found], [1, 1])
    torch.testing.assert_close(back["weight"], a["weight"], rtol=1e-6, atol=1e-6)


def test_stack_has_a_first_axis_of_states():
    states = some_states()
    found = stack(states)
    assert found["weight"].shape == (3, 4, 3)
    assert found["count"].tolist() == [0, 2, 4]
    assert all(torch.equal(found["bias"][k], state["bias"]) for k, state in enumerate(states))


def test_difference_and_running_sum_are_detached_and_take_every_dtype():
    w = torch.ones(2, requires_grad=True)
    assert not difference({"w": w}, {"w": 2 * w})["w"].requires_grad
    assert not RunningSum({"w": w}).plus({"w": 2 * w}).mean()["w"].requires_grad
    eight = [{"w": torch.tensor([448.0, v]).to(torch.float8_e4m3fn)} for v in (1.0, 3.0)]
    assert difference({"w": -eight[0]["w"].float()}, eight[0])["w"].tolist() == [-896.0, -2.0]  # beyond what it holds
    assert RunningSum(eight[0]).plus(eight[1]).mean()["w"].tolist() == [448.0, 2.0]


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_unsigned_integers_take_the_largest(bits):
    dtype = getattr(torch, f"uint{bits}")
    states = [{"n": torch.tensor(v, dtype=dtype)} for v in (3, 2**bits - 1, 2 ** (bits - 1) - 1)]
    for found in (weighted_sum(states, [1, 1, 1]), RunningSum(states[0]).plus(states[1]).mean()):
        assert found["n"].dtype == dtype
        assert found["n"].item() == 2**bits - 1
    assert weighted_sum(states, [1, 0, 1])["n"].item() == 2 ** (bits - 1) - 1
    assert difference(*states[:2])["n"].item() == 0
    check_compatible(states)


def test_complex_numbers_count():
    a, b = {"z": torch.tensor([1 + 2j, 0])}, {"z": torch.tensor([1 - 2j, 3])}
    assert distance(a, b) == 5.0
    assert difference(a, b)["z"].tolist() == [4j, -3]
    assert flatten(a).tolist() == [1, 2, 0, 0]


@pytest.mark.parametrize("bad", [complex("nan"), complex(0, float("inf"))])
def test_complex_numbers_that_are_not_finite_are_named(bad):
    state = {"z": torch.tensor([1, bad])}
    assert is_finite(torch.tensor([1 + 1j]))
    for given in (state, {"z": state["z"].conj()}):
        with pytest.raises(ValueError, match="'z' of member one holds NaN or infinity"):
            check_finite(given, "one")


def views_of_one_place():
    """Pairs of tensors with one address, which differ in one other way each."""
    square, pair, z = torch.arange(9.0).view(3, 3), torch.arange(6.0), torch.randn(3, dtype=torch.complex64)
    return {
        "shape": (pair, pair.view(2, 3)),
        "stride": (square, square.T),
        "dtype": (pair, pair.view(torch.int32)),
        "conjugate": (z, z.conj()),
        "negative": (z.imag, z.conj().imag),
    }


@pytest.mark.parametrize("how", views_of_one_place())
def test_views_of_one_place_that_read_other_numbers_are_not_tied(how):
    a, b = views_of_one_place()[how]
    assert a.data_ptr() == b.data_ptr()
    state = {"a": a, "b": b, "again": a.view(a.shape)}
    assert owners([state]) == {"a": "a", "b": "b", "again": "a"}
    for found in (copy(state), weighted_sum([state], [1.0])):
        assert torch.equal(found["b"], b)
        assert found["a"] is found["again"]
    assert n_parameters(state) == a.numel() + b.numel()


def test_numbers_come_by_name_and_tied_ones_once():
    t = torch.arange(2.0)
    first, second = (
        {"b": t, "a": torch.ones(1), "n": torch.tensor(3)},
        {"a": torch.zeros(1), "n": torch.tensor(4), "b": t},
    )
    assert {k: v.tolist() for k, v in numbers_of([first, second])} == {"b": [[0, 1], [0, 1]], "a": [[1], [0]]}
    tied = {**first, "c": t}
    apart = {**second, "c": t.clone()}
    assert [k for k, _ in numbers_of([tied, tied])] == ["b", "a"]
    assert [k for k, _ in numbers_of([tied, apart])] == ["b", "a", "c"]


def test_a_network_is_at_no_distance_from_itself_in_another_order():
    state = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).state_dict()
    turned = dict(sorted(state.items()))
    assert [*turned] != [*state]
    assert distance(state, turned) == 0
    assert torch.equal(flatten(state), flatten(turned))


def test_flatten_counts_tied_tensors_once_and_leaves_integers_out():
    t = torch.arange(3.0)
    state = {"a": t, "b": t, "n": torch.tensor([9]), "c": torch.tensor([[5.0]])}
    assert flatten(state).tolist() == [0, 1, 2, 5]
    assert flatten(state).dtype == torch.float64
    assert n_parameters(state) == 5
    assert n_bytes(state) == 4 * 4 + 8
    assert flatten({"n": torch.tensor(1)}).shape == (0,)


def test_distance_is_euclidean():
    a, b = {"x": torch.tensor([0.0, 3.0])}, {"x": torch.tensor([4.0, 3.0])}
    assert distance(a, b) == 4.0
    assert distance(a, a) == 0.0
    module = nn.Linear(2, 2)
    assert distance(module.state_dict(), module.state_dict()) == 0.0


def test_map_tensors_calls_once_for_tied_tensors():
    calls = []
    t = torch.ones(2)
    map_tensors(lambda x: calls.append(x) or x.clone(), {"a": t, "b": t, "c": torch.ones(2)})
    assert len(calls) == 2


def test_copy_of_an_expanded_tensor():
    state = {"w": torch.ones(1).expand(3)}
    found = states_of.copy(state)
    found["w"][0] = 5
    assert state["w"].tolist() == [1, 1, 1]


def test_a_running_sum_is_the_mean_of_what_was_added():
    generator = torch.Generator().manual_seed(0)
    members = [
        {"w": torch.randn(3, generator=generator), "n": torch.tensor(k), "c": torch.randn(2, generator=generator) * 1j}
        for k in (3, 7, 5)
    ]
    first = RunningSum(members[0])
    whole = first.plus(members[1]).plus(members[2])
    expected = weighted_sum(members, [1 / 3] * 3)
    for key, tensor in whole.mean().items():
        assert tensor.dtype == expected[key].dtype
        torch.testing.assert_close(tensor, expected[key], rtol=1e-6, atol=0)
    assert torch.equal(first.mean()["w"], members[0]["w"])  # as it was
    assert int(whole.mean()["n"]) == 7


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128], ids=str
)
@pytest.mark.parametrize("shape", [(), (0, 2), (3, 4)], ids=str)
def test_a_sum_in_a_buffer_is_the_sum_without(dtype, shape):
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for _ in range(3)]
    kept = [t.clone() for t in tensors]
    buffer = torch.full((2, 12), float("nan"), dtype=torch.float64)
    for coefficients in ([0.2, 0.3, 0.5], [0.0, 1.0, -2.0], [0.0, 0.0, 0.0]):
        double = torch.complex128 if dtype.is_complex else torch.float64
        expected = sum(
            (t.to(double) * c for t, c in zip(tensors, coefficients, strict=True)), torch.zeros(shape, dtype=double)
        )
        found = sum_of(tensors, coefficients, buffer)
        assert (found.dtype, found.shape) == (double, expected.shape)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        assert torch.equal(found, sum_of(tensors, coefficients))
    assert all(map(torch.equal, tensors, kept))


def mixed_members(n=11):
    """Return states with small and large tensors, of several dtypes and memory formats, and an integer."""
    generator = torch.Generator().manual_seed(1)
    return [
        {
            "w": torch.randn(5, 3, generator=generator),
            "t": torch.randn(3, 4, generator=generator).t(),
            "n": torch.tensor(k),
            "h": torch.randn(7, generator=generator).half(),
            "large": torch.randn(70_000, generator=generator),
            "b": torch.randn(2, generator=generator, dtype=torch.float64),
            "z": torch.randn(4, generator=generator),
        }
        for k in range(n)
    ]


def test_means_with_each_of_many_states_are_those_with_one():
    members = mixed_members()
    total = RunningSum(members[0]).plus(members[3])
    found = [*total.means_with(members[1:])]
    assert len(found) == len(members) - 1
    for state, mean in zip(members[1:], found, strict=True):
        expected = weighted_sum([members[0], members[3], state], [1 / 3] * 3)
        assert [*mean] == [*expected]
        for key, tensor in mean.items():
            assert tensor.dtype == expected[key].dtype
            torch.testing.assert_close(tensor, expected[key], rtol=2e-3 if key == "h" else 1e-6, atol=1e-7)


def test_means_with_each_are_made_while_they_are_asked_for():
    members, asked = mixed_members(), []

    def states():
        for k, member in enumerate(members):
            asked.append(k)
            yield member

    means = RunningSum(members[0]).means_with(states())
    next(means)
    assert asked == [0]


def test_weighted_sums_repeat_the_weighted_sum():
    members = mixed_members(3)
    for member in members:
        member["tied"] = member["w"]
    sums = weighted_sums(members)
    for weights in ([0.2, 0.3, 0.5], [1, 0, 0], [0, 2.0, -1.0], [0, 0, 0]):
        found, expected = sums(weights), weighted_sum(members, weights)
        assert [*found] == [*expected]
        assert found["tied"] is found["w"]
        assert all(torch.equal(found[key], expected[key]) for key in found)
    with pytest.raises(ValueError, match="2 weights for 3 states"):
        sums([1, 1])


def test_a_weighted_sum_has_memory_of_its_own():
    members = mixed_members(2)
    found = weighted_sum(members, [0.5, 0.5])
    places = {t.untyped_storage().data_ptr() for t in found.values()}
    assert len(places) == len(found)


def test_small_tensors_of_a_mean_begin_as_memory_of_their_own_does():
    state = {"a": torch.ones(3), "b": torch.ones(5, 5), "c": torch.ones(2)}
    for mean in RunningSum(state).means_with([state] * 3):
        start = mean["a"].untyped_storage().data_ptr()
        assert all((t.data_ptr() - start) % 64 == 0 for t in mean.values())


def test_a_sum_of_small_tensors_that_is_too_large_names_its_tensor():
    members = [{"a": torch.ones(3).half(), "big": torch.full((2,), 60_000.0).half()} for _ in range(2)]
    with pytest.raises(ValueError, match="'big' reaches"):
        weighted_sum(members, [1, 1])


def test_finite_numbers_whose_sum_is_too_large_are_finite():
    largest = torch.full((4,), torch.finfo(torch.float32).max)
    states_of.check_finite({"w": largest}, "0")
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="NaN or infinity"):
            states_of.check_finite({"w": torch.tensor([value, -math.inf])}, "0")
