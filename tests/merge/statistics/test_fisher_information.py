"""The diagonal Fisher information, and the ways to it."""

import pytest
import torch
from merge.problems import CASES, assert_close, convolutional, fisher_of, normal, objective, perceptron, states
from torch import nn

from skfusion._batches import rows_at
from skfusion.merge._base import tied
from skfusion.merge.statistics import _squares as squares
from skfusion.merge.statistics._fisher import mean_squares
from skfusion.merge.statistics._squares import Gradients, Squares
from skfusion.objective import Batch, Likelihood

each_case = pytest.mark.parametrize("case", CASES)


def gradients_of(data, state):
    owner = tied([state], data.module)
    names = [name for name, _ in data.module.named_parameters() if owner[name] == name]
    return Gradients(data, data.likelihood, state, owner, tuple(names))


def diagonal(data, state, expectation="exact", seed=0):
    data.module.eval()
    generator = torch.Generator().manual_seed(seed)
    return mean_squares(gradients_of(data, state), data.batches(), expectation, generator)


# The Fisher information.


@each_case
def test_it_is_that_of_a_backward_pass_for_every_row_and_class(case):
    make, x = CASES[case]
    module = make()
    (state,) = states(module, 1)
    index = torch.arange(7)
    batches = [Batch(rows_at(x, at), at) for at in (index[:4], index[4:])]
    assert_close(diagonal(objective(module, *batches), state), fisher_of(module, state, x))


@pytest.mark.parametrize("kind", ["categorical", "bernoulli", "gaussian"])
def test_it_is_that_of_every_target_that_may_come(kind):
    module, x = perceptron(4, 5, 3), normal(7, 4)
    (state,) = states(module, 1)
    found = diagonal(objective(module, Batch(x, torch.zeros(7)), kind=kind), state)
    assert_close(found, fisher_of(module, state, x, kind=kind))


@pytest.mark.parametrize(
    ("kind", "y"),
    [
        ("categorical", torch.tensor([0, 2, 1, 1, 0, 2, 2])),
        ("bernoulli", (normal(7, 3, seed=5) > 0).double()),
        ("gaussian", normal(7, 3, seed=5)),
    ],
)
def test_at_given_targets_it_is_that_of_a_backward_pass_for_every_row(kind, y):
    module, x = perceptron(4, 5, 3), normal(7, 4)
    (state,) = states(module, 1)
    found = diagonal(objective(module, Batch(x, y), kind=kind), state, "empirical")
    assert_close(found, fisher_of(module, state, x, kind=kind, labels=y))


@pytest.mark.parametrize("kind", ["categorical", "bernoulli", "gaussian"])
def test_drawn_targets_come_near_to_all_targets(kind):
    module, x = perceptron(4, 3), normal(2, 4).repeat(20_000, 1)
    (state,) = states(module, 1)
    data = objective(module, Batch(x, torch.zeros(len(x))), kind=kind)
    exact, sampled = diagonal(data, state), diagonal(data, state, "sampled")
    for name, value in exact.items():
        torch.testing.assert_close(sampled[name], value, rtol=0.05, atol=0)


