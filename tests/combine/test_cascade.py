"""Cascades: the next member is asked only where those before it are not sure."""

import warnings

import numpy as np
import pytest
from combine.guesses import guesses

from skfusion.combine import Average, Calibrated, Cascade, EnsembleSelection, Median, WeightedAverage

TASKS = ["classification", "multilabel", "regression"]
INSIDE = [None, Average([1, 2, 0, 1]), WeightedAverage(), EnsembleSelection()]


def slowly(cascade, P):
    """Return the prediction and the number of members asked, row by row and member by member, as the formula says."""
    task, weights = cascade.task_, cascade.weights_
    Q = cascade.weighed(P)[0].astype(np.float64)
    combined, asked = [], []
    for i in range(P.shape[1]):
        for j in range(1, len(cascade.order_) + 1):
            members = cascade.order_[:j]
            shares = weights[members] / weights[members].sum()
            mean = shares @ Q[members, i]
            if task == "classification":
                sure = mean.max() >= cascade.threshold_
            elif task == "multilabel":
                sure = all(max(p, 1 - p) >= cascade.threshold_ for p in mean)
            elif j == 1:
                sure = False
            else:
                variance = shares @ (Q[members, i] - mean) ** 2 / (1 - shares @ shares)
                errors = np.sqrt(variance * (shares @ shares)) / cascade.scale_
                sure = errors.max() < cascade.threshold_
            if sure:
                break
        combined.append(mean)
        asked.append(j)
    return np.array(combined), np.array(asked)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("combine", INSIDE, ids=repr)
@pytest.mark.parametrize("calibrate", [True, False])
def test_a_row_gets_the_mean_of_the_first_members_that_are_sure(task, combine, calibrate):
    P, y = guesses(task, n=150)
    cascade = Cascade(combine, budget=0.8, calibrate=calibrate).fit(P, y, task)
    new = guesses(task, n=80, seed=1)[0]
    for given in (P, new):
        combined, asked = slowly(cascade, given)
        assert np.allclose(cascade(given), combined, rtol=0, atol=1e-9)
        assert np.array_equal(cascade.asked(given), asked)
    n_used = np.count_nonzero(cascade.weights_)
    assert sorted(cascade.order_) == np.flatnonzero(cascade.weights_).tolist()
    shares = [(slowly(cascade, P)[1] >= j).mean() for j in range(1, n_used + 1)]
    assert np.allclose(cascade.reached_, shares)
    assert cascade.cost_ == pytest.approx(np.sum(shares) / 4)
    assert cascade.cost_ <= 0.8 + 1e-9


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("combine", INSIDE, ids=repr)
def test_a_threshold_that_is_never_reached_gives_the_full_ensemble(task, combine):
    P, y = guesses(task)
    never = 1e-300 if task == "regression" else 1.01
    cascade = Cascade(combine, threshold=never, calibrate=False).fit(P, y, task)
    full = (Average() if combine is None else combine).fit(P, y, task)
    assert np.array_equal(cascade(P), full(P))
    assert cascade.cost_ == pytest.approx(np.count_nonzero(cascade.weights_) / 4)
    if task != "regression":
        calibrated = Calibrated(combine).fit(P, y, task)
        assert np.array_equal(Cascade(combine, threshold=1.01).fit(P, y, task)(P), calibrated(P))
    assert np.array_equal(Cascade(combine, budget=1, calibrate=False).fit(P, y, task)(P), full(P))


@pytest.mark.parametrize("task", TASKS)
def test_a_threshold_that_is_always_reached_gives_the_first_members(task):
    P, y = guesses(task)
    always = {"classification": 1 / 3, "multilabel": 0.5, "regression": 1e9}[task]
    cascade = Cascade(threshold=always, calibrate=False).fit(P, y, task)
    first = cascade.order_[: 2 if task == "regression" else 1]
    assert np.allclose(cascade(P), P[first].mean(axis=0), rtol=0, atol=1e-12)
    assert set(cascade.asked(P)) == {len(first)}


