"""What data-dependent methods ask: likelihoods, members' own rows and heads, outputs of every form."""

import math
import types
from collections import OrderedDict

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn
from torch.nn import functional as F

from skfusion.merge._shared import WithHeads
from skfusion.objective import Batch, Likelihood, ModuleObjective, Objective, evaluating, first_output

D = torch.float64


def reads(kind, logits=lambda out: out):
    return Likelihood(kind, logits)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


# ---- likelihood --------------------------------------------------------------------------------------------------


def test_log_probabilities_are_those_of_torch():
    z, classes = 3 * random(9, 4), torch.arange(9) % 4
    found = reads("categorical").log_prob(z, classes)
    torch.testing.assert_close(found, -F.cross_entropy(z, classes, reduction="none"), rtol=0, atol=1e-12)
    labels = (random(9, 4, seed=1) > 0).long()
    expected = torch.distributions.Bernoulli(logits=z).log_prob(labels.to(D)).sum(1)
    torch.testing.assert_close(reads("bernoulli").log_prob(z, labels), expected, rtol=0, atol=1e-12)
    values = random(9, 4, seed=2)
    normal = torch.distributions.Normal(z, 1.0).log_prob(values).sum(1) + 4 * math.log(2 * math.pi) / 2
    torch.testing.assert_close(reads("gaussian").log_prob(z, values), normal, rtol=0, atol=1e-12)


def test_targets_may_be_columns_or_of_another_dtype():
    z, classes = random(5, 3), torch.tensor([0, 2, 1, 1, 0])
    expected = reads("categorical").log_prob(z, classes)
    for y in (classes[:, None], classes.float(), classes.int()):
        assert torch.equal(reads("categorical").log_prob(z, y), expected)
    one = random(5, 1)
    assert torch.equal(
        reads("gaussian").log_prob(one, torch.ones(5, dtype=torch.float32)),
        reads("gaussian").log_prob(one, torch.ones(5, 1, dtype=D)),
    )


def test_log_odds_are_a_constant_a_row_away():
    z, y = random(6, 3), torch.arange(6) % 3
    moved = reads("categorical", lambda out: out + 7)
    torch.testing.assert_close(moved.log_prob(z, y), reads("categorical").log_prob(z, y), rtol=0, atol=1e-12)
    torch.testing.assert_close(moved.entropy(z), reads("categorical").entropy(z), rtol=0, atol=1e-12)


def test_entropies_have_closed_forms():
    z = 2 * random(8, 5)
    expected = scipy.stats.entropy(z.softmax(1).numpy(), axis=1)
    np.testing.assert_allclose(reads("categorical").entropy(z).numpy(), expected, atol=1e-12)
    p = z.sigmoid().numpy()
    np.testing.assert_allclose(
        reads("bernoulli").entropy(z).numpy(), (-p * np.log(p) - (1 - p) * np.log(1 - p)).sum(1), atol=1e-12
    )
    even = torch.zeros(2, 5, dtype=D)
    assert reads("categorical").entropy(even).tolist() == pytest.approx([math.log(5)] * 2)
    assert reads("bernoulli").entropy(even).tolist() == pytest.approx([5 * math.log(2)] * 2)
    sure = torch.tensor([[1e4, 0.0, -1e4]], dtype=D)
    assert reads("categorical").entropy(sure).item() == 0
    assert reads("bernoulli").entropy(sure[:, ::2]).item() == 0


def test_gradients_pass():
    z = random(4, 3).requires_grad_()
    classes, labels = torch.tensor([0, 2, 1, 1]), torch.tensor([[0, 1, 1]] * 4)
    for kind, y in (("categorical", classes), ("bernoulli", labels)):
        assert torch.autograd.gradcheck(reads(kind).entropy, z)
        assert torch.autograd.gradcheck(lambda out, kind=kind, y=y: reads(kind).log_prob(out, y), z)


def test_values_have_no_entropy():
    with pytest.raises(ValueError, match="no entropy: this method is for classifiers"):
        reads("gaussian").entropy(torch.zeros(2, 1))


# ---- objective ---------------------------------------------------------------------------------------------------


def objective(**fields):
    rows = [Batch(torch.full((2, 3), float(k)), torch.zeros(2)) for k in range(3)]
    return ModuleObjective(
        nn.Linear(3, 2),
        lambda: [rows[0]],
        lambda state: float(state["weight"].sum()),
        lambda state: -float(state["weight"].sum()),
        **fields,
    ), rows


def states(n=3):
    return [{"weight": torch.full((2, 3), float(k)), "bias": torch.zeros(2)} for k in range(n)]


class Summing(Objective):
    """Judges states by the sum of their biases, one by one."""

    module = nn.Linear(3, 2)

    def batches(self):
        return []

    def loss(self, state):
        return float(self.whole(state)["bias"].sum())

    def score(self, state):
        return -self.loss(state)


