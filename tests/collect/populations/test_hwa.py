"""Hierarchical weight averaging: workers that are averaged online, and their means offline."""

from dataclasses import replace
from functools import partial

import looped
import numpy as np
import pytest
import torch
from looped import check_same_state, same_bits
from torch import nn

from skfusion import SoupClassifier, nets
from skfusion.average import Latest, Mean
from skfusion.collect import HWA, PAPA
from skfusion.collect._recorders import Averaged
from skfusion.collect._train_runs import train
from skfusion.merge import Uniform
from skfusion.repair import Recalibrate
from skfusion.state import weighted_sum
from skfusion.testing import _problems as problems

ROWS = problems.rows()
BOTH = pytest.mark.parametrize("vectorize", [True, False])


def collect(collector, net=None, **params):
    return looped.collect(collector, problems.net(**params) if net is None else net, ROWS)


def independent(collector, recorder=None, **params):
    """The members of the same runs where nothing acts on them."""
    net = problems.sized_net(**params)
    runs = collector.runs(net, ROWS, np.random.RandomState(0))
    runs = runs if recorder is None else [replace(run, recorder=recorder) for run in runs]
    return train(net, ROWS, runs, vectorize=collector.vectorize)


def check_same_numbers(a, b):
    """Without counters of batches, of which an average has that of the whole run."""
    check_same_state(*({k: t for k, t in state.items() if t.is_floating_point()} for state in (a, b)), 1e-6)


@BOTH
@pytest.mark.parametrize(
    ("params", "average"),
    [
        ({"last": 3}, Latest(3)),
        ({"last": 2, "every": 4, "unit": "step"}, Latest(2, every=4, unit="step")),
        ({"last": 9, "every": 5, "unit": "step"}, Latest(9, every=5, unit="step")),
        ({"last": 4}, Mean(0.0, unit="epoch")),
    ],
    ids=["LAWA", "of steps", "fewer", "SWA"],
)
@pytest.mark.filterwarnings("ignore:Workers were synchronised")
def test_one_worker_is_a_run_whose_latest_states_are_averaged(params, average, vectorize):
    hwa = HWA(1, **params, vectorize=vectorize)
    (expected,) = independent(hwa, recorder=partial(Averaged, average))
    check_same_numbers(expected.state, Uniform()(collect(hwa).states))


@BOTH
def test_a_run_that_ends_before_it_is_the_mean_of_its_workers(vectorize):
    hwa = HWA(3, every=13, unit="step", vectorize=vectorize)
    with pytest.warns(UserWarning, match="never synchronised, with every=13 steps in a run of 12 steps"):
        pool = collect(hwa, module__norm=None)
    states = independent(hwa, module__norm=None).states
    assert pool.names == ["hwa-end"]
    check_same_state(weighted_sum(states, [1 / 3] * 3), pool[0].state, 1e-6)
    assert not same_bits(states[0], states[1])


@BOTH
def test_with_one_mean_there_is_online_averaging_only(vectorize):
    hwa = HWA(3, last=1, every=4, unit="step", vectorize=vectorize)
    pool = collect(hwa, module__norm=None)
    online = collect(PAPA(3, alpha=0.0, every=4, vectorize=vectorize), module__norm=None)
    assert pool.names == ["hwa-step-12"]
    assert same_bits(pool[0].state, online[0].state)


@pytest.mark.parametrize("params", [{"last": 2}, {"every": 13, "unit": "step"}], ids=["means", "mean at the end"])
@pytest.mark.filterwarnings("ignore:Workers were never synchronised")
def test_means_have_statistics_that_are_estimated_for_them(params):
    """A soup of one member takes it as it is, and an ensemble all of them."""
    pool = collect(HWA(3, **params))
    data = nets.Judge(nets.Runner(pool[0].net, "classification"), ROWS, ROWS)
    for member in pool:
        check_same_numbers(member.state, Recalibrate()(member.state, [], data))


def test_members_are_the_latest_means():
    whole, last = (collect(HWA(2, last=n)) for n in (4, 2))
    assert whole.names == [f"hwa-epoch-{i}" for i in range(1, 5)]
    assert last.names == ["hwa-epoch-3", "hwa-epoch-4"]
    assert all(same_bits(m.state, whole[m.name].state) for m in last)
    assert [m.meta["epoch"] for m in whole] == [1, 2, 3, 4] == [len(m.meta["history"]) for m in whole]
    assert [m.meta["step"] for m in whole] == [3, 6, 9, 12]
    assert not same_bits(last[0].state, last[1].state)


def test_too_few_means_are_named_with_their_number():
    with pytest.warns(UserWarning, match="synchronised 4 times, and last=5 means were to be kept"):
        assert len(collect(HWA(2, last=5))) == 4


class Tied(nn.Module):
    """The second layer is the first one again."""

    def __init__(self, n_in=3, n_out=3):
        super().__init__()
        self.first = nn.Linear(n_in, n_out)
        self.second = nn.Linear(n_out, n_out)
        self.second.weight = self.first.weight

    def forward(self, X):
        return self.second(self.first(X).relu())


@BOTH
def test_tied_weights_stay_tied(vectorize):
    pool = collect(HWA(2, last=2, vectorize=vectorize), looped.classifier(module=Tied))
    for member in pool:
        assert [*member.state] == [*pool.base]
        assert member.state["first.weight"].data_ptr() == member.state["second.weight"].data_ptr()
        assert not torch.equal(member.state["first.weight"], pool.base["first.weight"])


def test_its_uniform_soup_is_hierarchical_averaging():
    soup = SoupClassifier(problems.net(), collect=HWA(2, last=3), merge=Uniform(), random_state=0)
    soup.fit(ROWS.X, ROWS.y)
    assert len(soup.pool_) == 3
    assert soup.pool_.base is not None
    assert soup.predict(ROWS.X).shape == (24,)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_workers": 0}, "n_workers must be at least 1"),
        ({"last": 0}, "last is the number of means"),
        ({"every": 0}, "every is a number of epochs"),
        ({"every": 0, "unit": "step"}, "every is a number of steps"),
        ({"unit": "batch"}, "unit must be 'step' or 'epoch'"),
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        collect(HWA(**params))