@pytest.mark.parametrize("task", TASKS)
def test_members_are_asked_only_for_the_rows_that_reach_them(task):
    P, y = guesses(task, n=120)
    cascade = Cascade(budget=0.6).fit(P, y, task)
    calls = []

    def predict(k, rows):
        calls.append((k, rows.copy()))
        return P[k, rows]

    result = cascade.drive(predict, *P.shape[:2])
    assert np.array_equal(result, cascade(P))
    assert [k for k, _ in calls] == cascade.order_[: len(calls)].tolist()
    asked = cascade.asked(P)
    for j, (_, rows) in enumerate(calls):
        assert np.array_equal(rows, np.flatnonzero(asked > j))
    assert sum(len(rows) for _, rows in calls) < 0.7 * P.shape[0] * P.shape[1]


@pytest.mark.parametrize("task", TASKS)
def test_rows_do_not_depend_on_the_rows_beside_them(task):
    P, y = guesses(task, n=100)
    cascade = Cascade(budget=0.6).fit(P, y, task)
    order = np.random.RandomState(0).permutation(100)
    parts = [cascade(P[:, rows]) for rows in np.array_split(order, [1, 3, 40])]
    assert np.allclose(np.concatenate(parts), cascade(P)[order], rtol=0, atol=1e-12)
    assert np.array_equal(np.concatenate([cascade.asked(P[:, [i]]) for i in range(100)]), cascade.asked(P))
    assert cascade(P[:, :0]).shape == (0, 3)


@pytest.mark.parametrize("task", TASKS)
def test_the_cost_grows_with_the_threshold_and_the_budget_is_used_up(task):
    P, y = guesses(task, n_members=6, n=400)
    table = Cascade().fit(P, y, task).pareto_
    sign = -1 if task == "regression" else 1
    assert (np.diff(table["cost"]) > 0).all()
    assert (np.diff(sign * table["threshold"]) > 0).all()
    costs, n_asked = [], []
    for budget in (0.35, 0.4, 0.6, 0.8, 1):
        cascade = Cascade(budget=budget).fit(P, y, task)
        costs.append(cascade.cost_)
        n_asked.append(cascade.asked(P).mean())
        assert budget - 1 / 400 <= cascade.cost_ <= budget + 1e-9  # a row more would exceed it
        assert cascade.cost_ == pytest.approx(n_asked[-1] / 6)
    assert (np.diff(costs) > 0).all()
    least = 2 if task == "regression" else 1
    thresholds = np.geomspace(0.01, 3, 10)[::-1] if task == "regression" else np.linspace(0.3, 1.1, 10)
    means = [Cascade(threshold=h).fit(P, y, task).asked(P).mean() for h in thresholds]
    assert (np.diff(means) >= 0).all()
    assert least <= means[0] < means[-1]


@pytest.mark.parametrize("task", TASKS)
def test_the_table_says_what_each_threshold_gives_on_the_held_out_rows(task):
    P, y = guesses(task, n=200)
    weight = np.arange(200) % 4
    table = Cascade().fit(P, y, task, weight).pareto_
    full = Cascade(threshold=1e-300 if task == "regression" else 2).fit(P, y, task, weight)(P)
    for row in table.iloc[::12].itertuples():
        threshold = max(row.threshold, 1e-300)
        cascade = Cascade(threshold=threshold).fit(P, y, task, weight)
        p, asked = cascade(P), cascade.asked(P)
        assert row.n_members == pytest.approx(np.average(asked, weights=weight))
        assert row.cost == pytest.approx(np.average(asked, weights=weight) / 4)
        if task == "regression":
            mean = np.average(y, axis=0, weights=weight)
            variances = np.average((y - mean) ** 2, axis=0, weights=weight)
            losses = ((p - y) ** 2 / variances).mean(axis=1)
            assert row.squared_error == pytest.approx(np.average(losses, weights=weight))
            gaps, errors = (
                np.average(((q - z) ** 2 / variances).mean(axis=1), weights=weight) for q, z in ((p, full), (full, y))
            )
            assert row.changed == pytest.approx(gaps / errors, abs=1e-12)
            continue
        truth = np.where(y == 1, p, 1 - p) if task == "multilabel" else p[np.arange(200), y][:, None]
        right = ((p > 0.5) == y).mean(axis=1) if task == "multilabel" else p.argmax(axis=1) == y
        assert row.log_loss == pytest.approx(np.average(-np.log(truth).mean(axis=1), weights=weight))
        assert row.accuracy == pytest.approx(np.average(right, weights=weight))
        differs = ((p > 0.5) != (full > 0.5)).mean(axis=1) if task == "multilabel" else p.argmax(1) != full.argmax(1)
        assert row.changed == pytest.approx(np.average(differs, weights=weight))
    loss = table["squared_error" if task == "regression" else "log_loss"].to_numpy()
    expected = [all(loss[i] < loss[j] for j in range(i)) for i in range(len(loss))]
    assert table["efficient"].tolist() == expected
    assert table["changed"].iloc[-1] == 0


