"""Model stock: between the base and the mean, by the angles of the changes."""

import pytest
import torch
from reference.model_stock import model_stock as reference_stock

from skfusion.merge import ModelStock
from skfusion.merge.soups._model_stock import ratio


def random_states(n, seed, dtype=torch.float64, noise=0.5):
    """States whose changes agree to some degree."""
    generator = torch.Generator().manual_seed(seed)

    def some():
        return {"w": torch.randn(6, 5, generator=generator, dtype=torch.float64), "b": torch.randn(3).double()}

    def some_near(way):
        return {k: (base[k] + v + noise * torch.randn(v.shape, generator=generator).double()).to(dtype) for k, v in way}

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base, way = some(), some()
    return [{k: v.to(dtype) for k, v in base.items()}, *(some_near(way.items()) for _ in range(n))]


@pytest.mark.parametrize("n", [1, 2, 3, 6])
@pytest.mark.parametrize("noise", [0.1, 1.0, 5.0])
def test_it_matches_the_angles_of_all_pairs(n, noise):
    base, *states = random_states(n, n, noise=noise)
    found = ModelStock()(states, base)
    for key in base:
        columns = [s[key].reshape(-1).tolist() for s in (base, *states)]
        expected = reference_stock(columns[0], columns[1:])
        assert found[key].reshape(-1).tolist() == pytest.approx(expected, rel=0, abs=1e-13)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_it_is_the_point_next_to_the_centre(n):
    """Members differ from their centre by like amounts, across one another and the way from the base."""
    generator = torch.Generator().manual_seed(n)
    frame = torch.linalg.qr(torch.randn(12, n + 1, generator=generator, dtype=torch.float64)).Q.T
    base = torch.randn(12, generator=generator, dtype=torch.float64)
    centre = base + 2.0 * frame[0]
    members = [centre + 1.5 * frame[k] for k in range(1, n + 1)]
    span = torch.stack([m - base for m in members], dim=1)
    nearest = base + span @ torch.linalg.lstsq(span, (centre - base)[:, None]).solution[:, 0]
    found = ModelStock()([{"w": m} for m in members], {"w": base})["w"]
    torch.testing.assert_close(found, nearest, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_one_member_is_the_result_bit_for_bit(dtype):
    base, state = random_states(1, 0, dtype)
    found = ModelStock()([state], base)
    assert all(torch.equal(found[key], state[key]) for key in base)


def test_members_that_do_not_agree_give_the_base():
    base = {"w": torch.tensor([1.0, 2.0])}
    for a, b in (([2.0, 0.0], [0.0, 3.0]), ([1.0, 1.0], [-1.0, -2.0])):
        states = [{"w": base["w"] + torch.tensor(v)} for v in (a, b)]
        assert torch.equal(ModelStock()(states, base)["w"], base["w"])


def test_lengths_of_changes_do_not_count_for_their_angles():
    generator = torch.Generator().manual_seed(0)
    vectors = [1 + torch.randn(20, generator=generator, dtype=torch.float64) for _ in range(3)]
    assert 0 < ratio(vectors) < 1
    assert ratio([3 * vectors[0], vectors[1], 0.1 * vectors[2]]) == pytest.approx(ratio(vectors), rel=1e-12)


def test_a_member_that_has_not_changed_agrees_with_none():
    still, a = torch.zeros(2), torch.tensor([1.0, 1.0])
    assert ratio([a, a, still]) == pytest.approx(3 * (1 / 3) / (1 + 2 / 3))  # the cosines are 1, 0, 0
    assert ratio([still, still]) == 0
    assert ratio([still]) == 1


def test_numbers_empty_tensors_and_counters_are_merged():
    base = {"scalar": torch.tensor(1.0), "other": torch.tensor(1.0), "empty": torch.zeros(0), "n": torch.tensor(0)}
    states = [
        {"scalar": torch.tensor(s), "other": torch.tensor(o), "empty": torch.zeros(0), "n": torch.tensor(n)}
        for s, o, n in ((2.0, 2.0, 7), (4.0, 0.0, 9))
    ]
    found = ModelStock()(states, base)
    assert (float(found["scalar"]), float(found["other"]), int(found["n"])) == (3.0, 1.0, 9)


def test_a_base_is_needed():
    with pytest.raises(ValueError, match="ModelStock needs the common start"):
        ModelStock()(random_states(2, 1))
