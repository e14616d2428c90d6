"""What a soup is made of when nothing is said: the last checkpoints of one run, under the schedule of the net."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler
from torch import nn

from skfusion import (
    DistillClassifier,
    ModelPool,
    ReBasinMerger,
    SoupClassifier,
    SoupRegressor,
    WeightAveragingClassifier,
    compare_fusions,
)
from skfusion.align import WeightMatching
from skfusion.collect import Seeds, Tail
from skfusion.merge import TaskArithmetic, Uniform
from skfusion.nets import mlp_classifier, tabular_classifier, tabular_regressor
from skfusion.testing._laws_chance import assert_chance, memorising_net, random_rows

X, y = load_iris(return_X_y=True)
NET = tabular_classifier(max_epochs=8, module__hidden=(8,), lr=0.02)


def test_members_are_checkpoints_of_one_training_that_are_averaged():
    soup, said = (
        SoupClassifier(NET, random_state=0, **params).fit(X, y) for params in ({}, {"collect": Tail(lr="net")})
    )
    assert soup.pool_.names == said.pool_.names == ["tail-last-2", "tail-last-1"]
    assert all(torch.equal(soup.state_[name], tensor) for name, tensor in said.state_.items())
    assert [len(m.meta["history"]) for m in soup.pool_] == [7, 8]


def test_the_rate_of_the_net_is_annealed_as_it_is_without_a_soup():
    net = tabular_regressor(max_epochs=4, module__hidden=(4,))
    values = X[:, 3]
    soup = SoupRegressor(net, merge=Uniform(), random_state=0).fit(X, values)
    (alone,) = SoupRegressor(net, collect=Seeds(1), merge=Uniform(), random_state=0).fit(X, values).pool_.states
    assert all(torch.equal(alone[name], tensor) for name, tensor in soup.pool_[-1].state.items())


@pytest.mark.parametrize(
    "net",
    [
        tabular_classifier(max_epochs=1),
        tabular_classifier(max_epochs=60, early_stopping=True, module__hidden=(8,), lr=0.1),
        mlp_classifier(max_epochs=4, callbacks=[("halves", LRScheduler("ExponentialLR", gamma=0.5))]),
    ],
    ids=["one epoch", "early stopping", "scheduler"],
)
@pytest.mark.parametrize("refit", [False, True])
def test_nothing_is_warned_of_where_nothing_was_asked_for(net, refit):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Greedy kept 1 of")  # which depends on the rows, and so does the next one
        warnings.filterwarnings("ignore", "The training on all rows has left no member")
        soup = SoupClassifier(net, refit=refit, random_state=0).fit(X, y)
    assert soup.pool_.names[-1] == "tail-last-1"
    assert np.isfinite(soup.predict_proba(X)).all()


def test_networks_that_are_aligned_are_still_trained_apart():
    soup = SoupClassifier(NET, align=WeightMatching(), random_state=0).fit(X, y)
    assert soup.pool_.names == [f"seed-{k}" for k in range(5)]
    assert ReBasinMerger(NET, n_points=0, random_state=0).fit(X, y).pool_.names == ["seed-0", "seed-1"]


def test_a_pool_needs_no_collector():
    soup = SoupClassifier(NET, collect=Seeds(2), random_state=0).fit(X, y)
    assert SoupClassifier(NET).fuse(soup.pool_, X, y, held_out=soup.held_out_).pool_.names == ["seed-0", "seed-1"]


def test_a_pretrained_network_is_trained_on_from_its_weights():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    net = NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss, lr=0.0, max_epochs=8, train_split=None, verbose=0)
    soup = SoupClassifier(net, merge=TaskArithmetic(), random_state=0).fit(X, y)
    for state in (soup.pool_.base, *soup.pool_.states):
        assert all(torch.equal(state[name], tensor) for name, tensor in module.state_dict().items())


def test_an_average_without_choice_may_follow_the_schedule_too():
    swa = WeightAveragingClassifier(NET, lr="net", random_state=0).fit(X, y)
    soup = SoupClassifier(NET, merge=Uniform(), random_state=0).fit(X, y)
    assert all(torch.equal(swa.state_[name], tensor) for name, tensor in soup.state_.items())


def test_it_is_compared_and_distilled_as_any_other():
    fusions = {"soup": SoupClassifier(NET), "again": SoupClassifier(NET)}
    table = compare_fusions(fusions, X, y, cv=2, random_state=0)
    assert table["n_collected"].tolist() == [2, 2]
    assert table.loc["soup", "accuracy_mean"] == table.loc["again", "accuracy_mean"]
    student = DistillClassifier(NET, teacher=SoupClassifier(NET), random_state=0).fit(X, y)
    assert isinstance(student.teacher_.pool_, ModelPool)
    assert student.teacher_.pool_.names == ["tail-last-2", "tail-last-1"]


@pytest.mark.parametrize("refit", [False, True])
def test_the_score_of_the_choice_is_chance_for_random_labels(refit):
    R, labels, _ = random_rows("replicates", 4)
    soup = SoupClassifier(memorising_net(), refit=refit, random_state=0).fit(R, labels)
    assert_chance(soup.merge_report_["score"], 120 / 5, 4, "the score of the choice")
