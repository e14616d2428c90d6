"""Nets that are trained in turn, a step each: what skorch's own loop gives, bit for bit, and what stops it."""

import random

import looped
import numpy as np
import pytest
import torch
from looped import CLASSES, check_same_history, same_bits
from skorch.callbacks import Callback, EpochScoring
from skorch.dataset import ValidSplit
from torch import nn

from skfusion import nets
from skfusion.nets import Population, Watch


class Idle(Population):
    """Writes down when it is asked, and does nothing."""

    def __init__(self, acts=False):
        self.asked, self.acts, self.seen = [], acts, []

    def acts_after(self, step, steps_per_epoch, n_steps):
        self.asked.append((step, steps_per_epoch, n_steps))
        return self.acts

    def act(self, together):
        self.seen.append((len(together.rates), [t.shape[0] for t in together.tensors]))


def fitted(net, population=None, n=3, params=({}, {}, {})):
    jobs = looped.jobs_of(n=n)
    runs = [looped.replace(job.run, params=own) for job, own in zip(jobs, params, strict=True)]
    population = Idle() if population is None else population
    return nets.fit_in_turn(net, CLASSES, runs, [Watch() for _ in runs], population), population


class Draws(Callback):
    """Draws from all generators, as augmentations do."""

    def on_batch_begin(self, net, training=False, **_):
        with torch.no_grad():
            shift = float(torch.rand(())) + np.random.rand() + random.random()  # noqa: NPY002
            next(net.module_.parameters()).add_(1e-3 * shift)


@pytest.mark.parametrize("acts", [False, True])
def test_nets_are_those_of_skorchs_loop(acts, untouched_rng):
    score = EpochScoring("f1_macro", lower_is_better=False, name="f1")
    net = looped.classifier(nn.ReLU, nn.Dropout, lambda: nn.BatchNorm1d(8), optimizer=torch.optim.Adam, lr=0.01)
    net.set_params(callbacks=[("draws", Draws()), ("score", score)], train_split=ValidSplit(3))
    many, population = fitted(net, Idle(acts))
    for one, other in zip(looped.looped(net, looped.jobs_of()), many, strict=True):
        assert same_bits(one.module_.state_dict(), other.module_.state_dict())
        check_same_history(nets.history_of(one), nets.history_of(other), 0)
        assert [len(row["batches"]) for row in one.history] == [len(row["batches"]) for row in other.history]
        assert not other.module_.training
        assert one.train_split is not None
    n = population.asked[0][1]
    assert population.asked == [(step, n, 3 * n) for step in range(1, 3 * n + 1)]
    assert population.seen == ([(3, [3] * 8)] * 3 * n if acts else [])


def test_members_meet_between_two_steps():
    class Zero(Idle):
        def act(self, together):
            for x in together.tensors:
                x.zero_()

    many, _ = fitted(looped.classifier(max_epochs=1), Zero(True))
    assert all(not t.any() for net in many for t in net.module_.parameters())


def test_a_loop_of_the_users_is_refused_by_name():
    class Own(type(looped.classifier())):
        def run_single_epoch(self, *args, **kwargs):
            return super().run_single_epoch(*args, **kwargs)

    net = looped.classifier()
    with pytest.raises(ValueError, match="Own overrides run_single_epoch"):
        fitted(Own(**net.get_params(deep=False)))


def test_members_must_take_the_same_steps():
    with pytest.raises(ValueError, match="an epoch has 4 steps in 'run-3' and 7 in 'run-4': give all the same rows"):
        fitted(looped.classifier(), n=2, params=({}, {"batch_size": 8}))


def test_a_net_that_diverges_is_its_error():
    (first, second), population = fitted(looped.classifier(lr=0.05), Idle(True), n=2, params=({"lr": 1e38}, {}))
    assert isinstance(first, nets.DivergedError)
    assert second.history[-1]["train_loss"] > 0
    assert [n for n, _ in population.seen] == [2] * 4 + [1] * 8


def test_an_index_beyond_a_table_is_named():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(1, 3)

        def forward(self, X):
            return self.table(X[:, 0].abs().ceil().long())

    with pytest.raises(IndexError, match="table"):
        fitted(looped.classifier(module=Table))
