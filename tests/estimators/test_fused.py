"""Mergers that return a network of another width: exercises, as a user would write them."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from torch import nn

from skfusion import ReBasinMerger, SoupClassifier
from skfusion.align import WeightMatching
from skfusion.collect import Seeds
from skfusion.merge import Merger, Uniform, merge_shared
from skfusion.nets import mlp_classifier
from skfusion.repair import Repair
from skfusion.state import Fused, distance

X, Y = load_iris(return_X_y=True)
NET = mlp_classifier(max_epochs=30, module__hidden=(16,))


def resized(module, n):
    """Return a copy of a perceptron with n hidden units."""
    first, last = (m for m in module.modules() if isinstance(m, nn.Linear))
    return type(module)(first.in_features, last.out_features, hidden=(n,))


def linear(state):
    """Return the names of the weights of both layers."""
    return [name for name, tensor in state.items() if tensor.dim() == 2]


class WithoutDeadUnits(Merger):
    """The mean, without the hidden units that no output reads."""

    needs_objective = True

    def __call__(self, states, base=None, objective=None):
        mean = Uniform()(states)
        first, last = linear(mean)
        alive = mean[last].abs().sum(0) > 0
        bias = first.replace("weight", "bias")
        state = {**mean, first: mean[first][alive], bias: mean[bias][alive], last: mean[last][:, alive]}
        return Fused(state, resized(objective.module, int(alive.sum())))


class SideBySide(Merger):
    """A network as wide as all members together, which outputs the mean of their logits."""

    needs_objective = True

    def __call__(self, states, base=None, objective=None):
        first, last = linear(states[0])
        in_bias, out_bias = (name.replace("weight", "bias") for name in (first, last))
        state = {
            **states[0],
            first: torch.cat([s[first] for s in states]),
            in_bias: torch.cat([s[in_bias] for s in states]),
            last: torch.cat([s[last] for s in states], 1) / len(states),
            out_bias: torch.stack([s[out_bias] for s in states]).mean(0),
        }
        return Fused(state, resized(objective.module, len(state[in_bias])))


class Wrapped(Merger):
    """The mean, handed over as a network of the same architecture."""

    def __call__(self, states, base=None, objective=None):
        return Fused(Uniform()(states))


def pool_with_dead_units():
    """Return a pool in which hidden units 3 and 8 of no member are read."""
    pool = SoupClassifier(NET, collect=Seeds(2), merge=Uniform(), random_state=0).fit(X, Y).pool_
    members = []
    for member in pool:
        _, last = linear(member.state)
        weight = member.state[last].clone()
        weight[:, [3, 8]] = 0
        members.append(member.replace(state={**member.state, last: weight}))
    return pool.replace(members)


@pytest.mark.filterwarnings("ignore::skfusion.pool.LeakageWarning")
def test_a_soup_without_its_dead_units_predicts_as_with_them():
    pool = pool_with_dead_units()
    soup = SoupClassifier(NET, collect=pool, merge=WithoutDeadUnits()).fit(X, Y)
    whole = SoupClassifier(NET, collect=pool, merge=Uniform()).fit(X, Y)
    assert soup.state_[linear(soup.state_)[0]].shape[0] == 14
    assert whole.state_[linear(whole.state_)[0]].shape[0] == 16
    np.testing.assert_allclose(soup.predict_proba(X), whole.predict_proba(X), atol=1e-6)
    assert linear(soup.estimator_.module_.state_dict()) == linear(soup.state_)
    np.testing.assert_array_equal(soup.estimator_.predict(X.astype(np.float32)), soup.predict(X))
    again = pickle.loads(pickle.dumps(soup))
    np.testing.assert_array_equal(again.predict_proba(X), soup.predict_proba(X))


def test_a_soup_may_be_wider_than_its_members():
    wide = SoupClassifier(NET, collect=Seeds(3), merge=SideBySide(), random_state=0).fit(X, Y)
    assert wide.state_[linear(wide.state_)[0]].shape[0] == 48
    assert wide.score(X, Y) > 0.8
    assert [m.state[linear(m.state)[0]].shape[0] for m in wide.pool_] == [16] * 3


def test_alignment_repair_and_barriers_go_with_another_width():
    merger = ReBasinMerger(NET, merge=SideBySide(), random_state=0).fit(X, Y)
    plain = ReBasinMerger(NET, random_state=0).fit(X, Y)
    assert merger.barrier_ == plain.barrier_
    assert merger.score(X, Y) > 0.8
    soup = SoupClassifier(NET, collect=Seeds(2), align=WeightMatching(), merge=SideBySide(), repair=Repair())
    assert soup.fit(X, Y).score(X, Y) > 0.8


def test_a_state_may_come_without_a_network():
    soups = [SoupClassifier(NET, collect=Seeds(2), merge=m, random_state=0).fit(X, Y) for m in (Wrapped(), Uniform())]
    assert distance(soups[0].state_, soups[1].state_) == 0


class Incomplete(Merger):
    """A network without the tensors that it needs."""

    needs_objective = True

    def __call__(self, states, base=None, objective=None):
        return Fused({name: t for name, t in states[0].items() if t.dim() == 2}, resized(objective.module, 16))


def test_a_state_that_does_not_fit_its_network_is_refused():
    with pytest.raises(ValueError, match="Tensor 'x_mean' is missing in the state"):
        SoupClassifier(NET, collect=Seeds(2), merge=Incomplete(), random_state=0).fit(X, Y)


def test_heads_are_not_joined_to_a_body_of_another_width():
    states = [m.state for m in pool_with_dead_units()]
    with pytest.raises(TypeError, match=r"Wrapped\(\) changes the architecture"):
        merge_shared(Wrapped(), states)
