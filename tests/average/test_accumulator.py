"""The weighted mean that averages keep: exact where nothing changes, and in double precision over long runs."""

import pytest
import torch

from skfusion.average import Accumulator


def mixed(values, keep=1.0, share=1.0, dtype=torch.float32):
    """Return the mean of some numbers."""
    kept = Accumulator()
    for value in values:
        kept.mix(keep, {"w": torch.tensor([value], dtype=dtype)}, share)
    return kept.mean()["w"]


@pytest.mark.parametrize("n", [1, 15, 16, 17, 40])
def test_it_is_the_weighted_mean(n):
    values, keep = torch.randn(n, generator=torch.Generator().manual_seed(0)).tolist(), 0.9
    weights = [keep ** (n - 1 - i) for i in range(n)]
    expected = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    assert mixed(values, keep).item() == pytest.approx(expected, rel=0, abs=1e-6)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64], ids=str
)
def test_what_does_not_change_stays_exactly_as_it_is(dtype):
    kept, w = Accumulator(), torch.randn(50, generator=torch.Generator().manual_seed(0)).to(dtype)
    for _ in range(37):
        kept.mix(0.7, {"w": w}, 0.3)
    assert torch.equal(kept.mean()["w"].to(dtype), w)


def test_rounding_does_not_add_up_over_a_long_run():
    """In single precision alone the error of so many additions would be a hundred times as large."""
    values = [0.1 + 1e-3 * (i % 7) for i in range(20_000)]
    assert mixed(values).item() == pytest.approx(sum(values) / len(values), rel=2e-7)


def test_to_keep_nothing_leaves_the_latest_state():
    kept = Accumulator()
    for i in range(20):
        kept.mix(0.0, {"w": torch.tensor([float(i)])}, 0.5)
        assert kept.mean()["w"].item() == i


def test_to_read_it_does_not_change_what_follows():
    read, unread = Accumulator(), Accumulator()
    for i in range(25):
        for kept in (read, unread):
            kept.mix(0.8, {"w": torch.tensor([float(i)])}, 0.2)
        first = read.mean()["w"]
        first += 1.0  # a copy
    assert torch.allclose(read.mean()["w"], unread.mean()["w"], rtol=1e-6)


def test_masks_stay_infinite_and_divergence_shows():
    kept = Accumulator()
    for i in range(20):
        mask = torch.tensor([0.0, -torch.inf])
        kept.mix(0.9, {"mask": mask, "w": torch.tensor([torch.nan if i == 10 else 1.0])}, 0.1)
    assert torch.equal(kept.mean()["mask"], mask)
    assert kept.mean()["w"].isnan()


def test_states_are_copied():
    kept, live = Accumulator(), torch.zeros(1)
    for i in range(4):
        live.fill_(i)
        kept.mix(1, {"w": live}, 1)
    live.fill_(100.0)
    assert kept.mean()["w"].item() == 1.5
