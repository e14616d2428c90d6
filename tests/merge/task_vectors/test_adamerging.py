"""Coefficients that make predictions sure."""

import itertools
import math

import pytest
import torch
from merge.problems import Named, Tied, Tokens, assert_close, batch, normal, objective, own, perceptron, states
from reference import adamerging as reference
from torch import nn

from skfusion.merge import TIES, AdaMerging, TaskArithmetic, Uniform, merge_shared
from skfusion.merge._tensorwise import is_merged
from skfusion.merge.soups._mixture import Mixture
from skfusion.merge.task_vectors._adamerging import agreeing
from skfusion.state import is_statistic, owners


def problem(n=2, make=lambda: perceptron(4, 6, 3), seed=1):
    """A module, the base and n members; the base is not the module's own state."""
    module = make()
    base, *members = states(module, n + 1, seed)
    return module, base, members


def learned(merge, module, base, members, *batches, **more):
    """The result and what is reported."""
    report = {}
    data = objective(module, *batches, report=report.__setitem__, **more)
    return merge(members, base, data), report


def entropy_of(module, state, x):
    with torch.no_grad():
        return reference.entropy(torch.func.functional_call(module.eval(), state, (x,)).tolist())


def at(base, members, coefficients):
    """The state of the formula, with one list of coefficients a layer."""
    found = {}
    for name, start in base.items():
        rows = coefficients[name.rpartition(".")[0]] if isinstance(coefficients, dict) else coefficients
        found[name] = start + sum(c * (s[name] - start) for c, s in zip(rows, members, strict=True))
    return found


# Where no step is made.


@pytest.mark.parametrize("per_layer", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_without_steps_it_is_task_arithmetic(per_layer, dtype):
    module, base, members = problem(3, lambda: perceptron(4, 6, 3, norm=True).to(dtype))
    found, report = learned(AdaMerging(per_layer, n_steps=0), module, base, members)
    expected = TaskArithmetic(0.3)(members, base)
    assert all(torch.equal(found[name], expected[name]) for name in expected if not is_statistic(name))
    mean = Uniform()(members)
    assert all(torch.equal(found[name], mean[name]) for name in mean if is_statistic(name))
    assert [*report] == ["coefficients"]


def test_one_member_that_is_taken_whole_is_kept():
    module, base, members = problem(1)
    found, _ = learned(AdaMerging(init=1.0, n_steps=0), module, base, members)
    assert_close(found, members[0], 1e-15)
    found, _ = learned(AdaMerging(init=0.0, n_steps=0), module, base, members)
    assert_close(found, base, 1e-15)


@pytest.mark.parametrize("density", [0.2, 0.5, 1.0])
def test_with_a_density_changes_are_trimmed_and_agree_in_sign(density):
    module, base, members = problem(3)
    names = [*base]
    flat = [torch.cat([s[name].flatten() for name in names]).tolist() for s in (base, *members)]
    kept = reference.agreeing(flat[0], flat[1:], density)
    found, _ = learned(AdaMerging(density=density, n_steps=0, init=0.4), module, base, members)
    expected = [b + 0.4 * sum(column) for b, column in zip(flat[0], zip(*kept, strict=True), strict=True)]
    merged = torch.cat([found[name].flatten() for name in names]).tolist()
    assert merged == pytest.approx(expected, rel=0, abs=1e-12)


def test_changes_that_agree_have_the_mean_of_ties():
    _, base, members = problem(3, Tied)
    found = agreeing(members, base, owners([base, *members]), 0.3)
    for name, merged in TIES(0.3)(members, base).items():
        changes = torch.stack([s[name].double() - base[name].double() for s in found])
        count = (changes != 0).sum(0).clamp(min=1)
        torch.testing.assert_close(changes.sum(0) / count, (merged - base[name]).double(), rtol=0, atol=1e-6)
    assert all(s["first.weight"] is s["second.weight"] for s in found)


# Learning.


@pytest.mark.parametrize("per_layer", [False, True])
@pytest.mark.parametrize("density", [None, 0.5])
def test_the_entropy_falls_and_is_that_of_the_result(per_layer, density):
    module, base, members = problem(2)
    each = [normal(20, 4), normal(20, 4, seed=5)]
    merge = AdaMerging(per_layer, density, lr=0.02, n_steps=40)
    found, report = learned(merge, module, base, members, member_batches=own(*each))
    before, after = report["entropy"]
    start, _ = learned(AdaMerging(per_layer, density, n_steps=0), module, base, members)
    assert before == pytest.approx(sum(entropy_of(module, start, x) for x in each), abs=1e-12)
    assert after == pytest.approx(sum(entropy_of(module, found, x) for x in each), abs=1e-12)
    assert 0 < after < before - 0.01 < 2 * math.log(3)
    if density is None:
        assert_close(found, at(base, members, report["coefficients"]), 1e-12)


def test_there_are_coefficients_for_members_or_for_members_and_layers():
    module, base, members = problem(3, lambda: perceptron(4, 6, 3, norm=True))
    _, report = learned(AdaMerging(per_layer=False, n_steps=3), module, base, members, batch(normal(9, 4)))
    assert len(report["coefficients"]) == 3
    _, report = learned(AdaMerging(n_steps=3), module, base, members, batch(normal(9, 4)))
    assert [*report["coefficients"]] == ["0", "1", "3"]
    assert all(len(row) == 3 for row in report["coefficients"].values())


@pytest.mark.parametrize("per_layer", [False, True])
@pytest.mark.parametrize(
    ("make", "x"),
    [
        (lambda: perceptron(4, 6, 3, norm=True), normal(5, 4)),
        (lambda: Tokens().double(), torch.arange(15).reshape(5, 3) % 7),
        (lambda: Tied().double(), normal(5, 4)),
        (lambda: Named().double(), {"values": normal(5, 3, 4), "mask": torch.ones(5, 3).double()}),
    ],
)
def test_the_first_step_is_adams_along_the_gradient_of_finite_differences(make, x, per_layer):
    module, base, members = problem(2, make)
    mixture = Mixture(members, owners([base, *members]), is_merged, per_layer, base)
    data = objective(module.eval())
    weights = 0.3 + 0.1 * normal(*mixture.shape)

    def entropy(weights):
        return data.likelihood.entropy(data.forward(mixture.at(weights), x)).mean()

    state = mixture.at(weights)
    leaves = mixture.leaves(state)
    value = data.likelihood.entropy(data.forward(state, x)).mean()
    found = mixture.slopes(leaves, torch.autograd.grad(value, [*leaves.values()], allow_unused=True))
    expected = torch.zeros_like(weights)
    for place in range(weights.numel()):
        step = torch.zeros_like(weights)
        step.view(-1)[place] = 1e-5
        with torch.no_grad():
            expected.view(-1)[place] = (entropy(weights + step) - entropy(weights - step)) / 2e-5
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)
    assert found.abs().max() > 1e-3


