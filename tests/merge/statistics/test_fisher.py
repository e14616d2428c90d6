"""The mean by Fisher information."""

import math

import pytest
import torch
from merge.problems import CASES, Tied, assert_close, fisher_of, normal, objective, perceptron, states
from reference import fisher as reference
from torch import nn

from skfusion.merge import Fisher, Uniform, merge_shared
from skfusion.objective import Batch, Likelihood
from skfusion.state import owners


def merged(merge, module, members, *batches, **more):
    return merge(members, objective=objective(module, *batches, **more))


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("floor", [0.0, 1e-3])
@pytest.mark.parametrize("weights", [None, [2.0, 0.0, 1.0]])
def test_it_matches_the_mean_number_by_number(weights, floor, normalise):
    module, x = perceptron(4, 6, 3), normal(7, 4)
    members = states(module, 3)
    fishers = [fisher_of(module, s, x) for s in members]
    if normalise:
        for f in fishers:
            norm = math.sqrt(sum(float((t**2).sum()) for t in f.values()))
            f.update({name: t / norm for name, t in f.items()})
    found = merged(Fisher(floor=floor, normalise=normalise, weights=weights), module, members, Batch(x, x))
    for name in members[0]:
        expected = reference.merge(
            [s[name].flatten().tolist() for s in members],
            [f[name].flatten().tolist() for f in fishers],
            weights or [1.0] * 3,
            floor,
        )
        assert found[name].flatten().tolist() == pytest.approx(expected, rel=0, abs=1e-10)


def test_it_is_the_mode_of_the_product_of_gaussians():
    """Least squares with one feature at a time: members are posterior modes, whose precision is n F."""
    x = torch.eye(2).double().repeat(6, 1) * torch.arange(1, 13).double()[:, None]
    y = normal(12, 1)
    parts = [slice(0, 4), slice(4, 12)]
    module = nn.Linear(2, 1, bias=False).double()
    members = [{"weight": torch.linalg.lstsq(x[p], y[p]).solution.T} for p in parts]
    own = tuple(lambda p=p: [Batch(x[p], y[p])] for p in parts)
    found = merged(
        Fisher(floor=0.0, weights=[4, 8]), module, members, kind="gaussian", member_batches=own
    )  # by their rows
    torch.testing.assert_close(found["weight"], torch.linalg.lstsq(x, y).solution.T, rtol=0, atol=1e-12)


def test_equal_information_gives_the_mean():
    module, x = nn.Linear(3, 2).double(), normal(5, 3)
    members = states(module, 3)  # of values, the information does not depend on the weights
    found = merged(Fisher(), module, members, Batch(x, x), kind="gaussian")
    assert_close(found, Uniform()(members), 1e-14)


def test_where_one_member_alone_knows_it_is_obeyed():
    module, x = nn.Linear(2, 1, bias=False).double(), torch.tensor([[1.0, 0.0]]).double()
    a, b = states(module, 2)
    own = (lambda: [Batch(x, x)], lambda: [Batch(x.flip(1), x)])
    found = merged(Fisher(floor=0.0), module, [a, b], kind="gaussian", member_batches=own)
    expected = {"weight": torch.stack([a["weight"][0, 0], b["weight"][0, 1]])[None]}
    assert_close(found, expected, 0)


def test_where_nobody_knows_it_is_the_weighted_mean():
    module, x = nn.Linear(2, 1, bias=False).double(), torch.tensor([[1.0, 0.0]]).double()
    members = states(module, 2)
    report = {}
    for floor in (0.0, 1e-6):
        data = objective(module, Batch(x, x), kind="gaussian", report=report.__setitem__)
        found = Fisher(floor=floor, weights=[1, 3])(members, objective=data)
        torch.testing.assert_close(found["weight"], Uniform([1, 3])(members)["weight"], rtol=0, atol=1e-14)
        assert report == {"share_at_floor": 0.5}