@pytest.mark.parametrize("task", TASKS)
def test_without_a_budget_the_cheapest_threshold_is_taken_that_changes_few_answers(task):
    P, y = guesses(task, n=500, n_members=6)
    cascade = Cascade().fit(P, y, task)
    few = cascade.pareto_["changed"] <= 0.01
    assert cascade.threshold_ == cascade.pareto_["threshold"][few].iloc[0]
    assert cascade.cost_ == pytest.approx(cascade.pareto_["cost"][few].iloc[0])
    least = 2 if task == "regression" else 1
    assert least / 6 < cascade.cost_ < 1
    same = np.repeat(P[-1:], 5, axis=0)  # members that say the same need not be asked
    assert Cascade().fit(same, y, task).cost_ == pytest.approx(least / 5)


def test_targets_have_no_part_in_costs_but_for_the_order_of_members():
    P, y = guesses("classification", n=400, n_members=5)
    rng = np.random.RandomState(1)
    noisy = np.where(rng.uniform(size=400) < 0.1, rng.randint(3, size=400), y)
    for params in ({}, {"budget": 0.5}):
        clean, other = (Cascade(**params, calibrate=False).fit(P, t, "classification") for t in (y, noisy))
        assert clean.order_.tolist() == other.order_.tolist() == [4, 3, 2, 1, 0]
        assert (clean.threshold_, clean.cost_) == (other.threshold_, other.cost_)
        assert clean.pareto_["changed"].equals(other.pareto_["changed"])
        assert not clean.pareto_["log_loss"].equals(other.pareto_["log_loss"])


def test_members_are_ordered_by_what_they_gain_for_what_they_cost():
    P, y = guesses("classification", n=500)  # of more and more skill
    assert Cascade().fit(P, y, "classification").order_.tolist() == [3, 2, 1, 0]
    cascade = Cascade(costs=[1, 1, 1, 100]).fit(P, y, "classification")
    assert cascade.order_.tolist() == [2, 1, 0, 3]
    useless = np.full_like(P[:1], 1 / 3)
    worse = 1 - P[-1:]
    both = np.concatenate([worse / worse.sum(axis=2, keepdims=True), useless, P[2:]])
    order = Cascade(costs=[0.01, 1, 1, 1], calibrate=False).fit(both, y, "classification").order_
    assert order.tolist() == [3, 2, 1, 0]  # a low price does not make a bad member a good one
    assert Cascade(costs=[0, 0, 1, 1]).fit(P, y, "classification").order_.tolist() == [1, 0, 3, 2]


