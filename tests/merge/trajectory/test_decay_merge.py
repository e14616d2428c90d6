"""Decays of the learning rate that were never run."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from skfusion.merge import DecayMerge, Uniform


def run_of(k, dtype=torch.float64):
    """Checkpoints with k updates between them, and these updates."""
    generator = torch.Generator().manual_seed(k)
    start, updates = (torch.randn(*shape, generator=generator, dtype=dtype) for shape in ((7,), (k, 7)))
    points = start + torch.cat([torch.zeros(1, 7, dtype=dtype), updates.cumsum(0)])
    return [{"w": p} for p in points], updates


def factors_of(c):
    """What coefficients make of the updates: the factor on each is the sum of those after it."""
    return [math.fsum(c[i:]) for i in range(1, len(c))]


def ema(beta, k):
    """The factors of an exponential moving average that begins at the first checkpoint, by position."""
    return lambda u: 1 - beta ** (k - round(u * (k + 1)) + 1)


DECAYS = ["linear", "cosine", "1-sqrt", lambda u: (1 - u) ** 2, ema(0.7, 6)]
FORMULAS = {
    "linear": lambda u: 1 - u,
    "cosine": lambda u: 0.5 + 0.5 * math.cos(math.pi * u),
    "1-sqrt": lambda u: 1 - u**0.5,
}


@pytest.mark.parametrize("decay", DECAYS)
def test_replaying_the_updates_with_the_factors_gives_the_merge(decay):
    k = 6
    states, updates = run_of(k)
    f = FORMULAS.get(decay, decay) if isinstance(decay, str) else decay
    point = states[0]["w"].clone()
    for i in range(1, k + 1):
        point += f(i / (k + 1)) * updates[i - 1]
    torch.testing.assert_close(DecayMerge(decay)(states)["w"], point, rtol=0, atol=1e-13)


@pytest.mark.parametrize("decay", DECAYS)
def test_coefficients_are_shares_and_give_back_their_factors(decay):
    for k in (0, 1, 2, 6):
        merge = DecayMerge(ema(0.7, k) if not isinstance(decay, str) and decay is DECAYS[-1] else decay)
        c = merge.coefficients([{}] * (k + 1))
        assert math.fsum(c) == pytest.approx(1, abs=1e-14)
        assert min(c) >= 0
        w = factors_of(c)
        again = DecayMerge(lambda u, w=w, k=k: w[round(u * (k + 1)) - 1]).coefficients([{}] * (k + 1))
        assert again == pytest.approx(c, abs=1e-14)


@pytest.mark.parametrize("k", [1, 2, 9])
def test_the_linear_decay_is_the_plain_mean(k):
    states, _ = run_of(k)
    assert DecayMerge().coefficients(states) == pytest.approx([1 / (k + 1)] * (k + 1), abs=1e-14)
    torch.testing.assert_close(DecayMerge()(states)["w"], Uniform()(states)["w"], rtol=0, atol=1e-13)


def test_an_exponential_moving_average_is_a_decay():
    states, _ = run_of(6)
    average = states[0]["w"]
    for state in states[1:]:
        average = 0.7 * average + 0.3 * state["w"]
    torch.testing.assert_close(DecayMerge(ema(0.7, 6))(states)["w"], average, rtol=0, atol=1e-13)


def test_no_decay_is_the_last_checkpoint_and_a_full_one_the_first():
    states, _ = run_of(4)
    assert torch.equal(DecayMerge(lambda u: 1.0)(states)["w"], states[-1]["w"])
    assert torch.equal(DecayMerge(lambda u: 0)(states)["w"], states[0]["w"])


def test_the_cosine_counts_the_middle_and_the_square_root_the_early_checkpoints():
    cosine, root = (np.array(DecayMerge(d).coefficients([{}] * 9)) for d in ("cosine", "1-sqrt"))
    assert cosine.argmax() == 4
    assert all(a > b for a, b in pairwise(root))


def test_coefficients_are_never_negative_if_and_only_if_the_decay_never_rises():
    rng = np.random.RandomState(0)
    for _ in range(50):
        w = rng.uniform(size=5).tolist()
        falling = sorted(w, reverse=True)
        assert min(DecayMerge(lambda u, w=falling: w[round(u * 6) - 1]).coefficients([{}] * 6)) >= 0
        if w != falling:
            assert min(a - b for a, b in pairwise([1, *w, 0])) < 0
            with pytest.raises(ValueError, match="never rise"):
                DecayMerge(lambda u, w=w: w[round(u * 6) - 1]).coefficients([{}] * 6)


def test_noise_of_a_run_at_constant_rate_is_averaged_as_by_a_decay():
    """A noisy quadratic: the merge is far better than the last iterate, and about as good as the decay that was run."""

    def end(seed, merged):
        rng, w, kept = np.random.RandomState(seed), np.full(3, 3.0), []
        curvature, rate = np.array([1.0, 0.3, 0.1]), 0.3
        for t in range(400):
            factor = 1.0 if merged or t < 200 else 1 - (t - 199) / 201
            w = w - rate * factor * (curvature * w + rng.normal(size=3))
            if t >= 199:
                kept.append({"w": torch.from_numpy(w.copy())})
        w = DecayMerge()(kept)["w"].numpy() if merged else w
        last = kept[-1]["w"].numpy()
        return float(curvature @ w**2), float(curvature @ last**2)

    merged, last = np.mean([end(seed, True) for seed in range(20)], axis=0)
    decayed, _ = np.mean([end(seed, False) for seed in range(20)], axis=0)
    assert merged < last / 2
    assert merged < 2 * decayed


@pytest.mark.parametrize(
    ("decay", "message"),
    [
        (lambda u: 2 * (1 - u), r"between 0 and 1 and never rise.*DecayMerge\(decay=<lambda>\).*factors 1\.5, 1, 0\.5"),
        (lambda u: u, r"never rise.*factors 0\.25, 0\.5, 0\.75"),
        (lambda u: 0.5 - u, r"between 0 and 1.*factors 0\.25, 0, -0\.25"),
        (lambda u: float("nan"), "factors nan, nan, nan"),
        ("exponential", "'linear', 'cosine', '1-sqrt', or a function; got 'exponential'"),
        (0.5, "or a function; got 0.5"),
    ],
)
def test_a_wrong_decay_is_refused_with_its_values(decay, message):
    with pytest.raises(ValueError, match=message):
        DecayMerge(decay)(run_of(3)[0])


def test_checkpoints_in_another_order_are_refused():
    merge = DecayMerge()
    assert merge.for_members([{"epoch": 1}, {"epoch": 3}, {"epoch": 3}]) is merge
    assert merge.for_members([{}, {"epoch": 3}, {"epoch": 1}]) is merge  # which nobody knows the order of
    with pytest.raises(ValueError, match=r"in the order in which they came.*\[3, 1\].*Tail\(\)"):
        merge.for_members([{"epoch": 3}, {"epoch": 1}])
    with pytest.raises(ValueError, match=r"the checkpoints of one run.*\[3, 3\]"):  # as of two runs
        merge.for_members([{"epoch": 3}, {"epoch": 3}])
    assert merge.for_members([{"epoch": 3}]) is merge
    assert merge.for_members([{"epoch": 3, "step": 5}, {"epoch": 3, "step": 6}]) is merge