class SummingMany(Summing):
    """The same, many at once."""

    def scores(self, states):
        return [-both[0] for both in self.evaluate(states)]

    def evaluate(self, states):
        return [(float(self.whole(s)["bias"].sum()), -float(s["bias"].sum())) for s in states]


summing = pytest.mark.parametrize("kind", [Summing, SummingMany])


def test_a_member_sees_its_own_rows_and_head():
    data, rows = objective()
    assert data.of_member(2) is data
    own = tuple(lambda b=b: [b] for b in rows)
    heads = tuple({"bias": torch.full((2,), float(k))} for k in range(3))
    data = WithHeads(objective(member_batches=own)[0], heads)
    for k in range(3):
        seen = data.of_member(k)
        assert torch.equal(next(iter(seen.batches())).x, torch.full((2, 3), float(k)))
        assert seen.member_batches == ()
        assert seen.heads == heads[k : k + 1]
        assert seen.forward(states()[1], torch.ones(1, 3)).tolist() == [[3.0 + k, 3.0 + k]]
    assert next(iter(data.batches())).x.sum() == 0


def test_of_several_heads_only_a_members_own_is_run():
    data = WithHeads(objective()[0], [{"bias": torch.ones(2)}, {"bias": torch.ones(2)}])
    with pytest.raises(ValueError, match=r"2 heads, one a member.*ask of_member\(k\)"):
        data.forward(states()[1], torch.ones(1, 3))
    assert data.of_member(1).forward(states()[1], torch.ones(1, 3)).tolist() == [[4.0, 4.0]]


def judgements(data, state):
    """What an objective says of a state, in each of its ways."""
    return [
        lambda: data.loss(state),
        lambda: data.score(state),
        lambda: data.scores(iter([state])),
        lambda: data.evaluate(iter([state])),
    ]


@summing
def test_a_state_is_judged_with_its_head_and_not_with_one_of_several(kind):
    data = WithHeads(kind(), [{"bias": torch.ones(2)}, {"bias": 2 * torch.ones(2)}])
    for judge in judgements(data, states()[1]):
        with pytest.raises(ValueError, match=r"several heads.*TaskArithmetic\(scale=0.3\).*Fisher, RegMean or AdaMer"):
            judge()
    body = {"weight": torch.ones(2, 3)}
    for state in (body, states()[1]):
        assert [judge() for judge in judgements(data.of_member(1), state)] == [4, -4, [-4], [(4, -4)]]


@pytest.mark.parametrize("kind", [lambda: objective()[0], Summing, SummingMany])
def test_tensors_that_a_state_lacks_are_named(kind):
    data = kind()
    body = {"weight": torch.ones(2, 3)}
    for judge in (*judgements(data, body), lambda: data.forward(body, torch.ones(1, 3))):
        with pytest.raises(ValueError, match=r"lacks 1 of the 2 tensors of Linear: 'bias'\. .*as a head"):
            judge()


def test_many_states_are_judged_at_once_or_one_by_one():
    data, _ = objective()
    assert data.scores(s for s in states()) == [0, -6, -12]
    assert data.evaluate(s for s in states()) == [(0, 0), (6, -6), (12, -12)]


def test_reports_are_heard_or_not():
    data, _ = objective()
    data.report("scale", 0.3)
    told = {}
    data, _ = objective(report=told.__setitem__)
    data.report("scale", 0.3)
    assert told == {"scale": 0.3}


def test_modes_come_back_after_an_error():
    module = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
    seen = []

    def fails():
        with evaluating(module):
            seen.extend(m.training for m in module.modules())
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fails()
    assert seen == [False] * 3
    assert [m.training for m in module.modules()] == [True, True, False]


def test_the_first_output():
    z = torch.ones(2)
    named = OrderedDict(loss=torch.zeros(()), logits=z, hidden=torch.zeros(3))
    for out in (z, (z, torch.zeros(1)), [z], named, {"logits": z}, {"scores": z, "hidden": torch.zeros(1)}):
        assert first_output(out) is z
    assert first_output(types.SimpleNamespace(hidden=torch.zeros(1), logits=z)) is z


def test_an_objective_without_held_out_rows_judges_nothing():
    data = ModuleObjective(nn.Linear(2, 1), lambda: [])
    state = data.module.state_dict()
    assert data.forward(state, torch.zeros(1, 2)).shape == (1, 1)
    for judge, name in ((data.loss, "loss"), (data.score, "score")):
        with pytest.raises(ValueError, match=f"nothing to judge them by: give it {name}="):
            judge(state)


def test_an_epoch_of_training_is_one_of_the_batches_where_nothing_else_is_given():
    data, rows = objective()
    assert list(data.training()) == list(data.batches()) == rows[:1]
    data, rows = objective(training=lambda: rows[1:])
    assert len(list(data.training())) == 2
    assert list(Summing().training()) == []
