"""Layers that answer as the members' own layers do."""

import math

import numpy as np
import pytest
import torch
from merge.problems import Named, Tied, Tokens, Twice, assert_close, batch, normal, objective, own, perceptron, states
from reference import regmean as reference
from torch import nn

from skfusion.merge import RegMean, Uniform, merge_shared
from skfusion.merge.statistics._regmean import solved
from skfusion.state import owners

RAW = {"shrink": 1.0, "normalise": False, "ridge": 0.0}


def merged(merge, module, members, *batches, **more):
    return merge(members, objective=objective(module, *batches, **more))


def rows_of(x, bias=True):
    rows = x.detach().reshape(-1, x.shape[-1]).numpy()
    return reference.with_bias(rows) if bias else rows


def wide(state, name):
    """Weight and bias of a layer in one array."""
    return torch.cat([state[f"{name}.weight"], state[f"{name}.bias"][:, None]], 1).numpy()


def least_squares(x, y, bias):
    x = torch.cat([x, torch.ones(len(x), 1)], 1) if bias else x
    found = torch.linalg.lstsq(x, y).solution.T
    return {"weight": found[:, :4], "bias": found[:, 4]} if bias else {"weight": found}


# Least squares.


@pytest.mark.parametrize("bias", [False, True])
def test_least_squares_of_parts_make_least_squares_of_all(bias):
    x, y = normal(60, 4) + 0.5, normal(60, 2, seed=1)
    parts = (slice(0, 10), slice(10, 25), slice(25, 60))
    members = [least_squares(x[p], y[p], bias) for p in parts]
    module, rows = nn.Linear(4, 2, bias=bias).double(), own(*(x[p] for p in parts))
    assert_close(merged(RegMean(**RAW), module, members, member_batches=rows), least_squares(x, y, bias), 1e-10)
    alike = merged(RegMean(**{**RAW, "normalise": True}), module, members, member_batches=rows)
    root = torch.cat([torch.full((p.stop - p.start, 1), p.stop - p.start).double() ** -0.5 for p in parts])
    heavy = torch.cat([x, torch.ones(60, 1)], 1) if bias else x
    expected = torch.linalg.lstsq(root * heavy, root * y).solution.T
    torch.testing.assert_close(alike["weight"], expected[:, :4], rtol=0, atol=1e-10)
    assert (alike["weight"] - least_squares(x, y, bias)["weight"]).abs().max() > 1e-3


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shrink", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("normalise", [False, True])
def test_it_solves_the_normal_equations(bias, shrink, normalise):
    module, each = nn.Linear(4, 2, bias=bias).double(), [normal(9, 4) + 1, normal(5, 4, seed=2)]
    members = states(module, 2)
    found = merged(RegMean(shrink, normalise, ridge=0.0), module, members, member_batches=own(*each))
    weights = [torch.cat([s["weight"], *([s["bias"][:, None]] if bias else [])], 1).numpy() for s in members]
    expected = reference.regmean([rows_of(x, bias) for x in each], weights, shrink, normalise)
    np.testing.assert_allclose(found["weight"].numpy(), expected[:, :4], rtol=0, atol=1e-10)
    if bias:
        np.testing.assert_allclose(found["bias"].numpy(), expected[:, 4], rtol=0, atol=1e-10)


def test_equal_inputs_give_the_mean():
    module, x = nn.Linear(4, 2).double(), normal(9, 4)
    members = states(module, 3)
    assert_close(merged(RegMean(), module, members, batch(x)), Uniform()(members), 1e-12)


