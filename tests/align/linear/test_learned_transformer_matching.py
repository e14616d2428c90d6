"""Learned transformer matching: the loss between two networks falls, and each computes what it did."""

import pytest
import torch
from torch.nn import functional as F
from transformers import make, outputs, random_state

from skfusion.align import LearnedTransformerMatching, TransformerMatching
from skfusion.objective import Batch, ModuleObjective
from skfusion.state import distance, weighted_sum
from skfusion.symmetry import canonicalise
from skfusion.tracing import symmetry_of


def problem(name="vision"):
    """Return a network, inputs, its symmetry, two states, and rows with the outputs of the first as targets."""
    net, x = make(name)
    a, b = (random_state(net, seed) for seed in (1, 2))
    rows = [Batch(x, outputs(net, a, x))]
    objective = ModuleObjective(net, lambda: rows, criterion=lambda out, batch: F.mse_loss(out, batch.y))
    return net, x, symmetry_of(net, x, general=True), a, b, objective


def between(net, x, a, b, target):
    """Return the mean loss on the line between two states."""
    points = (weighted_sum([a, b], [1 - t, t]) for t in (0.25, 0.5, 0.75))
    return sum(float(F.mse_loss(outputs(net, point, x), target)) for point in points) / 3


@pytest.mark.parametrize("name", ["vision", "llama"])
def test_the_loss_between_falls_and_the_function_stays(name):
    net, x, symmetry, a, b, objective = problem(name)
    target = outputs(net, a, x)
    start = TransformerMatching()(b, a, symmetry).apply(b)
    first, second = LearnedTransformerMatching(n_steps=60).align_all([a, b], symmetry, objective)
    form, moved = first.apply(a), second.apply(b)
    assert distance(form, canonicalise(a, symmetry)) == 0
    torch.testing.assert_close(outputs(net, moved, x), outputs(net, b, x), rtol=0, atol=1e-9)
    assert between(net, x, form, moved, target) < 0.8 * between(net, x, form, start, target)
    assert len(second.history) == 60


def test_it_repeats_and_leaves_what_it_was_given():
    net, _, symmetry, a, b, objective = problem()
    kept = {k: v.clone() for k, v in b.items()}
    weights = {k: v.clone() for k, v in net.state_dict().items()}
    one, other = (LearnedTransformerMatching(n_steps=3)(b, a, symmetry, objective).apply(b) for _ in range(2))
    assert distance(one, other) == 0
    assert all(torch.equal(v, kept[k]) for k, v in b.items())
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items())


def test_copies_are_not_turned_apart():
    _, _, symmetry, a, _, objective = problem()
    moved = LearnedTransformerMatching(n_steps=3)(dict(a), a, symmetry, objective).apply(a)
    assert distance(moved, canonicalise(a, symmetry)) == 0


def test_bad_input_is_refused():
    net, _, symmetry, a, b, objective = problem()
    with pytest.raises(ValueError, match="criterion and labels"):
        LearnedTransformerMatching()(b, a, symmetry)
    with pytest.raises(ValueError, match="n_steps"):
        LearnedTransformerMatching(n_steps=0)(b, a, symmetry, objective)
    rows = list(objective.batches())
    diverged = ModuleObjective(net, lambda: rows, criterion=lambda out, batch: out.sum() * torch.nan)
    with pytest.raises(ValueError, match="lower lr"):
        LearnedTransformerMatching()(b, a, symmetry, diverged)


def test_an_objective_without_rows_to_train_on_is_refused():
    net, _, symmetry, a, b, objective = problem()
    none = ModuleObjective(net, list, criterion=objective.criterion)
    with pytest.raises(ValueError, match="trains on labelled rows, and the objective has none"):
        LearnedTransformerMatching(n_steps=2)(b, a, symmetry, none)