@pytest.mark.parametrize("expectation", ["exact", "sampled", "empirical"])
def test_each_number_lies_between_those_of_the_members(expectation):
    module, x = perceptron(4, 6, 3, norm=True), normal(20, 4)
    members = states(module, 3)
    found = merged(Fisher(expectation), module, members, Batch(x, torch.arange(20) % 3))
    for name, value in found.items():
        each = torch.stack([s[name].double() for s in members])
        assert bool((value >= each.amin(0) - 1e-12).all())
        assert bool((value <= each.amax(0) + 1e-12).all())


def test_one_member_is_kept():
    module = perceptron(4, 6, 3)
    members = states(module, 1)
    assert_close(merged(Fisher(), module, members, Batch(normal(5, 4), torch.zeros(5))), members[0], 1e-14)


def test_a_common_factor_of_all_information_has_no_influence():
    module = perceptron(4, 6, 3)
    members, batch = states(module, 2), Batch(normal(6, 4), torch.zeros(6))
    scaled = Likelihood("gaussian", lambda out: 7 * out)  # information times 49
    expected = merged(Fisher(floor=0.0), module, members, batch, kind="gaussian")
    assert_close(merged(Fisher(floor=0.0), module, members, batch, likelihood=scaled), expected, 1e-12)
    assert_close(merged(Fisher(floor=0.0, weights=[5, 5]), module, members, batch, kind="gaussian"), expected, 1e-12)
    plain, wide = (
        merged(Fisher(normalise=True, floor=0.01), module, members, member_batches=own, kind="gaussian")
        for own in ((lambda: [batch],) * 2, (lambda: [batch], lambda: [batch._replace(weight=torch.full((6,), 9.0))]))
    )
    assert_close(wide, plain, 1e-12)


def test_members_that_are_surer_do_not_count_more_where_information_is_normalised():
    module = nn.Linear(2, 1, bias=False).double()
    members = states(module, 2)
    x = torch.tensor([[1.0, 2.0]]).double()
    own = (lambda: [Batch(x, x)], lambda: [Batch(10 * x, x)])
    found = merged(Fisher(normalise=True, floor=0.0), module, members, member_batches=own, kind="gaussian")
    assert_close(found, Uniform()(members), 1e-14)
    found = merged(Fisher(floor=0.0), module, members, member_batches=own, kind="gaussian")
    torch.testing.assert_close(found["weight"], Uniform([1, 100])(members)["weight"], rtol=0, atol=1e-14)


def test_statistics_and_counters_are_no_parameters():
    module = perceptron(4, 6, 3, norm=True)
    members = states(module, 2)
    found = merged(Fisher(weights=[1, 3]), module, members, Batch(normal(5, 4), torch.zeros(5)))
    for name in ("1.running_mean", "1.running_var"):
        torch.testing.assert_close(found[name], members[0][name] / 4 + 3 * members[1][name] / 4, rtol=0, atol=1e-14)
    assert int(found["1.num_batches_tracked"]) == 1


@pytest.mark.parametrize("saved", [False, True])  # a file does not tell that tensors are one
def test_tied_tensors_are_merged_as_one_whatever_their_order(saved):
    module, x = Tied().double(), normal(7, 4)
    members = states(module, 2)
    fishers = [fisher_of(module, s, x) for s in members]
    if saved:
        members = [{name: s[name].clone() for name in reversed(s)} for s in members]
    report = {}
    found = merged(Fisher(floor=0.0), module, members, Batch(x, x), report=report.__setitem__)
    assert report["share_at_floor"] == 0
    for first, second in (("first.weight", "second.weight"), ("head.bias", "again.bias")):
        f, g = (fisher[first] for fisher in fishers)
        expected = (f * members[0][first] + g * members[1][first]) / (f + g)
        torch.testing.assert_close(found[first], expected, rtol=0, atol=1e-10)
        assert found[first] is found[second]
    assert len({*owners([found]).values()}) == 5