def test_without_correlations_each_feature_is_averaged_by_its_mean_square():
    module, each = nn.Linear(3, 2).double(), [normal(9, 3), normal(4, 3, seed=2)]
    members = states(module, 2)
    found = merged(RegMean(shrink=0.0, ridge=0.0), module, members, member_batches=own(*each))
    a, b = ((x**2).mean(0) for x in each)
    expected = (a * members[0]["weight"] + b * members[1]["weight"]) / (a + b)
    torch.testing.assert_close(found["weight"], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(found["bias"], (members[0]["bias"] + members[1]["bias"]) / 2, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ridge", [0.0, 1e-6])
def test_directions_that_no_row_has_keep_the_mean(ridge):
    module = nn.Linear(4, 2, bias=False).double()
    members = states(module, 2)
    plane = normal(2, 4, seed=7)  # all rows lie in it
    each = [normal(9, 2) @ plane, normal(9, 2, seed=2) @ plane]
    found = merged(RegMean(**{**RAW, "ridge": ridge}), module, members, member_batches=own(*each))["weight"]
    mean = Uniform()(members)["weight"]
    across = torch.linalg.svd(plane).Vh[2:]
    torch.testing.assert_close(found @ across.T, mean @ across.T, rtol=0, atol=1e-8)
    answers = [x @ s["weight"].T for x, s in zip(each, members, strict=True)]
    expected = torch.linalg.lstsq(torch.cat(each), torch.cat(answers), driver="gelsd").solution.T
    inside = torch.linalg.svd(plane).Vh[:2].T
    torch.testing.assert_close(found @ inside, expected @ inside, rtol=0, atol=1e-4 if ridge else 1e-10)


def test_features_that_are_always_0_keep_the_mean():
    module, x = nn.Linear(4, 2, bias=False).double(), torch.zeros(5, 4).double()
    members = states(module, 2)
    assert_close(merged(RegMean(**RAW), module, members, batch(x)), Uniform()(members), 1e-14)


def test_a_large_ridge_gives_the_mean():
    module, each = nn.Linear(4, 2).double(), [normal(9, 4), normal(5, 4, seed=2)]
    members = states(module, 2)
    near, far = (merged(RegMean(ridge=r), module, members, member_batches=own(*each)) for r in (1e9, 1e-6))
    assert_close(near, Uniform()(members), 1e-7)
    assert (far["weight"] - near["weight"]).abs().max() > 1e-3


def test_one_member_is_kept_to_the_bit():
    module = perceptron(4, 6, 3, norm=True)
    (state,) = states(module, 1)
    found = merged(RegMean(), module, [state], batch(normal(9, 4)))
    assert all(torch.equal(found[name], state[name]) for name in state)


# Networks.


def test_each_layer_sees_what_it_sees_inside_the_member_on_its_own_rows():
    module, each = perceptron(4, 5, 3), [normal(20, 4), normal(30, 4, seed=2) - 1]
    members = states(module, 2)
    report = {}
    found = merged(RegMean(0.9, ridge=0.0), module, members, member_batches=own(*each), report=report.__setitem__)
    inputs = [rows_of(x) for x in each]
    for name in ("0", "2"):
        expected = reference.regmean(inputs, [wide(s, name) for s in members], 0.9, normalise=True)
        np.testing.assert_allclose(wide(found, name), expected, rtol=0, atol=1e-10)
        outputs = [rows @ wide(s, name).T for rows, s in zip(inputs, members, strict=True)]
        inputs = [reference.with_bias(np.maximum(z, 0)) for z in outputs]
    assert report == {"layers": ["0", "2"]}


def test_tokens_are_rows_and_all_else_is_averaged():
    module = Tokens().double()
    each = [torch.arange(30).reshape(10, 3) % 7, (torch.arange(60) ** 2).reshape(12, 5) % 7]
    members = states(module, 2)
    found = merged(RegMean(0.9, ridge=0.0), module, members, member_batches=own(*each))
    seen = [s["words.weight"][x] for x, s in zip(each, members, strict=True)]
    expected = reference.regmean([rows_of(t) for t in seen], [wide(s, "each") for s in members], 0.9, normalise=True)
    np.testing.assert_allclose(wide(found, "each"), expected, rtol=0, atol=1e-10)
    mean = Uniform()(members)
    assert all(torch.equal(found[name], mean[name]) for name in ("words.weight", "norm.weight", "norm.bias"))


def test_inputs_with_names_go_through():
    module = Named().double()
    each = [{"values": normal(n, 3, 4, seed=n), "mask": torch.ones(n, 3).double()} for n in (8, 12)]
    members, report = states(module, 2), {}
    found = merged(RegMean(0.9, ridge=0.0), module, members, member_batches=own(*each), report=report.__setitem__)
    inputs = [rows_of(x["values"]) for x in each]
    expected = reference.regmean(inputs, [wide(s, "each") for s in members], 0.9, normalise=True)
    np.testing.assert_allclose(wide(found, "each"), expected, rtol=0, atol=1e-10)
    assert report["layers"] == [*(f"attention.{k}_proj" for k in ("k", "out", "q", "v")), "each", "head"]


def test_a_layer_that_runs_twice_sees_both_inputs_and_one_that_never_runs_is_averaged():
    module, each = Twice().double(), [normal(20, 4), normal(30, 4, seed=2)]
    members = states(module, 2)
    found = merged(RegMean(0.9, ridge=0.0), module, members, member_batches=own(*each))
    inputs = []
    for x, s in zip(each, members, strict=True):
        h = torch.tanh(x @ s["body.weight"].T + s["body.bias"])
        inputs.append(rows_of(torch.cat([x, h])))
    expected = reference.regmean(inputs, [wide(s, "body") for s in members], 0.9, normalise=True)
    np.testing.assert_allclose(wide(found, "body"), expected, rtol=0, atol=1e-10)
    mean = Uniform()(members)
    assert all(torch.equal(found[name], mean[name]) for name in ("unused.weight", "unused.bias"))


@pytest.mark.parametrize("kept", ["as it is", "in another order", "in a file"])  # which does not tell what is one
def test_shared_weights_are_averaged_and_a_part_with_two_names_is_solved(kept):
    module, each = Tied().double(), [normal(20, 4), normal(30, 4, seed=2)]
    members, report = states(module, 2), {}
    hidden = []
    for x, s in zip(each, members, strict=True):
        for name in ("first", "second"):
            x = torch.tanh(x @ s[f"{name}.weight"].T + s[f"{name}.bias"])
        hidden.append(rows_of(x))
    expected = reference.regmean(hidden, [wide(s, "head") for s in members], 0.9, normalise=True)
    mean = Uniform()(members)
    if kept != "as it is":
        members = [{name: s[name] for name in sorted(s)} for s in members]
    if kept == "in a file":
        members = [{name: t.clone() for name, t in s.items()} for s in members]
    found = merged(RegMean(0.9, ridge=0.0), module, members, member_batches=own(*each), report=report.__setitem__)
    assert report["layers"] == ["head"]
    for name in ("head", "again"):
        np.testing.assert_allclose(wide(found, name), expected, rtol=0, atol=1e-10)
    assert all(torch.equal(found[name], mean[name]) for name in mean if name.startswith(("first", "second")))
    assert len({*owners([found]).values()}) == 5


def test_parametrised_weights_are_averaged():
    module = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 2)).double()
    members, report = states(module, 2), {}
    each = own(normal(20, 4), normal(30, 4, seed=2))
    found = merged(RegMean(), module, members, member_batches=each, report=report.__setitem__)
    assert report["layers"] == ["1"]
    mean = Uniform()(members)
    assert all(torch.equal(found[name], mean[name]) for name in mean if name.startswith("0"))


