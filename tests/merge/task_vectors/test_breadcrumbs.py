"""Breadcrumbs: neither the largest nor the smallest changes."""

import math

import pytest
import torch
from reference.breadcrumbs import breadcrumbs as reference_breadcrumbs

from skfusion.merge import Breadcrumbs, TaskArithmetic
from skfusion.merge.task_vectors._breadcrumbs import middle


def random_states(n, seed, shape=(6, 5), dtype=torch.float64, whole=False):
    generator = torch.Generator().manual_seed(seed)

    def some(s):
        t = torch.randn(s, generator=generator, dtype=torch.float64)
        return ((2 * t).round() if whole else t).to(dtype)

    return [{"w": some(shape), "scalar": some(())} for _ in range(n)]


@pytest.mark.parametrize(("density", "gamma"), [(0.1, 0.01), (0.3, 0.2), (0.9, 0.1), (0.001, 0.999), (1.0, 0.0)])
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("whole", [False, True])  # whole numbers have many ties
def test_it_matches_sorting(n, density, gamma, whole):
    base, *states = random_states(n + 1, n, whole=whole)
    found = Breadcrumbs(density, gamma, 0.6)(states, base)
    for key in base:
        columns = [s[key].reshape(-1).tolist() for s in (base, *states)]
        expected = reference_breadcrumbs(columns[0], columns[1:], [density] * n, [gamma] * n, 0.6)
        assert found[key].reshape(-1).tolist() == pytest.approx(expected, rel=0, abs=1e-14)


@pytest.mark.parametrize("whole", [False, True])
def test_each_member_has_a_weight_and_shares(whole):
    base, *states = random_states(4, 7, whole=whole)
    density, gamma, weights = [0.1, 0.5, 0.9], [0.3, 0.0, 0.1], [1.0, -0.5, 2.0]
    found = Breadcrumbs(density, gamma, 0.6, weights)(states, base)
    for key in base:
        columns = [s[key].reshape(-1).tolist() for s in (base, *states)]
        expected = reference_breadcrumbs(columns[0], columns[1:], density, gamma, 0.6, weights)
        assert found[key].reshape(-1).tolist() == pytest.approx(expected, rel=0, abs=1e-13)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"density": [0.1, 0.2]}, "Breadcrumbs needs a density for each of 3 members"),
        ({"gamma": [0.1, 0.2]}, "Breadcrumbs needs a gamma for each of 3 members"),
        ({"weights": [1, 2, math.nan]}, "Breadcrumbs needs a finite weight for each of 3 members"),
        ({"gamma": [0.0, 0.0, 0.95]}, "at most 1 together"),
    ],
)
def test_numbers_that_do_not_fit_the_members_are_refused(params, message):
    base, *states = random_states(4, 5)
    with pytest.raises(ValueError, match=message):
        Breadcrumbs(**params)(states, base)


def test_it_selects_in_each_tensor():
    base = {"small": torch.zeros(4), "large": torch.zeros(4)}
    state = {"small": torch.tensor([1.0, -2.0, 3.0, -4.0]), "large": torch.tensor([10.0, 20.0, -30.0, 40.0])}
    found = Breadcrumbs(density=0.25, gamma=0.25, scale=1)([state], base)
    assert found["small"].tolist() == [0, 0, 3, 0]
    assert found["large"].tolist() == [0, 0, -30, 0]


def test_all_kept_is_task_arithmetic():
    base, *states = random_states(4, 2, dtype=torch.float32)
    found, expected = Breadcrumbs(1.0, 0.0, 0.3)(states, base), TaskArithmetic(0.3)(states, base)
    for key in base:
        torch.testing.assert_close(found[key], expected[key], rtol=0, atol=1e-6)


def test_all_of_one_member_is_the_member():
    base, state = random_states(2, 3, dtype=torch.float32)
    found = Breadcrumbs(1.0, 0.0, 1.0)([state], base)
    assert all(torch.equal(found[key], state[key]) for key in base)


def test_ties_with_a_bound_are_kept():
    tau = torch.tensor([5.0, -5.0, 3.0, 3.0, -3.0, 1.0])
    assert middle(tau, density=1 / 6, gamma=0.5).tolist() == [0, 0, 3, 3, -3, 0]
    assert middle(tau, density=1 / 6, gamma=1 / 6).tolist() == [5, -5, 0, 0, 0, 0]


def test_shares_are_rounded_to_whole_numbers():
    sizes = torch.arange(1.0, 101.0)
    assert int(middle(sizes, density=0.29, gamma=0.58).count_nonzero()) == 29
    assert middle(sizes, density=0.29, gamma=0.58).max() == 42


def test_of_a_small_tensor_one_number_is_kept():
    assert middle(torch.tensor([1.0, 2.0]), density=0.01, gamma=0.0).tolist() == [0, 2]
    assert middle(torch.tensor([1.0, 2.0]), density=0.01, gamma=0.99).tolist() == [1, 0]
    assert middle(torch.tensor(2.0), density=0.01, gamma=0.9).tolist() == 2
    assert middle(torch.zeros(0, 3), density=0.5, gamma=0.1).shape == (0, 3)


def test_low_precision_is_rounded_once():
    base, *states = random_states(4, 4, dtype=torch.bfloat16)
    columns = [s["w"].reshape(-1).tolist() for s in (base, *states)]
    expected = torch.tensor(
        reference_breadcrumbs(columns[0], columns[1:], [0.4] * 3, [0.1] * 3, 0.3), dtype=torch.float64
    )
    found = Breadcrumbs(0.4, 0.1)(states, base)["w"].reshape(-1)
    assert torch.equal(found, expected.to(torch.bfloat16))


@pytest.mark.parametrize(
    ("density", "gamma"), [(0.0, 0.1), (-0.1, 0.1), (0.5, -0.1), (0.9, 0.2), (math.nan, 0.1), (0.5, math.nan)]
)
def test_shares_that_make_no_sense_are_refused(density, gamma):
    base, *states = random_states(3, 5)
    with pytest.raises(ValueError, match="at most 1 together; got density="):
        Breadcrumbs(density, gamma)(states, base)


def test_a_scale_that_is_not_finite_is_refused():
    base, *states = random_states(3, 5)
    with pytest.raises(ValueError, match="scale of Breadcrumbs must be a finite number"):
        Breadcrumbs(scale=math.nan)(states, base)


def test_a_base_is_needed():
    with pytest.raises(ValueError, match="Breadcrumbs needs the common start"):
        Breadcrumbs()(random_states(2, 6))


def test_a_sum_that_is_too_large_for_its_dtype_is_named():
    base = {"v": torch.zeros(1), "w": torch.zeros(1).half()}
    states = [{"v": torch.ones(1), "w": torch.full((1,), value).half()} for value in (60000.0, 50000.0)]
    assert Breadcrumbs(1.0, 0.0, 0.5)(states, base)["w"].item() == pytest.approx(55000, rel=1e-3)
    with pytest.raises(ValueError, match=r"'w' reaches 1.1e\+05, and torch.float16 ends at 6.55e\+04"):
        Breadcrumbs(1.0, 0.0, 1.0)(states, base)