def test_costs_have_the_unit_of_the_budget():
    P, y = guesses("classification", n=300)
    given = [1.0, 2.0, 4.0, 8.0]
    cascade = Cascade(budget=6.0, costs=given).fit(P, y, "classification")
    spent = np.cumsum(np.array(given)[cascade.order_])[cascade.asked(P) - 1]
    assert cascade.cost_ == pytest.approx(spent.mean())
    assert 6 - 8 / 300 <= cascade.cost_ <= 6
    assert Cascade(costs=given, threshold=2).fit(P, y, "classification").cost_ == pytest.approx(15)
    assert Cascade(Average([0, 1, 1, 0]), costs=given, threshold=2).fit(P, y, "classification").cost_ == 6


def test_a_budget_that_the_only_members_left_exceed_is_reported():
    P, y = guesses("classification", n=200)
    weighted = Average([0, 1, 0, 0])
    with pytest.warns(UserWarning, match="budget=2 of Cascade is too small.* a member, which costs 3"):
        cascade = Cascade(weighted, budget=2, costs=[1, 3, 1, 1]).fit(P, y, "classification")
    assert (cascade.order_.tolist(), cascade.cost_) == ([1], 3)
    values, y = guesses("regression", n=200)
    with pytest.warns(UserWarning, match="2 members, which cost 1"):
        assert Cascade(budget=0.4).fit(values[:2], y, "regression").cost_ == 1


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_budget_that_the_best_member_exceeds_puts_a_cheaper_one_first(task):
    P, y = guesses(task, n=200)
    costs = [1.0, 1.5, 0.5, 9.0]
    gains = Cascade(costs=[1, 1, 1, 1]).fit(P, y, task).order_
    assert gains[0] == 3
    cascade = Cascade(budget=2.0, costs=costs).fit(P, y, task)
    first = cascade.order_[: 2 if task == "regression" else 1]
    assert 3 not in first
    assert cascade.cost_ <= 2
    least = 1.5 if task == "regression" else 0.5
    for budget in (0.4, least):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            cheapest = Cascade(budget=budget, costs=costs).fit(P, y, task)
        assert len(warned) == (budget == 0.4)
        assert not warned or "budget=0.4 of Cascade is too small: each row asks at least" in str(warned[0].message)
        assert cheapest.cost_ == least
        assert set(cheapest.asked(guesses(task, seed=5)[0])) == {len(first)}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("budget", [None, 0.6])
def test_weights_and_copies_give_the_same_cascade(task, budget):
    P, y = guesses(task, n=90)
    weight = np.random.RandomState(0).randint(0, 4, 90)
    index = np.repeat(np.arange(90), weight)
    weighted = Cascade(budget=budget).fit(P, y, task, weight)
    copied = Cascade(budget=budget).fit(P[:, index], y[index], task)
    assert weighted.threshold_ == pytest.approx(copied.threshold_)
    assert weighted.cost_ == pytest.approx(copied.cost_)
    assert np.allclose(weighted(P), copied(P), rtol=0, atol=1e-9)


def test_copies_of_a_row_stop_together_and_the_budget_holds():
    P, y = guesses("classification", n=20)
    P, y = np.repeat(P, 10, axis=1), np.repeat(y, 10)
    cascade = Cascade(budget=0.5).fit(P, y, "classification")
    assert 0.5 - 10 * 3 / 4 / 200 <= cascade.cost_ <= 0.5
    assert (cascade.asked(P).reshape(20, 10).std(axis=1) == 0).all()


def test_of_random_labels_the_held_out_table_shows_chance_and_new_rows_cost_what_it_says():
    rng = np.random.RandomState(0)
    P, y = guesses("classification", n_members=8, n=600)
    new, new_y = guesses("classification", n_members=8, n=600, seed=1)
    random, new_random = rng.randint(3, size=600), rng.randint(3, size=600)
    for budget in (None, 0.3, 0.6):
        cascade = Cascade(budget=budget, calibrate=False).fit(P, random, "classification")
        slack = 4 * np.sqrt(2 / 9 / 600)
        assert abs(cascade.pareto_["accuracy"] - 1 / 3).max() < slack
        assert abs((cascade(new).argmax(axis=1) == new_random).mean() - 1 / 3) < slack
    cascade = Cascade(budget=0.4).fit(P, y, "classification")
    assert cascade.asked(new).mean() / 8 == pytest.approx(0.4, abs=4 * cascade.asked(new).std() / 8 / np.sqrt(600))
    held = np.interp(cascade.cost_, cascade.pareto_["cost"], cascade.pareto_["accuracy"])
    assert (cascade(new).argmax(axis=1) == new_y).mean() == pytest.approx(held, abs=0.08)