def test_heads_are_kept_and_used():
    module, each = perceptron(4, 5, 5, 3), [normal(20, 4), normal(30, 4, seed=2)]
    members = states(module, 2)
    data = objective(module, member_batches=own(*each))
    found = merge_shared(RegMean(ridge=0.0), members, objective=data, heads=["0", "4"])
    inputs = [rows_of((x @ s["0.weight"].T + s["0.bias"]).relu()) for x, s in zip(each, members, strict=True)]
    expected = reference.regmean(inputs, [wide(s, "2") for s in members], 0.9, normalise=True)
    for k in range(2):
        np.testing.assert_allclose(wide(found[k], "2"), expected, rtol=0, atol=1e-10)
        assert all(torch.equal(found[k][f"{name}.weight"], members[k][f"{name}.weight"]) for name in "04")


def test_some_rows_are_drawn_and_the_module_is_left_as_it_was():
    module, x = perceptron(1, 2, 1, norm=True), torch.arange(100.0).double()[:, None]
    members, seen = states(module, 2), []
    expected = merged(RegMean(n_examples=20), module.eval(), members, batch(x[:30]), batch(x[30:]))
    module.train().register_forward_pre_hook(lambda _, args: seen.extend(args[0].flatten().tolist()))
    found = merged(RegMean(n_examples=20), module, members, batch(x[:30]), batch(x[30:]))
    assert_close(found, expected, 1e-12)
    assert len(seen) == 40
    assert seen[:20] == seen[20:] == sorted(seen[:20])
    assert len({*seen}) == 20
    assert min(seen) < 30 < 60 < max(seen)
    assert all(part.training for part in module.modules())
    assert not any(part._forward_pre_hooks for part in module.children())


# Some layers only.


class Inner(nn.Sequential):
    """A part of a network."""


