"""What networks with unlike heads share."""

import pytest
import torch
from torch import nn

from skfusion.merge import (
    Greedy,
    Interpolate,
    Learned,
    Merger,
    RobustSoup,
    TaskArithmetic,
    Uniform,
    merge_shared,
    shared_names,
)
from skfusion.objective import Batch, Likelihood, ModuleObjective
from skfusion.state import weighted_sum
from skfusion.testing import _problems as problems


class Network(nn.Module):
    """A body with a head for some classes."""

    def __init__(self, n_classes=2, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.body, self.head = nn.Sequential(nn.Linear(3, 4), nn.Tanh()), nn.Linear(4, n_classes)

    def forward(self, x):
        return self.head(self.body(x))


STATES = [{k: v.clone() for k, v in Network(n, n).state_dict().items()} for n in (2, 3, 5)]
BASE = {k: v.clone() for k, v in Network(7, 7).state_dict().items()}
BODY = ["body.0.weight", "body.0.bias"]
X = torch.linspace(-1, 1, 18).reshape(6, 3)


class Recorder(Merger):
    """Keeps what it is given."""

    def __call__(self, states, base=None, objective=None):
        self.given = states, base, objective
        return weighted_sum(states, [1 / len(states)] * len(states))


# ---- names -------------------------------------------------------------------------------------------------------


def test_tensors_that_are_missing_or_of_another_shape_belong_to_heads():
    first = {"z": torch.zeros(2), "a": torch.zeros(3), "one": torch.zeros(1), "rows": torch.zeros(2, 3)}
    second = {"a": torch.zeros(3), "two": torch.zeros(1), "rows": torch.zeros(3, 2), "z": torch.zeros(2)}
    assert shared_names([first, second]) == ["z", "a"]
    assert shared_names([second, first]) == ["a", "z"]
    assert shared_names([first]) == [*first]
    assert shared_names([first, second], {"a": torch.zeros(3), "more": torch.zeros(1)}) == ["a"]
    assert shared_names([first, second], {"a": torch.zeros(4), "z": torch.zeros(2)}) == ["z"]
    assert shared_names(STATES) == BODY


def test_heads_are_named_as_far_as_a_dot():
    state = dict.fromkeys(["head.weight", "head.bias", "header.weight", "head", "my.head.bias", "body"], torch.zeros(2))
    assert shared_names([state, state], heads=["head"]) == ["header.weight", "my.head.bias", "body"]
    assert shared_names([state, state], heads=["head.bias", "my"]) == ["head.weight", "header.weight", "head", "body"]
    assert shared_names([state, {"late.x": torch.zeros(1), "body": torch.zeros(2)}], heads=["late"]) == ["body"]


def test_a_head_that_nobody_has_is_refused():
    with pytest.raises(ValueError, match=r"No tensor belongs to the head 'classifier'; names start like \['body.0.wei"):
        shared_names(STATES, heads=["head", "classifier"])
    with pytest.raises(ValueError, match="head 'bod'"):
        merge_shared(Uniform(), STATES, heads=["bod"])


@pytest.mark.parametrize("function", [shared_names, lambda states: merge_shared(Uniform(), states)])
def test_an_empty_pool_is_refused(function):
    with pytest.raises(ValueError, match="the pool is empty"):
        function([])


# ---- merging -----------------------------------------------------------------------------------------------------


def test_bodies_are_merged_and_each_member_keeps_its_head():
    found = merge_shared(Uniform([0.5, 0.2, 0.3]), STATES)
    for state, own in zip(found, STATES, strict=True):
        assert [*state] == [*own]
        assert all(torch.equal(state[k], own[k]) for k in own if k not in BODY)
        for name in BODY:
            expected = 0.5 * STATES[0][name] + 0.2 * STATES[1][name] + 0.3 * STATES[2][name]
            torch.testing.assert_close(state[name], expected, rtol=0, atol=1e-6)
    Network(5).load_state_dict(found[2])


def test_the_body_is_one_in_memory_and_nothing_is_shared_with_the_inputs():
    before = problems.snapshot(STATES)
    found = merge_shared(Uniform(), STATES)
    assert len({state[BODY[0]].data_ptr() for state in found}) == 1
    for state in found:
        for tensor in state.values():
            tensor.zero_()
    assert problems.snapshot(STATES) == before


def test_the_base_is_that_of_the_body():
    merge = TaskArithmetic(0.4)
    found = merge_shared(merge, STATES, BASE)
    bodies = [{k: state[k] for k in BODY} for state in STATES]
    expected = merge(bodies, {k: BASE[k] for k in BODY})
    assert all(torch.equal(state[k], expected[k]) for state in found for k in BODY)
    with pytest.raises(ValueError, match="TaskArithmetic needs the common start"):
        merge_shared(merge, STATES)


def test_networks_that_are_alike_are_merged_but_for_the_heads_that_are_named():
    states = [{k: v.clone() for k, v in Network(2, seed).state_dict().items()} for seed in range(3)]
    whole = merge_shared(Uniform(), states)
    assert all(torch.equal(whole[0][k], whole[2][k]) for k in states[0])
    found = merge_shared(Uniform(), states, heads=["head"])
    assert all(torch.equal(found[k]["head.weight"], states[k]["head.weight"]) for k in range(3))
    assert torch.equal(found[0]["body.0.weight"], whole[0]["body.0.weight"])


def test_each_members_head_is_the_one_that_its_rows_meet():
    own = [Batch(X + k, torch.zeros(6)) for k in range(3)]
    data = ModuleObjective(
        Network(9),
        lambda: [],
        lambda state: 0.0,
        lambda state: 0.0,
        likelihood=Likelihood("categorical", lambda out: out),
        member_batches=tuple(lambda batch=batch: [batch] for batch in own),
    )
    merge = Recorder()
    found = merge_shared(merge, STATES, BASE, data)
    states, base, objective = merge.given
    assert [[*state] for state in [*states, base]] == [BODY] * 4
    for k, n_classes in enumerate((2, 3, 5)):
        seen = objective.of_member(k)
        (batch,) = seen.batches()
        assert batch is own[k]
        network = Network(n_classes)
        network.load_state_dict({**STATES[k], **{name: found[0][name] for name in BODY}})
        out = seen.forward({name: found[0][name] for name in BODY}, batch.x)
        assert out.shape == (6, n_classes)
        assert torch.equal(out, network(batch.x))
    assert not hasattr(data, "heads")


@pytest.mark.parametrize("merge", [Greedy(), RobustSoup(), TaskArithmetic(None), Interpolate(None), Learned(n_steps=2)])
def test_a_body_of_several_heads_has_no_score_and_one_of_a_head_has_it(merge):
    seen = []

    def loss(state):
        seen.append(state)
        return float(state["head.bias"].sum())

    batch = Batch(X, torch.zeros(6).long())
    module, likelihood = Network(9), Likelihood("categorical", lambda out: out)
    data = ModuleObjective(
        module, lambda: [batch], loss, lambda s: -loss(s), held_out=lambda: [batch], likelihood=likelihood
    )
    for several in (STATES, STATES[:2]):
        with pytest.raises(
            ValueError, match="cannot judge a body that has several heads: choose their parameters yourself"
        ):
            merge_shared(merge, several, BASE, data)
    assert not seen
    merge_shared(merge, STATES[:1], BASE, data)
    assert seen
    assert all(torch.equal(state["head.bias"], STATES[0]["head.bias"]) for state in seen)


def test_networks_without_heads_are_judged_as_they_are():
    states = [{k: v.clone() for k, v in Network(2, seed).state_dict().items()} for seed in range(3)]
    data = ModuleObjective(Network(2), lambda: [], lambda s: 0.0, lambda s: float(s["head.bias"].sum()))
    found = merge_shared(Greedy(), states, None, data)
    expected = Greedy()(states, None, data)
    assert all(torch.equal(state[k], expected[k]) for state in found for k in expected)


def test_networks_that_share_nothing_are_refused():
    other = {f"other.{name}": t for name, t in STATES[0].items()}
    with pytest.raises(
        ValueError, match=r"The 2 members share no tensor.*different architectures.*predictions instead"
    ):
        merge_shared(Uniform(), [STATES[0], other])
    with pytest.raises(ValueError, match="share no tensor"):
        merge_shared(Greedy(), STATES, heads=["body", "head"])