def test_a_step_is_that_of_adam_on_the_sum_of_the_tasks():
    module, base, members = problem(2)
    each = [normal(4, 4), normal(3, 4, seed=5)]
    merge = AdaMerging(per_layer=False, lr=0.01, n_steps=1, batch_size=4)
    _, report = learned(merge, module, base, members, member_batches=own(*each))
    free = torch.full((2,), 0.3, dtype=torch.float64, requires_grad=True)
    state = {name: t + sum(c * (s[name] - t) for c, s in zip(free, members, strict=True)) for name, t in base.items()}
    loss = 0.0
    for x in each:
        p = torch.func.functional_call(module.eval(), state, (x,)).softmax(1)
        loss = loss - (p * p.log()).sum(1).mean()
    loss.backward()
    torch.optim.Adam([free], lr=0.01).step()
    assert report["coefficients"] == pytest.approx(free.tolist(), abs=1e-12)


def test_coefficients_stay_between_0_and_1():
    module, base, members = problem(2)
    merge = AdaMerging(lr=0.5, n_steps=30)
    _, report = learned(merge, module, base, members, batch(normal(20, 4)))
    found = torch.tensor([*report["coefficients"].values()])
    assert bool(((found >= 0) & (found <= 1)).all())
    assert bool(((found == 0) | (found == 1)).any())


@pytest.mark.parametrize("density", [None, 0.5])
def test_each_task_is_run_with_its_own_head_which_stays(density):
    module, base, members = problem(2, lambda: perceptron(4, 6, 3))
    each = [normal(20, 4), normal(20, 4, seed=5)]
    report = {}
    data = objective(module, member_batches=own(*each), report=report.__setitem__)
    merge = AdaMerging(density=density, lr=0.02, n_steps=30)
    found = merge_shared(merge, members, base, data, heads=["2"])
    before, after = report["entropy"]
    assert after < before
    assert after == pytest.approx(sum(entropy_of(module, f, x) for f, x in zip(found, each, strict=True)), abs=1e-12)
    assert [*report["coefficients"]] == ["0"]
    for head, state in zip(found, members, strict=True):
        assert torch.equal(head["2.weight"], state["2.weight"])


