"""Dynamic selection and dynamic weighting."""

import numpy as np
import pytest
from combine.guesses import guesses
from reference.dynamic import dynamic

from skfusion.combine import DynamicSelection, DynamicWeighting, _dynamic

TASKS = ["classification", "multilabel", "regression"]
BOTH = [DynamicSelection, DynamicWeighting]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("n_neighbors", [1, 7, 1000])
def test_it_matches_loops(task, kind, n_neighbors):
    P, y = guesses(task, 4, n=50)
    new = guesses(task, 4, n=20, seed=1)[0]
    found = kind(n_neighbors).fit(P, y, task)(new)
    assert np.allclose(found, dynamic(P, y, task, new, n_neighbors, kind is DynamicSelection), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", BOTH)
def test_ties_of_distance_go_to_the_earlier_row(kind):
    P, y = guesses("classification", 3, n=60)
    P = np.eye(3)[P.argmax(axis=2)]  # votes: few profiles, many rows of each
    assert np.allclose(
        kind().fit(P, y, "classification")(P),
        dynamic(P, y, "classification", P, 7, kind is DynamicSelection),
        atol=1e-12,
    )


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("task", TASKS)
def test_rows_are_worked_on_in_pieces(kind, task, monkeypatch):
    P, y = guesses(task)
    whole = kind().fit(P, y, task)(P)
    for size in (500, 1):  # some rows, and less than a row
        monkeypatch.setattr(_dynamic, "AT_A_TIME", size)
        assert np.array_equal(kind().fit(P, y, task)(P), whole)


@pytest.mark.parametrize("kind", BOTH)
def test_rows_of_little_weight_are_many_and_pieces_are_smaller(kind, monkeypatch):
    P, y = guesses("classification", 5, n=400)
    weight = np.where(np.arange(400) < 4, 30.5, 0.01)  # seven neighbours in weight are hundreds of rows
    fitted = kind().fit(P, y, "classification", weight)
    whole, seen, nearest = fitted(P), [], fitted.neighbours_.nearest

    def watched(part):
        near, its = nearest(part)
        seen.append(near.size * P.shape[0])
        return near, its

    monkeypatch.setattr(_dynamic, "AT_A_TIME", 20_000)
    fitted.neighbours_.nearest = watched
    assert np.array_equal(fitted(P), whole)
    assert max(seen) <= 20_000
    assert max(seen) > 7 * 5  # there are many neighbours of a row indeed


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("task", TASKS)
def test_whole_weights_are_repetitions_and_fractions_are_scaled(kind, task):
    P, y = guesses(task)
    weight = np.arange(len(y)) % 3
    index = np.repeat(np.arange(len(y)), weight)
    weighted = kind().fit(P, y, task, weight)(P)
    assert np.allclose(weighted, kind().fit(P[:, index], y[index], task)(P), rtol=0, atol=1e-12)
    small = kind().fit(P, y, task, np.full(len(y), 0.01))(P)
    assert np.allclose(small, kind().fit(P, y, task)(P), rtol=0, atol=1e-12)


@pytest.mark.parametrize("task", TASKS)
def test_experts_are_found_where_they_are_experts(task):
    rng = np.random.RandomState(0)
    left = rng.uniform(size=400) < 0.5  # a third member says where a row is, and nothing else
    if task == "regression":
        y = rng.normal(size=(400, 1))
        wrong, sides = y + 3 + rng.normal(size=(400, 1)), np.where(left, -50.0, 50.0)[:, None]
    elif task == "multilabel":
        y = rng.randint(2, size=(400, 1))
        wrong, sides = np.where(y, 0.3, 0.7), np.where(left, 0.02, 0.98)[:, None]
    else:
        y = rng.randint(2, size=400)
        wrong, sides = 0.7 - 0.4 * np.eye(2)[y], np.where(left[:, None], [0.98, 0.02], [0.02, 0.98])
    right = y if task == "regression" else 1 - wrong
    P = np.stack([np.where(left[:, None], right, wrong), np.where(left[:, None], wrong, right), sides])
    fit, new = np.arange(400) < 200, np.arange(400) >= 200
    found = DynamicSelection(5).fit(P[:, fit], y[fit], task)(P[:, new])
    mean = P[:, new].mean(axis=0)
    truth = np.eye(2)[y[new]] if task == "classification" else y[new]
    assert np.abs(found - truth).mean() < 0.6 * np.abs(mean - truth).mean()


def test_a_perfect_member_takes_the_weight_in_regression():
    P, y = guesses("regression")
    P[2] = y
    for kind in BOTH:
        assert np.array_equal(kind().fit(P, y, "regression")(P), y)


def test_units_of_values_do_not_matter():
    P, y = guesses("regression")
    units = np.array([1e-3, 1.0, 1e4])
    for kind in BOTH:
        plain, scaled = kind().fit(P, y, "regression")(P), kind().fit(P * units, y * units, "regression")(P * units)
        assert np.allclose(scaled / units, plain, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", BOTH)
def test_dtype_is_kept_and_a_constant_member_is_no_trouble(kind):
    P, y = guesses("classification")
    P[0] = 1 / 3
    fitted = kind().fit(P, y, "classification")
    assert fitted(P.astype(np.float32)).dtype == np.float32
    assert np.allclose(fitted(P).sum(axis=1), 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", BOTH)
def test_errors(kind):
    P, y = guesses("classification")
    with pytest.raises(ValueError, match="must be fitted"):
        kind()(P)
    with pytest.raises(ValueError, match="n_neighbors of Dynamic"):
        kind(0).fit(P, y, "classification")
    with pytest.raises(ValueError, match="fitted on 4 members and is given 2"):
        kind().fit(P, y, "classification")(P[:2])
    P[3, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"members \[3\] predict NaN"):
        kind().fit(P, y, "classification")