def test_drawn_targets_depend_on_the_seed_and_on_nothing_else():
    module = perceptron(4, 3)
    (state,) = states(module, 1)
    data = objective(module, Batch(normal(9, 4), torch.zeros(9)))
    before = torch.get_rng_state()
    first, again, other = (diagonal(data, state, "sampled", seed)["0.weight"] for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_it_is_the_closed_form_of_logistic_regression():
    module, x = nn.Linear(3, 1).double(), normal(50, 3)
    (state,) = states(module, 1)
    p = torch.sigmoid(x @ state["weight"][0] + state["bias"])
    spread = p * (1 - p)
    for likelihood in (
        Likelihood("bernoulli", lambda out: out),
        Likelihood("categorical", lambda out: nn.functional.pad(out, (1, 0))),  # as one output for two classes
    ):
        found = diagonal(objective(module, Batch(x, torch.zeros(50)), likelihood=likelihood), state)
        torch.testing.assert_close(found["weight"][0], (spread[:, None] * x**2).mean(0), rtol=0, atol=1e-14)
        torch.testing.assert_close(found["bias"][0], spread.mean(), rtol=0, atol=1e-14)


def test_gradients_are_squared_before_they_are_averaged():
    module, x, y = (
        nn.Linear(1, 1, bias=False).double(),
        torch.tensor([[1.0], [1.0]]).double(),
        torch.tensor([1.0, -1.0]),
    )
    state = {"weight": torch.zeros(1, 1).double()}  # residuals 1 and -1: the mean gradient is 0
    found = diagonal(objective(module, Batch(x, y), kind="gaussian"), state, "empirical")
    assert found["weight"].item() == 1


@pytest.mark.parametrize("case", ["perceptron", "convolutional", "recurrent"])
def test_a_weight_is_a_repetition_and_batches_do_not_matter(case):
    make, x = CASES[case]
    module, weight = make(), torch.tensor([3.0, 0, 1, 2, 0, 0, 2])
    (state,) = states(module, 1)
    index = torch.arange(7)
    weighted = [Batch(rows_at(x, at), at, weight[at]) for at in (index[:2], index[2:])]
    some = torch.repeat_interleave(index, weight.long())
    expected = diagonal(objective(module, Batch(rows_at(x, some), some)), state)
    assert_close(diagonal(objective(module, *weighted), state), expected, 1e-12)


def test_many_rows_and_few_numbers_at_a_time_give_the_same(monkeypatch):
    module, x = convolutional(), normal(300, 2, 5)
    (state,) = states(module, 1)
    data = objective(module, Batch(x, torch.zeros(300)))
    expected = diagonal(data, state)
    monkeypatch.setattr(squares, "_BUDGET", 400)  # less than a gradient has, times classes
    assert_close(diagonal(data, state), expected, 1e-12)


# Ways to it.


@each_case
def test_all_ways_give_the_same(case):
    make, x = CASES[case]
    module = make().eval()
    (state,) = states(module, 1)
    gradients, pulls = gradients_of(objective(module), state), normal(7, 2, 3, seed=8)
    expected = squares.one_by_one(gradients, x, pulls, gradients.names)
    assert_close(Squares(gradients)(x, pulls), expected, 1e-10)
    if case not in ("recurrent", "branching"):
        assert_close(squares.together(gradients, x, pulls, gradients.names), expected, 1e-10)


@pytest.mark.parametrize(
    ("case", "short"),
    [
        ("perceptron", ["0.bias", "0.weight", "2.bias", "2.weight", "4.bias", "4.weight"]),
        ("convolutional", ["4.bias", "4.weight"]),
        ("tokens", ["head.bias", "head.weight"]),
        ("named", ["head.bias", "head.weight"]),
        ("recurrent", ["head.bias", "head.weight"]),
        ("branching", []),
        ("twice", []),
        ("tied", ["head.bias", "head.weight"]),
    ],
)
def test_linear_layers_that_see_a_vector_a_row_take_the_short_way(case, short):
    make, x = CASES[case]
    module = make().eval()
    (state,) = states(module, 1)
    found = squares.outer_products(gradients_of(objective(module), state), x, normal(7, 2, 3))
    assert sorted(found) == short


def test_a_weight_that_is_used_otherwise_too_does_not_take_the_short_way():
    class Otherwise(nn.Module):
        def __init__(self):
            super().__init__()
            self.code = nn.Linear(4, 3)

        def forward(self, x):
            return self.code(x) + self.code.weight[:, 0]

    module = Otherwise().double().eval()
    gradients, x, pulls = gradients_of(objective(module), states(module, 1)[0]), normal(7, 4), normal(7, 2, 3)
    expected = squares.one_by_one(gradients, x, pulls, gradients.names)
    assert not torch.allclose(squares.outer_products(gradients, x, pulls)["code.weight"], expected["code.weight"])
    assert_close(Squares(gradients)(x, pulls), expected, 1e-10)


def test_a_way_that_fails_is_not_tried_again(monkeypatch):
    make, x = CASES["recurrent"]
    module, calls, way = make().eval(), [], squares.together
    monkeypatch.setattr(squares, "together", lambda *args: calls.append(1) or way(*args))
    gradients = gradients_of(objective(module), states(module, 1)[0])
    find = Squares(gradients)
    for _ in range(3):
        find(x, normal(7, 2, 3))
    assert len(calls) == 1


def test_single_precision_squares_small_gradients():
    module = nn.Sequential(nn.Conv1d(1, 2, 2), nn.Flatten(), nn.Linear(4, 3)).half()
    (state,) = states(module, 1)
    x = normal(4, 1, 3, dtype=torch.float16)
    pulls = torch.full((4, 1, 3), 1e-5).half()
    gradients = gradients_of(objective(module), state)
    found = Squares(gradients)(x, pulls)
    assert all(value.max() > 1e-12 for value in found.values())  # less than the least number of half precision