def test_rows_count_by_their_weights():
    module, base, members = problem(2)
    x, weight = normal(6, 4), torch.tensor([3.0, 0, 1, 2, 0, 1])
    merge = AdaMerging(lr=0.01, n_steps=1, batch_size=10)
    found, report = learned(merge, module, base, members, batch(x, weight))
    some = x.repeat_interleave(weight.long(), 0)
    expected, other = learned(merge, module, base, members, batch(some))
    assert_close(found, expected, 1e-9)
    assert report["entropy"] == pytest.approx(other["entropy"], abs=1e-9)


def test_all_rows_are_gone_through_before_one_comes_again():
    module, base, members = problem(1)
    seen = []
    hook = module.register_forward_pre_hook(
        lambda _, args: args[0].requires_grad or seen.append(args[0][:, 0].tolist())
    )
    x = torch.arange(10.0).double()[:, None].repeat(1, 4)
    learned(AdaMerging(n_steps=5, batch_size=4), module, base, members, batch(x[:3]), batch(x[3:]))
    hook.remove()
    first, *steps, last = seen
    assert first == last == [*range(10)]
    assert [len(step) for step in steps] == [4] * 5
    order = [*itertools.chain(*steps)]
    assert sorted(order[:10]) == sorted(order[10:]) == [*range(10)]
    assert order[:10] != order[10:]


def test_of_many_rows_as_many_are_drawn_as_are_used():
    module, base, members = problem(1)
    seen = set()
    module.register_forward_pre_hook(lambda _, args: seen.update(args[0][:, 0].tolist()))
    x = torch.arange(1000.0).double()[:, None].repeat(1, 4) / 1000
    learned(AdaMerging(n_steps=5, batch_size=4), module, base, members, batch(x))
    assert len(seen) == 20
    assert min(seen) < 0.3 < 0.6 < max(seen)


def test_labels_that_do_not_exclude_each_other_have_an_entropy_each():
    module, base, members = problem(2, lambda: perceptron(4, 6, 2))
    x = normal(20, 4)
    found, report = learned(AdaMerging(lr=0.02, n_steps=30), module, base, members, batch(x), kind="bernoulli")
    p = torch.func.functional_call(module.eval(), found, (x,)).sigmoid()
    expected = -(p * p.log() + (1 - p) * (1 - p).log()).sum(1).mean()
    assert report["entropy"][1] == pytest.approx(float(expected), abs=1e-12)
    assert report["entropy"][1] < report["entropy"][0]


@pytest.mark.parametrize("kind", ["parts", "statistics"])
def test_tied_tensors_stay_tied(kind):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = self.again = nn.BatchNorm1d(4)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.again(x))

    module, base, members = problem(2, lambda: (Tied() if kind == "parts" else Shared()).double())
    found, _ = learned(AdaMerging(n_steps=2), module, base, members, batch(normal(6, 4)))
    assert len({t.data_ptr() for t in found.values()}) == len({t.data_ptr() for t in base.values()})
    assert not any(t.requires_grad for t in found.values())


# Bad input.


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"init": 1.2}, "init must lie between 0 and 1"),
        ({"lr": math.nan}, "lr be at least 0"),
        ({"lr": -0.1}, "lr be at least 0"),
        ({"n_steps": -1}, "n_steps must be at least 0"),
        ({"batch_size": 0}, "batch_size at least 1"),
        ({"density": 0.0}, r"density is a share of the changes, in \(0, 1\], or None; got 0.0"),
        ({"density": 20}, "density is a share"),
    ],
)
def test_bad_parameters_are_refused(params, message):
    module, base, members = problem()
    with pytest.raises(ValueError, match=message):
        learned(AdaMerging(**params), module, base, members, batch(normal(4, 4)))


def test_data_that_does_not_tell_enough_is_refused():
    module, base, members = problem()
    rows = batch(normal(4, 4))
    with pytest.raises(ValueError, match="AdaMerging needs the common start"):
        learned(AdaMerging(), module, None, members, rows)
    with pytest.raises(ValueError, match="give it an objective with a likelihood"):
        AdaMerging()(members, base)
    with pytest.raises(ValueError, match="give it an objective with a likelihood"):
        learned(AdaMerging(), module, base, members, rows, likelihood=None)
    with pytest.raises(ValueError, match="AdaMerging is for classifiers"):
        learned(AdaMerging(), module, base, members, rows, kind="gaussian")
    with pytest.raises(ValueError, match="learns from rows, and the objective has none"):
        learned(AdaMerging(), module, base, members)


def test_predictions_that_are_not_finite_are_told():
    module, base, members = problem()
    with pytest.raises(ValueError, match="entropy of the predictions was nan and is nan"):
        learned(AdaMerging(n_steps=2), module, base, members, batch(math.inf * torch.ones(4, 4).double()))
