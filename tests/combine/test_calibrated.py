"""Members with a temperature each."""

import numpy as np
import pytest
from combine.guesses import guesses
from scipy.special import softmax

from skfusion.combine import Average, Calibrated, Stack, Vote, WeightedAverage
from skfusion.combine._calibrated import LIMIT


def log_loss(z, y, t):
    return -np.log(softmax(z / t, axis=1)[np.arange(len(y)), y])


def test_temperatures_have_the_least_loss_of_a_fine_grid():
    P, y = guesses("classification", n=200)
    weight = np.arange(200) % 4
    fitted = Calibrated().fit(P, y, "classification", weight)
    grid = np.exp(np.linspace(-np.log(LIMIT), np.log(LIMIT), 2001))
    for p, found in zip(P, fitted.temperatures_, strict=True):
        losses = [weight @ log_loss(np.log(p), y, t) for t in grid]
        assert weight @ log_loss(np.log(p), y, found) <= min(losses) + 1e-9
        assert np.log(found) == pytest.approx(np.log(grid[np.argmin(losses)]), abs=0.01)


def test_planted_temperatures_are_found():
    rng = np.random.RandomState(0)
    z = rng.normal(size=(20_000, 4)) * 1.5
    y = (softmax(z, 1).cumsum(1) > rng.uniform(size=(20_000, 1))).argmax(1)  # drawn as the logits say
    P = np.stack([softmax(z * t, 1) for t in (0.5, 1, 3)])
    fitted = Calibrated().fit(P, y, "classification")
    assert np.allclose(fitted.temperatures_, [0.5, 1, 3], rtol=0.03)
    assert np.allclose(fitted(P), softmax(z / fitted.temperatures_[1], 1), rtol=0, atol=1e-6)


def test_labels_share_their_members_temperature():
    P, y = guesses("multilabel", n=300)
    fitted = Calibrated().fit(P, y, "multilabel")
    z = np.log(P) - np.log1p(-P)

    def loss(k, t):
        q = 1 / (1 + np.exp(-z[k] / t))
        return -np.where(y == 1, np.log(q), np.log1p(-q)).mean()

    for k, t in enumerate(fitted.temperatures_):
        assert loss(k, t) <= min(loss(k, t * 0.99), loss(k, t * 1.01))
    expected = (1 / (1 + np.exp(-z / fitted.temperatures_[:, None, None]))).mean(0)
    assert np.allclose(fitted(P), expected, rtol=0, atol=1e-12)


def test_a_member_keeps_its_classes():
    P, y = guesses("classification", 1)
    assert np.array_equal(Calibrated().fit(P, y, "classification")(P).argmax(1), P[0].argmax(1))


@pytest.mark.parametrize("sure", [0.4, 0.8, 0.99, 1 - 1e-6, 1.0])
def test_ends_of_the_range(sure):
    y = np.arange(60) % 3
    right = (sure - (1 - sure) / 2) * np.eye(3)[y] + (1 - sure) / 2
    P = np.stack([right, np.roll(right, 1, axis=1), np.full((60, 3), 1 / 3)])  # right, wrong, and constant
    for given in (P, P.astype(np.float32)):
        assert Calibrated().fit(given, y, "classification").temperatures_.tolist() == [1 / LIMIT, LIMIT, 1.0]


def test_ends_of_the_range_for_labels():
    y = np.random.RandomState(0).randint(2, size=(60, 2))
    P = np.stack([np.where(y, 0.999, 0.001), np.where(y, 0.001, 0.999), np.full((60, 2), 0.5)])
    assert Calibrated().fit(P, y, "multilabel").temperatures_.tolist() == [1 / LIMIT, LIMIT, 1.0]


def test_classes_keep_their_order_but_for_rounding():
    P = np.tile(np.array([0.4999999, 0.5000001], np.float32), (1, 4, 1))
    fitted = Calibrated().fit(P, np.array([0, 0, 0, 1]), "classification")
    assert fitted.temperatures_.tolist() == [LIMIT]
    assert fitted(P.astype(np.float64)).argmax(axis=1).tolist() == [1] * 4
    assert (np.diff(fitted(P), axis=1) >= 0).all()  # equal here, and never the other way round


@pytest.mark.parametrize("task", ["classification", "multilabel"])
@pytest.mark.parametrize("combine", [None, Average([1, 2, 0, 1]), WeightedAverage()], ids=["none", "given", "learned"])
def test_an_ensemble_has_one_temperature_of_its_own(task, combine):
    P, y = guesses(task, n=300)
    fitted = Calibrated(combine, of="ensemble").fit(P, y, task)
    pooled = (Average() if combine is None else combine).fit(P, y, task)(P)
    alone = Calibrated().fit(pooled[None], y, task)
    assert fitted.temperatures_.shape == (1,)
    assert fitted.temperatures_.tolist() == alone.temperatures_.tolist()
    assert np.allclose(fitted(P), alone(pooled[None]), rtol=0, atol=1e-12)
    assert fitted(P.astype(np.float32)).dtype == np.float32
    if task == "classification":
        assert np.array_equal(fitted(P).argmax(axis=1), pooled.argmax(axis=1))


def test_the_temperature_of_an_ensemble_lowers_its_loss_where_members_are_calibrated():
    rng = np.random.RandomState(0)
    z = rng.normal(size=(20_000, 3)) * 1.5
    y = (softmax(z, 1).cumsum(1) > rng.uniform(size=(20_000, 1))).argmax(1)
    P = softmax(z + 1.5 * rng.normal(size=(5, 20_000, 3)), 2)
    rows = np.arange(20_000)
    members, ensemble, both = Calibrated(), Calibrated(of="ensemble"), Calibrated(Calibrated(), of="ensemble")
    losses = [-np.log(c.fit(P, y, "classification")(P)[rows, y]).mean() for c in (members, ensemble, both)]
    assert members.temperatures_.min() > 2  # each is too sure
    assert both.temperatures_[0] < 0.6  # the mean of members that are sure enough is not
    assert np.array_equal(both.combine_.temperatures_, members.temperatures_)
    assert losses[2] < losses[1] < losses[0]


def test_the_combiner_inside_sees_calibrated_predictions():
    P, y = guesses("classification")
    fitted = Calibrated(Stack()).fit(P, y, "classification")
    scaled = softmax(np.log(P) / fitted.temperatures_[:, None, None], axis=2)
    assert np.allclose(fitted(P), Stack().fit(scaled, y, "classification")(scaled), rtol=0, atol=1e-12)
    assert Calibrated(Stack()).out_of_fold
    assert not Calibrated(Average()).out_of_fold
    assert not Calibrated().out_of_fold


def test_the_combiner_that_is_given_stays_unfitted():
    inside = Vote()
    Calibrated(inside).fit(*guesses("classification"), "classification")
    assert not hasattr(inside, "task_")


def test_errors():
    with pytest.raises(ValueError, match="of must be 'members' or 'ensemble' in Calibrated; got 'all'"):
        Calibrated(of="all").check("classification")
    with pytest.raises(TypeError, match="combine of Calibrated must be a Combiner"):
        Calibrated("mean").check("classification")
    with pytest.raises(ValueError, match="needs probabilities"):
        Calibrated().fit(*guesses("regression"), "regression")
    with pytest.raises(ValueError, match="Calibrated must be fitted"):
        Calibrated()(guesses("classification")[0])
    P, y = guesses("classification")
    with pytest.raises(ValueError, match="fitted on 4 members and is given 3"):
        Calibrated().fit(P, y, "classification")(P[1:])