def test_members_without_a_weight_are_forgotten_and_never_asked():
    P, y = guesses("classification", n=200)
    cascade = Cascade(EnsembleSelection(max_members=2), budget=0.8).fit(P, y, "classification")
    before = cascade(P)
    kept = cascade.narrow(4)
    assert len(kept) == 2
    assert np.array_equal(cascade(P[kept]), before)
    assert sorted(cascade.order_) == [0, 1]
    assert cascade.costs_.tolist() == [0.25, 0.25]
    silent = Cascade(Average([1, 0, 1, 1]), threshold=2).fit(P, y, "classification")
    assert 1 not in silent.order_
    assert silent.asked(P).max() == 3


def test_one_member_is_its_own_cascade():
    for task in TASKS:
        P, y = guesses(task, n_members=1)
        cascade = Cascade(budget=0.5, calibrate=False).fit(P, y, task)
        assert np.array_equal(cascade(P), P[0])
        assert cascade.cost_ == 1


def test_what_wraps_a_cascade_asks_as_few_rows():
    P, y = guesses("classification", n=200)
    for wrapped in (Calibrated(Cascade(budget=0.5), of="ensemble"), Calibrated(Cascade(budget=0.5, calibrate=False))):
        assert wrapped.lazy
        assert not Calibrated().lazy
        fitted, n = wrapped.fit(P, y, "classification"), []

        def predict(k, rows, n=n):
            n.append(len(rows))
            return P[k, rows]

        assert np.allclose(fitted.drive(predict, 4, 200), fitted(P), rtol=0, atol=1e-12)
        assert sum(n) <= 0.5 * 800


def test_predictions_in_single_precision_stay_so():
    P, y = guesses("classification", n=100)
    cascade = Cascade(budget=0.5).fit(P.astype(np.float32), y, "classification")
    assert cascade(P.astype(np.float32)).dtype == np.float32


def test_a_combiner_that_is_not_lazy_asks_for_all():
    P, y = guesses("classification")
    median = Median().fit(P, y, "classification")
    assert np.array_equal(median.drive(lambda k, rows: P[k, rows], *P.shape[:2]), median(P))


def test_errors():
    P, y = guesses("classification")
    for params, message in [
        ({"budget": 0.5, "threshold": 0.5}, "a budget or a threshold, not both"),
        ({"budget": 0}, "budget of Cascade must be a number above 0"),
        ({"threshold": "high"}, "threshold of Cascade must be a number above 0"),
        ({"budget": 2}, "budget=2 of Cascade must be at most 1"),
        ({"costs": [1, -1]}, "none of them negative"),
        ({"costs": "fast"}, "costs of Cascade must be numbers or 'measured'; got 'fast'"),
        ({"costs": [1, 1]}, "2 costs for 4 members"),
        ({"costs": "measured"}, "costs='measured' takes an ensemble"),
    ]:
        with pytest.raises(ValueError, match=message):
            Cascade(**params).fit(P, y, "classification")
    with pytest.raises(TypeError, match=r"combine must be Average\(\), WeightedAverage\(\) or EnsembleSelection\(\)"):
        Cascade(Median()).check("classification")
    with pytest.raises(ValueError, match="Cascade must be fitted"):
        Cascade()(P)
    with pytest.raises(ValueError, match="fitted on 4 members and is given 3"):
        Cascade().fit(P, y, "classification")(P[1:])
    with pytest.raises(ValueError, match="members \\[1\\] predict NaN"):
        Cascade().fit(np.where(np.arange(4)[:, None, None] == 1, np.nan, P), y, "classification")
