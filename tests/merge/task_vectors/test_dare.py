"""DARE: drop most of what has changed, and enlarge the rest."""

import itertools
import math

import pytest
import torch
from sklearn.base import clone

from skfusion.merge import DARE, TIES, Breadcrumbs, Greedy, Interpolate, ModelStock, Slerp, TaskArithmetic, Uniform
from skfusion.merge.task_vectors._dare import mask


def random_states(n, seed=0, d=50, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [
        {k: torch.randn(d, generator=generator, dtype=torch.float64).to(dtype) for k in ("one", "two")}
        for _ in range(n)
    ]


def thinned(states, base, rate, random_state=0):
    """The members with most of their changes dropped, by the definition."""
    found = []
    rates = rate if isinstance(rate, list) else [rate] * len(states)
    for k, (state, p) in enumerate(zip(states, rates, strict=True)):
        new = {}
        for name, t in state.items():
            kept = mask(t.shape, p, f"{random_state} {k} {name}")
            new[name] = torch.where(kept, base[name] + (t - base[name]) / (1 - p), base[name])
        found.append(new)
    return found


@pytest.mark.parametrize(
    "inner",
    [
        TaskArithmetic(scale=0.4, weights=[1, 2, -1]),
        Interpolate(t=0.7),
        Uniform(weights=[1, 2, 3]),
        TIES(density=0.3),
        TIES(density=1.0),
        TIES(density=[0.3, 0.5, 1.0], weights=[1, 2, -1]),
        Breadcrumbs(density=0.2),
        ModelStock(),
        Slerp(weights=[3, 1, 1]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("rate", [0.0, 0.5, 0.9, [0.0, 0.4, 0.8]])
def test_it_merges_the_thinned_members(inner, rate):
    base, *states = random_states(4)
    expected = inner(thinned(states, base, rate, 5), base)
    found = DARE(rate, inner, random_state=5)(states, base)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=1e-13)


def test_task_arithmetic_is_the_default():
    base, *states = random_states(3)
    expected = DARE(0.6, TaskArithmetic())(states, base)
    found = DARE(0.6)(states, base)
    assert all(torch.equal(found[key], expected[key]) for key in base)


def test_thinned_members_are_not_rounded_before_they_are_merged():
    base, *states = random_states(4, dtype=torch.bfloat16)
    wide = [{k: t.double() for k, t in s.items()} for s in (base, *states)]
    expected = TaskArithmetic(0.5)(thinned(wide[1:], wide[0], 0.7), wide[0])
    found = DARE(0.7, TaskArithmetic(0.5))(states, base)
    for key in base:
        assert torch.equal(found[key], expected[key].to(torch.bfloat16))


def test_what_is_kept_is_enlarged_and_what_is_dropped_is_the_base():
    base, state = random_states(2, d=1000)
    found = DARE(0.75, TaskArithmetic(1.0))([state], base)
    for key in base:
        kept = found[key] != base[key]
        torch.testing.assert_close((found[key] - base[key])[kept], 4 * (state[key] - base[key])[kept])
        assert abs(int(kept.sum()) - 250) < 5 * math.sqrt(1000 * 0.75 * 0.25)


@pytest.mark.parametrize("rate", [0.3, 0.9])
def test_the_expected_change_is_the_change_with_the_variance_of_the_formula(rate):
    base, state = random_states(2, d=300)
    n = 300
    changes = torch.stack([DARE(rate, TaskArithmetic(1.0), s)([state], base)["one"] - base["one"] for s in range(n)])
    tau = state["one"] - base["one"]
    variance = rate / (1 - rate) * tau.square()
    deviations = (changes.mean(0) - tau).square() / (variance / n)  # each of mean 1 and variance about 2
    assert abs(float(deviations.mean()) - 1) < 5 * math.sqrt(2 / 300)
    signed = (changes.mean(0) - tau) / (variance / n).sqrt() * tau.sign()
    assert abs(float(signed.mean())) < 5 / math.sqrt(300)
    spread = (changes - tau).square().mean() / variance.mean()
    assert abs(float(spread) - 1) < 0.05


def test_members_tensors_and_seeds_are_dropped_independently():
    n = 20_000
    kept = [mask(torch.Size([n]), 0.5, f"{seed} {k} {name}") for seed in (0, 1) for k in (0, 1) for name in "ab"]
    for a, b in itertools.combinations(kept, 2):
        assert abs(float((a == b).double().mean()) - 0.5) < 5 * 0.5 / math.sqrt(n)
    assert torch.equal(kept[0], mask(torch.Size([n]), 0.5, "0 0 a"))


def test_the_mask_of_a_tensor_does_not_depend_on_the_others():
    base, *states = random_states(3)
    found = DARE(0.5)(states, base)
    turned = DARE(0.5)([{k: s[k] for k in ("two", "one")} for s in states], {k: base[k] for k in ("two", "one")})
    alone = DARE(0.5)([{"two": s["two"]} for s in states], {"two": base["two"]})
    assert all(torch.equal(found[key], turned[key]) for key in base)
    assert torch.equal(found["two"], alone["two"])
    assert not torch.equal(found["one"], DARE(0.5, random_state=1)(states, base)["one"])


def test_the_mask_is_the_same_everywhere_and_for_ever():
    assert "".join("01"[int(m)] for m in mask(torch.Size([24]), 0.5, "0 0 weight")) == "011011100001100000001100"


def test_rate_0_drops_nothing():
    base, *states = random_states(4, dtype=torch.float32)
    found, expected = DARE(0.0, Uniform())(states, base), Uniform()(states)
    for key in base:
        torch.testing.assert_close(found[key], expected[key], rtol=0, atol=1e-6)


def test_parameters_of_the_inner_merger_are_reached():
    merge = DARE(merge=TaskArithmetic())
    assert merge.get_params()["merge__scale"] == 0.3
    copy = clone(merge).set_params(merge__scale=0.8, rate=0.2)
    assert repr(copy) == "DARE(rate=0.2, merge=TaskArithmetic(scale=0.8))"
    assert merge.merge.scale == 0.3


def test_scalars_and_empty_tensors_are_merged():
    base = {"scalar": torch.tensor(1.0), "empty": torch.zeros(0, 2), "n": torch.tensor(1)}
    state = {"scalar": torch.tensor(2.0), "empty": torch.zeros(0, 2), "n": torch.tensor(5)}
    found = DARE(0.5, TaskArithmetic(1.0))([state], base)
    assert float(found["scalar"]) in (1.0, 3.0)
    assert found["empty"].shape == (0, 2)
    assert int(found["n"]) == 5


@pytest.mark.parametrize("rate", [1.0, -0.1, 1.5, math.nan])
def test_a_rate_that_is_no_probability_below_1_is_refused(rate):
    base, *states = random_states(3)
    with pytest.raises(ValueError, match="rate of DARE is a probability"):
        DARE(rate)(states, base)


@pytest.mark.parametrize("seed", [None, 0.5, "0"])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    base, *states = random_states(3)
    with pytest.raises(ValueError, match="random_state of DARE is a whole number"):
        DARE(random_state=seed)(states, base)


@pytest.mark.parametrize("inner", [Greedy(), "ties"], ids=repr)
def test_a_merger_that_needs_data_or_is_none_is_refused(inner):
    base, *states = random_states(3)
    with pytest.raises(ValueError, match="DARE merges tensor by tensor, and asks data for nothing but a scale"):
        DARE(merge=inner)(states, base)


def test_faults_of_the_inner_merger_are_told():
    base, *states = random_states(4)
    with pytest.raises(ValueError, match="DARE needs a rate for each of 3 members; got .0.5, 0.6."):
        DARE(rate=[0.5, 0.6])(states, base)
    with pytest.raises(ValueError, match="2 weights for 3 members"):
        DARE(merge=Uniform(weights=[1, 2])).survey(lambda: iter(()), 3)
    with pytest.raises(ValueError, match="2 weights for 3 members"):
        DARE(merge=Uniform(weights=[1, 2]))(states, base)
    with pytest.raises(ValueError, match="DARE needs the common start"):
        DARE(merge=Uniform())(states)
