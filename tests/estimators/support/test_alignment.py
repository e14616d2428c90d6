"""What aligners see of the data where an estimator calls them."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification

from skfusion import CurveClassifier, EnsembleClassifier, ModelPool, SoupClassifier
from skfusion.align import (
    ActivationMatching,
    Aligner,
    Annealing,
    CycleConsistent,
    LearnedTransformerMatching,
    LinearAlignment,
    StraightThrough,
    WeightMatching,
)
from skfusion.collect import Seeds
from skfusion.connect import Bezier
from skfusion.merge import TaskArithmetic, Uniform
from skfusion.nets import mlp_classifier
from skfusion.pool import Member
from skfusion.repair import Recalibrate
from skfusion.state import weighted_sum


class Asking(Aligner):
    """Asks for the loss of a state."""

    needs_objective = needs_labels = True
    seen: list = []  # noqa: RUF012

    def __call__(self, state, reference, symmetry=None, objective=None):
        mean = weighted_sum([state, reference], [0.5, 0.5])
        repaired = Recalibrate()(mean, [state, reference], objective)
        self.seen.append((objective.loss(mean), objective.loss(repaired)))
        return WeightMatching()(state, reference, symmetry)


def small(**params):
    return mlp_classifier(max_epochs=5, module__hidden=(8,), **params)


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(120, 6, random_state=0)
    return X.astype(np.float32), y


def test_networks_are_judged_with_fresh_statistics(data):
    SoupClassifier(small(module__norm="batch"), collect=Seeds(2), align=Asking(), random_state=0).fit(*data)
    as_it_is, repaired = Asking.seen.pop()
    assert as_it_is == pytest.approx(repaired, rel=1e-5)


@pytest.mark.parametrize("align", [Annealing("score", 20), Annealing("loss", 20)])
def test_rows_are_held_out_for_what_judges_by_labels(data, align):
    soup = SoupClassifier(small(), collect=Seeds(2), align=align, merge=Uniform(), random_state=0).fit(*data)
    assert len(soup.held_out_) > 0
    assert soup.alignments_.keys() == {"seed-0", "seed-1"}


@pytest.mark.parametrize(
    "align",
    [CycleConsistent(), StraightThrough(2), Annealing(n_steps=20), LearnedTransformerMatching(n_steps=2)],
)
def test_no_rows_are_held_out_for_what_does_not(data, align):
    soup = SoupClassifier(small(), collect=Seeds(3), align=align, merge=Uniform(), random_state=0).fit(*data)
    assert soup.held_out_ is None
    assert soup.score(*data) > 0.5


def test_curves_after_an_alignment_join_networks_that_compute_what_the_members_do(data):
    pool = EnsembleClassifier(small(), collect=Seeds(2), random_state=0).fit(*data).pool_
    curve = CurveClassifier(small(), collect=pool, align=ActivationMatching(), connect=Bezier(n_epochs=1)).fit(*data)
    plain = CurveClassifier(small(), collect=pool, connect=Bezier(n_epochs=1)).fit(*data)
    (edge,) = curve.curves_
    np.testing.assert_allclose(curve.profiles_[edge].loss[[0, -1]], plain.profiles_[edge].loss[[0, -1]], rtol=1e-5)
    first, last = curve.curves_[edge].ends
    aligned = curve.alignments_[edge[1]].apply(pool[edge[1]].state)
    for end, expected in ((first, pool[edge[0]].state), (last, aligned)):
        assert all(torch.equal(end[k], v) for k, v in expected.items())


class Turning(Aligner):
    """Reverses all units of all states."""

    def align_all(self, states, symmetry=None, objective=None):
        perms = {g: np.arange(group.size)[::-1] for g, group in symmetry.groups.items()}
        return [LinearAlignment(perms, {}, symmetry)] * len(states)

    def __call__(self, state, reference, symmetry=None, objective=None):
        return self.align_all([state], symmetry)[0]


def test_the_common_start_moves_with_the_members(data):
    soup = SoupClassifier(small(), collect=Seeds(1), merge=Uniform(), random_state=0).fit(*data)
    start = soup.pool_[0].state
    pool = ModelPool([Member("one", start), Member("another", start)], base=start, classes=soup.pool_.classes)
    moved = SoupClassifier(small(), collect=pool, align=Turning(), merge=TaskArithmetic(0.25)).fit(*data)
    np.testing.assert_allclose(moved.predict_proba(data[0]), soup.predict_proba(data[0]), rtol=1e-5)