def test_heads_are_kept_and_used():
    module, x = perceptron(4, 5, 3), normal(7, 4)
    members = states(module, 2)
    data = objective(module, Batch(x, x))
    found = merge_shared(Fisher(floor=0.0), members, objective=data, heads=["2"])
    fishers = [fisher_of(module, s, x) for s in members]
    for name in ("0.weight", "0.bias"):
        expected = sum(f[name] * s[name] for f, s in zip(fishers, members, strict=True)) / sum(f[name] for f in fishers)
        torch.testing.assert_close(found[0][name], expected, rtol=0, atol=1e-10)
    assert all(torch.equal(f["2.weight"], s["2.weight"]) for f, s in zip(found, members, strict=True))


def test_some_rows_are_drawn():
    module, x = nn.Linear(1, 1, bias=False).double(), torch.arange(1.0, 101).double()[:, None]
    seen = []
    batches = [Batch(x[:30], x[:30]), Batch(x[30:], x[30:])]
    data = objective(module, *batches, kind="gaussian")
    module.register_forward_pre_hook(lambda _, args: seen.append(args[0].flatten().tolist()))
    with torch.no_grad():  # of the caller
        Fisher(n_examples=20)(states(module, 1), objective=data)
    rows = {value for some in seen for value in some}
    assert len(rows) == 20
    assert min(rows) < 30 < 60 < max(rows)


@pytest.mark.parametrize("case", ["BatchNorm", "recurrent"])
def test_the_caller_need_not_allow_gradients_and_the_module_gets_its_mode_and_hooks_back(case):
    make, x = CASES[case]
    module = make()
    members = states(module, 2)
    expected = merged(Fisher(), module.eval(), members, Batch(x, x))
    with torch.no_grad():
        found = merged(Fisher(), module.train(), members, Batch(x, x))
    assert_close(found, expected, 1e-12)
    assert all(part.training for part in module.modules())
    assert not any(part._forward_hooks for part in module.modules())
    assert all(p.grad is None for p in module.parameters())


# Bad input.


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"expectation": "mean"}, "expectation must be one of .*'exact'.*got 'mean'"),
        ({"floor": -1.0}, "floor must be finite and at least 0; got -1"),
        ({"floor": math.nan}, "floor must be finite"),
        ({"weights": [1.0]}, "got 1 weights for 2 members"),
        ({"weights": [1.0, -1.0]}, "non-negative and not all zero"),
        ({"weights": [math.nan, 1.0]}, "must be finite"),
        ({"weights": [0, 0]}, "not all zero"),
        ({"n_examples": 0}, "number of rows to draw must be at least 1"),
    ],
)
def test_bad_parameters_are_refused(params, message):
    module = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=message):
        merged(Fisher(**params), module, states(module, 2), Batch(normal(3, 2, dtype=torch.float32), torch.zeros(3)))


def test_an_objective_that_does_not_tell_enough_is_refused():
    module, x = nn.Linear(2, 2), torch.ones(3, 2)
    members = states(module, 2)
    with pytest.raises(ValueError, match="Fisher differentiates predictions on data; give it an objective"):
        Fisher()(members)
    with pytest.raises(ValueError, match="give the objective a likelihood"):
        merged(Fisher(), module, members, Batch(x, x), likelihood=None)
    with pytest.raises(ValueError, match="rows of positive weight, and the objective has none"):
        merged(Fisher(), module, members)
    with pytest.raises(ValueError, match="rows of positive weight"):
        merged(Fisher(), module, members, Batch(x, x, torch.zeros(3)))
    with pytest.raises(ValueError, match="information of member 0 is 0, so it cannot be normalised: take normalise"):
        merged(
            Fisher(normalise=True),
            nn.Linear(2, 2, bias=False),
            [{"weight": m["weight"]} for m in members],
            Batch(0 * x, x),
        )