@pytest.mark.parametrize(
    ("skip", "left"),
    [
        ([], ["0", "2.0", "2.1", "3"]),
        (["0"], ["2.0", "2.1", "3"]),
        (["2"], ["0", "3"]),  # all that is in it
        (["2.*"], ["0", "3"]),
        ([nn.Conv1d], ["2.0", "2.1", "3"]),
        ([nn.Linear], ["0"]),
        ([Inner], ["0", "3"]),  # all that is in modules of this type
        ([nn.Conv1d, "?"], None),  # all of them
    ],
    ids=repr,
)
def test_layers_that_are_left_out_are_averaged(skip, left):
    body = Inner(nn.Linear(6, 5), nn.Linear(5, 4))
    module = nn.Sequential(nn.Conv1d(1, 2, 2), nn.Flatten(), body, nn.Linear(4, 3)).double()
    each = [normal(20, 1, 4), normal(30, 1, 4, seed=2) - 1]
    members, report = states(module, 2), {}
    whole = merged(RegMean(), module, members, member_batches=own(*each))
    if left is None:
        with pytest.raises(ValueError, match="leaves no layer to solve for, out of .*use Uniform"):
            merged(RegMean(skip=skip), module, members, member_batches=own(*each))
        return
    found = merged(RegMean(skip=skip), module, members, member_batches=own(*each), report=report.__setitem__)
    assert report["layers"] == left
    mean = Uniform()(members)
    for name in mean:
        expected = whole if name.rpartition(".")[0] in left else mean
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-12)
        if name.endswith("weight"):
            assert (whole[name] - mean[name]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("shrink", "expected"),
    [
        ({"0": 0.1}, {"0": 0.1, "2": 0.9}),
        ({"0": 0.1, "*": 0.5}, {"0": 0.1, "2": 0.5}),
        ({nn.Linear: 0.2, "2": 1.0}, {"0": 0.2, "2": 0.2}),  # the first that means it
    ],
    ids=repr,
)
def test_layers_are_shrunk_by_their_own_factors(shrink, expected):
    module, each = perceptron(4, 5, 3), [normal(20, 4), normal(30, 4, seed=2) - 1]
    members = states(module, 2)
    found = merged(RegMean(shrink), module, members, member_batches=own(*each))
    for name, value in expected.items():
        one = merged(RegMean(value), module, members, member_batches=own(*each))
        np.testing.assert_allclose(wide(found, name), wide(one, name), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"skip": ["encoder"]}, ValueError, r"skip names 'encoder', and no layer is called or made so; .*\['0', '2'\]"),
        ({"skip": [nn.Conv2d]}, ValueError, "skip names 'Conv2d', and no layer"),
        ({"skip": "head"}, TypeError, r"skip is a sequence of names and types, such as \['head'\]"),
        ({"shrink": {"3": 0.5}}, ValueError, "shrink names '3', and no layer"),
        ({"shrink": {"0": 1.5}}, ValueError, "shrink must lie between 0 and 1; got 1.5"),
    ],
)
def test_layers_that_are_not_there_are_named(params, error, message):
    module = perceptron(4, 5, 3)
    with pytest.raises(error, match=message):
        merged(RegMean(**params), module, states(module, 2), batch(normal(9, 4)))


# Bad input.


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"shrink": -0.1}, "shrink must lie between 0 and 1; got -0.1"),
        ({"shrink": 1.5}, "shrink must lie between 0 and 1"),
        ({"shrink": math.nan}, "shrink must lie between 0 and 1"),
        ({"ridge": -1.0}, "ridge must be finite and at least 0; got -1"),
        ({"ridge": math.inf}, "ridge must be finite"),
        ({"n_examples": 0}, "number of rows to draw must be at least 1"),
    ],
)
def test_bad_parameters_are_refused(params, message):
    module = nn.Linear(2, 2).double()
    with pytest.raises(ValueError, match=message):
        merged(RegMean(**params), module, states(module, 2), batch(normal(3, 2)))


def test_members_that_are_alike_in_all_layers_that_are_seen_are_refused():
    module, x = Twice().double(), normal(3, 4)
    members = [module.state_dict(), {**module.state_dict(), "unused.weight": normal(2, 2)}]
    with pytest.raises(ValueError, match="members are equal in all 2 of them, so that it would be the plain mean"):
        merged(RegMean(), module, members, batch(x))
    assert_close(merged(RegMean(), module, members[:1] * 2, batch(x)), members[0], 1e-12)


def test_data_that_does_not_tell_enough_is_refused():
    module, x = nn.Linear(2, 2).double(), normal(3, 2)
    with pytest.raises(ValueError, match="RegMean looks at the inputs of layers; give it an objective"):
        RegMean()(states(module, 2))
    with pytest.raises(ValueError, match="no rows of positive weight reach any of them"):
        merged(RegMean(), module, states(module, 2))
    with pytest.raises(ValueError, match="no rows of positive weight"):
        merged(RegMean(), module, states(module, 2), batch(x, torch.zeros(3)))
    norm = nn.LayerNorm(2).double()
    with pytest.raises(ValueError, match="module has none whose weights are its own: use Uniform"):
        merged(RegMean(), norm, states(norm, 2), batch(x))


def test_a_ridge_is_a_share_of_the_mean_diagonal():
    gram = torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64))[None]
    found = solved(gram, torch.ones(1, 2, 1, dtype=torch.float64), ridge=0.5)
    torch.testing.assert_close(found[0, :, 0], torch.tensor([1 / 2, 1 / 4], dtype=torch.float64))
