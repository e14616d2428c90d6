"""Means on the sphere."""

import itertools
import math

import pytest
import torch
from reference.spherical_mean import arc, spherical_mean

from skfusion.merge import Slerp, Uniform
from skfusion.merge.soups._slerp import cosines_of


def vectors(n, seed=0, d=9, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randn(d, generator=generator, dtype=torch.float64)
    return [centre + spread * torch.randn(d, generator=generator, dtype=torch.float64) for _ in range(n)]


def point(angle):
    return torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)


def states_of(tensors):
    return [{"w": t} for t in tensors]


@pytest.mark.parametrize("t", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0])
def test_two_members_give_a_point_of_the_arc(t, spread):
    for seed in range(5):
        a, b = vectors(2, seed, spread=spread)
        found = Slerp(weights=[1 - t, t])(states_of([a, b]))["w"]
        torch.testing.assert_close(found, arc(a, b, t), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("degrees", [1e-6, 1.0, 90.0, 179.0, 179.99])
def test_the_angle_is_shared_by_the_weights(degrees):
    angle = math.radians(degrees)
    a, b = point(0), point(angle)
    found = Slerp(weights=[1, 3])(states_of([a, b]))["w"]
    torch.testing.assert_close(found, point(0.75 * angle), rtol=0, atol=1e-11 if degrees < 179.9 else 1e-8)


@pytest.mark.parametrize("n", [2, 3, 5, 8])
@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_many_members_give_the_mean_that_goes_downhill(n, spread):
    members = vectors(n, n, spread=spread)
    weights = torch.arange(1, n + 1).double()
    expected = spherical_mean(members, (weights / weights.sum()).tolist())
    found = Slerp(weights.tolist())(states_of(members))["w"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


def pull_of(members, x):
    """The sum of the ways from x to the members' directions, on the sphere."""
    x = x / x.norm()
    pull = torch.zeros_like(x)
    for v in members:
        u = v / v.norm()
        across = u - (x @ u) * x
        pull += math.acos(float(x @ u)) * across / across.norm()
    return pull


@pytest.mark.parametrize("n", [3, 6, 16])
def test_the_pulls_of_the_members_cancel(n):
    members = vectors(n, 3, spread=2.0)
    assert float(pull_of(members, Slerp()(states_of(members))["w"]).abs().max()) < 1e-12


def test_directions_all_over_the_sphere_give_an_error_or_a_place_where_the_pulls_cancel():
    refused = 0
    for seed in range(12):
        members = vectors(30, seed, d=3, spread=3.0)
        try:
            found = Slerp()(states_of(members))["w"]
        except ValueError:
            refused += 1
        else:
            assert float(pull_of(members, found).abs().max()) < 1e-12
    assert 0 < refused < 12


@pytest.mark.parametrize("n", [2, 3, 7])
def test_unit_vectors_give_a_unit_vector_and_others_the_mean_length(n):
    members = vectors(n, 1, spread=2.0)
    units = [v / v.norm() for v in members]
    assert float(Slerp()(states_of(units))["w"].norm()) == pytest.approx(1, abs=1e-13)
    weights = [k + 1.0 for k in range(n)]
    mean = sum(w * float(v.norm()) for w, v in zip(weights, members, strict=True)) / sum(weights)
    assert float(Slerp(weights)(states_of(members))["w"].norm()) == pytest.approx(mean, rel=1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_one_hot_weights_and_one_member_give_the_member_bit_for_bit(dtype):
    members = [v.to(dtype) for v in vectors(3, 2)]
    for k, v in enumerate(members):
        assert torch.equal(Slerp([float(i == k) for i in range(3)])(states_of(members))["w"], v)
        assert torch.equal(Slerp()(states_of([v]))["w"], v)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_copies_give_the_copy(dtype):
    for seed, n in itertools.product(range(5), (2, 3, 8)):
        v = vectors(1, seed)[0].to(dtype)
        assert torch.equal(Slerp()(states_of([v] * n))["w"], v)


def test_members_of_no_weight_do_not_count():
    a, b = vectors(2, 3)
    expected = Slerp()(states_of([a, b]))["w"]
    for other in (-a, torch.zeros_like(a)):
        assert torch.equal(Slerp(weights=[1, 1, 0])(states_of([a, b, other]))["w"], expected)


def test_nearly_equal_members_give_their_mean():
    a = vectors(1, 4)[0]
    members = [a, a + 1e-9 * vectors(1, 5)[0], a * (1 + 1e-9)]
    torch.testing.assert_close(Slerp()(states_of(members))["w"], sum(members) / 3, rtol=0, atol=1e-15)


def test_order_does_not_matter():
    members = vectors(4, 6, spread=3.0)
    expected = Slerp([1, 2, 3, 4])(states_of(members))["w"]
    for order in itertools.permutations(range(4)):
        found = Slerp([i + 1.0 for i in order])(states_of([members[i] for i in order]))["w"]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_rotation_of_all_rotates_the_mean():
    members = vectors(5, 7, spread=2.0)
    rotation = torch.linalg.qr(torch.stack(vectors(9, 8))).Q
    expected = rotation @ Slerp()(states_of(members))["w"]
    torch.testing.assert_close(Slerp()(states_of([rotation @ v for v in members]))["w"], expected, rtol=0, atol=1e-12)


def test_more_members_than_numbers():
    members = [point(a) for a in (0.1, 0.2, 0.4, 0.9, 1.4)]
    found = Slerp()(states_of(members))["w"]
    torch.testing.assert_close(found, point(0.6), rtol=0, atol=1e-12)


def test_each_tensor_turns_by_itself():
    states = [
        {"a": torch.tensor([[1.0, 0.0]]), "b": torch.tensor([3.0, 0.0])},
        {"a": torch.tensor([[0.0, 1.0]]), "b": torch.tensor([5.0, 0.0])},
    ]
    found = Slerp()(states)
    assert found["a"].tolist() == [pytest.approx([math.sqrt(0.5)] * 2, rel=1e-6)]
    assert found["b"].tolist() == [4, 0]


def test_tensors_without_directions_become_the_weighted_mean():
    states = [
        {"zero": torch.zeros(2), "number": torch.tensor([1.0]), "scalar": torch.tensor(-1.0), "empty": torch.zeros(0)},
        {
            "zero": torch.tensor([4.0, 8.0]),
            "number": torch.tensor([-3.0]),
            "scalar": torch.tensor(3.0),
            "empty": torch.zeros(0),
        },
    ]
    found = Slerp(weights=[3, 1])(states)
    assert {k: v.tolist() for k, v in found.items()} == {"zero": [1, 2], "number": [0], "scalar": 0, "empty": []}


def test_numbers_whose_squares_overflow_become_the_weighted_mean():
    members = [torch.tensor(v, dtype=torch.float64) for v in ([1e200, 0.0], [0.0, 1e200])]
    assert Slerp()(states_of(members))["w"].tolist() == [5e199, 5e199]


def test_opposite_members_are_refused_by_name():
    a = vectors(1, 9)[0]
    for weights in (None, [1, 3]):
        with pytest.raises(ValueError, match="tensor 'w' have no mean on the sphere: members 0 and 1 .* cosine of -1"):
            Slerp(weights)(states_of([a, -2 * a]))
    with pytest.raises(ValueError, match="members 1 and 2"):
        Slerp([0, 1, 1])(states_of([a + 1, a, -a]))


def test_directions_that_cancel_are_refused():
    for start in range(20):
        members = [point(start / 3 + a) for a in (0, 2 * math.pi / 3, 4 * math.pi / 3)]
        with pytest.raises(ValueError, match="no mean on the sphere"):
            Slerp()(states_of(members))


def test_statistics_are_averaged_plainly():
    states = [{"1.running_mean": torch.tensor([1.0, 0.0])}, {"1.running_mean": torch.tensor([0.0, 1.0])}]
    assert torch.equal(Slerp()(states)["1.running_mean"], Uniform()(states)["1.running_mean"])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], "2 weights for 3 members"),
        ([1, -1, 1], "non-negative"),
        ([0, 0, 0], "not all zero"),
        ([1, math.nan, 1], "finite"),
    ],
)
def test_wrong_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        Slerp(weights)(states_of(vectors(3)))


def test_cosines_are_at_most_one_in_spite_of_rounding():
    for seed in range(100):
        v = torch.randn(7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        cosines = cosines_of([v, v, -v], torch.linalg.vector_norm(v).expand(3))
        assert cosines.abs().max() <= 1
        torch.testing.assert_close(cosines[0], torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))


def test_tensors_too_long_for_a_length_are_averaged():
    far, near = (torch.tensor(v, dtype=torch.float64) for v in ([1e200, 0.0], [0.0, 1.0]))
    assert Slerp()([{"w": far}, {"w": near}])["w"].tolist() == [5e199, 0.5]


def test_a_merger_of_tensors_needs_no_survey_unless_it_says_so():
    assert Slerp().n_surveys(1000) == 0
