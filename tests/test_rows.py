"""Rows, their hashes, and weights as repetitions."""

import numpy as np
import pytest

from skfusion import _rows
from skfusion._rows import MAX_REPEATS, Rows, inputs_of, key_of, repetitions, row_keys, unlabelled
from skfusion.data import warn_of_unlabelled

RNG = np.random.RandomState(0)
X = RNG.normal(size=(12, 3)).astype(np.float32)
Y = RNG.randint(3, size=12)


def same(a, b):
    """Whether two rows are equal, bit for bit and in order."""
    xs = [(a.X[k], b.X[k]) for k in a.X] if isinstance(a.X, dict) else [(a.X, b.X)]
    return all(p.tobytes() == q.tobytes() and p.shape == q.shape for p, q in [*xs, (a.y, b.y)])


def test_equal_rows_have_equal_hashes_and_others_do_not():
    keys = row_keys(np.concatenate([X, X]), np.concatenate([Y, Y]))
    assert keys.dtype == np.uint64
    assert np.array_equal(keys[:12], keys[12:])
    assert len(np.unique(keys)) == 12
    assert not np.isin(row_keys(X, Y + 1), keys).any()
    assert not np.isin(row_keys(X + 1, Y), keys).any()


def test_hashes_do_not_depend_on_the_rows_beside_nor_on_memory_order():
    keys = row_keys(X, Y)
    assert np.array_equal(row_keys(X[3:5], Y[3:5]), keys[3:5])
    assert np.array_equal(row_keys(np.asfortranarray(X), Y), keys)
    assert np.array_equal(row_keys(np.repeat(X, 2, axis=0)[::2], Y), keys)


@pytest.mark.parametrize("block", [1, 200, 2**24])
def test_keys_are_the_hashes_of_the_bytes_of_a_row(block, monkeypatch):
    monkeypatch.setattr(_rows, "_BLOCK", block)  # bytes of the rows that are hashed at a time
    inputs = {"b": X, "a": np.arange(len(X), dtype=np.int16).reshape(-1, 1)}
    slowly = [key_of(a.tobytes(), b.tobytes(), y.tobytes()) for a, b, y in zip(inputs["a"], X, Y, strict=True)]
    assert row_keys(inputs, Y).tolist() == slowly
    slowly = [key_of(b.tobytes(), y.tobytes()) for b, y in zip(X, Y, strict=True)]
    assert row_keys(X.reshape(len(X), -1, 1), Y).tolist() == slowly


def test_hashes_are_stable_between_sessions():
    found = row_keys(np.array([[1.0, 2.0]], np.float32), np.array([3], np.int64))
    assert found.tolist() == [12684777989656999637]


def test_minus_zero_is_zero():
    zero, minus = (np.array([[v, 1.0]], np.float32) for v in (0.0, -0.0))
    y = np.array([0])
    assert row_keys(zero, y) == row_keys(minus, y)
    target = np.array([[0.0]], np.float32)
    assert row_keys(zero, target) == row_keys(zero, -target)


def test_dicts_are_hashed_by_name():
    data = {"b": X, "a": Y[:, None]}
    assert np.array_equal(row_keys(data, Y), row_keys({"a": Y[:, None], "b": X}, Y))
    swapped = {"a": X, "b": X + 1}
    assert not np.array_equal(row_keys(swapped, Y), row_keys({"a": X + 1, "b": X}, Y))


def test_images_and_targets_of_several_columns():
    images = RNG.normal(size=(4, 2, 3, 3)).astype(np.float32)
    y = RNG.normal(size=(4, 2)).astype(np.float32)
    assert len(np.unique(row_keys(images, y))) == 4
    assert not np.isin(row_keys(images, y[:, ::-1].copy()), row_keys(images, y)).any()


def test_take_keeps_all_columns_together():
    rows = Rows({"a": X, "b": Y}, Y, np.arange(12.0), np.arange(12) // 3)
    found = rows.take(np.array([5, 1]))
    assert np.array_equal(found.X["a"], X[[5, 1]])
    assert np.array_equal(found.X["b"], Y[[5, 1]])
    assert found.weight.tolist() == [5.0, 1.0]
    assert found.groups.tolist() == [1, 0]
    assert len(found) == 2


def test_ordinary_rows_come_back_as_they_are():
    rows = Rows(X, Y)
    assert rows.expanded() is rows
    found = Rows(X, Y, np.ones(12)).expanded()
    assert found.weight is None
    assert same(found, rows)


@pytest.mark.parametrize("as_dict", [False, True])
def test_whole_weights_are_repetitions_bit_for_bit(as_dict):
    data = {"x": X, "code": Y[:, None]} if as_dict else X
    weight = np.array([3, 1, 1, 2, 0, 1, 1, 4, 1, 0, 1, 2.0])
    rows = Rows(data, Y, weight)
    index = np.repeat(np.arange(12), weight.astype(int))
    repeated = Rows(data, Y).take(index)
    found = rows.expanded()
    assert found.weight is None
    assert len(found) == weight.sum()
    assert same(found, repeated.expanded())
    for seed in range(3):
        order = np.random.RandomState(seed).permutation(len(index))
        assert same(found, repeated.take(order).expanded())
        assert same(found, rows.take(np.random.RandomState(seed).permutation(12)).expanded())
    assert sorted(found.keys.tolist()) == sorted(repeated.keys.tolist())


def test_rows_of_weight_zero_are_as_good_as_absent():
    weight = np.ones(12)
    weight[[2, 7]] = 0
    kept = np.flatnonzero(weight)
    assert same(Rows(X, Y, weight).expanded(), Rows(X, Y).take(kept).expanded())
    fractional = Rows(X, Y, weight * 0.3).expanded()
    assert same(fractional, Rows(X, Y).take(kept))
    assert np.allclose(fractional.weight, 1, rtol=1e-15)


def test_repeated_rows_are_put_in_one_order():
    rows = Rows(np.concatenate([X, X[:1]]), np.append(Y, Y[0]))
    found = rows.expanded()
    assert found is not rows
    assert (np.diff(found.keys.astype(object)) >= 0).all()
    assert same(found, rows.take(np.arange(13)[::-1]).expanded())


def test_fractional_weights_have_mean_one():
    weight = RNG.uniform(0.1, 5, size=12)
    found = Rows(X, Y, weight).expanded()
    assert same(found, Rows(X, Y))
    assert abs(found.weight.mean() - 1) < 1e-15
    assert np.allclose(found.weight / found.weight[0], weight / weight[0], rtol=1e-14)
    scaled = Rows(X, Y, weight * 1000).expanded()
    assert np.allclose(scaled.weight, found.weight, rtol=1e-14)


def test_many_repetitions_stay_weights():
    weight = np.ones(12)
    weight[0] = MAX_REPEATS * 12 - 11
    assert len(Rows(X, Y, weight).expanded()) == MAX_REPEATS * 12
    weight[0] += 1
    found = Rows(X, Y, weight).expanded()
    assert len(found) == 12
    assert abs(found.weight.mean() - 1) < 1e-12
    assert found.weight[0] / found.weight[1] == pytest.approx(weight[0], rel=1e-12)


def test_groups_travel_with_the_repetitions():
    rows = Rows(X, Y, np.full(12, 2.0), np.arange(12))
    found = rows.expanded()
    assert np.array_equal(found.X, X[found.groups])
    assert np.bincount(found.groups).tolist() == [2] * 12


def test_expanding_does_not_write():
    weight = np.array([2, 0, 1.5] * 4)
    before = X.tobytes(), Y.tobytes(), weight.tobytes()
    Rows(X, Y, weight).expanded()
    assert before == (X.tobytes(), Y.tobytes(), weight.tobytes())


@pytest.mark.parametrize("kept", ["marks", "keys"])
def test_rows_are_known_by_what_members_remember(kept):
    rows = Rows(X, Y)
    seen = getattr(rows, kept)[:5]
    assert rows.seen(seen).tolist() == [True] * 5 + [False] * 7
    assert not Rows(X, Y + 1).seen(seen).any()
    assert not Rows(X + 1, Y).seen(seen, inputs=True).any()


def test_inputs_alone_are_known_too():
    rows = Rows(X, Y)
    assert Rows(X, Y + 1).seen(rows.marks[:5], inputs=True).sum() == 5
    assert np.array_equal(inputs_of(rows.marks), inputs_of(Rows(X, RNG.normal(size=(12, 2))).marks))


@pytest.mark.parametrize("y", [Y, RNG.normal(size=(12, 2)).astype(np.float32), -Y, RNG.randint(2, size=(12, 3))])
def test_marks_of_equal_targets_are_equal_whatever_their_dtype(y):
    marks = Rows(X, y).marks
    assert marks.dtype == np.uint64
    assert np.array_equal(marks, Rows(X, y.astype(np.float64)).marks)
    same = Rows(np.repeat(X[:1], 12, axis=0), y).marks  # of equal inputs
    assert len(np.unique(same)) == len(np.unique(y, axis=0))


def test_hashes_are_computed_once():
    rows = Rows(X, Y)
    keys, some = rows.keys, rows.take(np.arange(3))
    assert np.array_equal(vars(some)["keys"], keys[:3])
    assert np.array_equal(some.keys, Rows(X[:3], Y[:3]).keys)


def test_unlabelled_rows():
    assert len(unlabelled(X)) == 12
    assert len(unlabelled({"x": X})) == 12
    assert not unlabelled(X).y.any()


@pytest.mark.parametrize(
    "weight", [None, [1, 2, 0, 3, 1, 0, 1, 1, 1, 2, 1, 1.0], [0.5, 2, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0.25]]
)
def test_repetitions_keep_the_order(weight):
    weight = None if weight is None else np.array(weight)
    index, rest = repetitions(weight)
    if weight is None:
        assert index is rest is None
    elif rest is None:
        assert index.tolist() == np.repeat(np.arange(12), weight.astype(int)).tolist()
    else:
        assert index.tolist() == np.flatnonzero(weight).tolist()
        assert np.allclose(rest, weight[index] / weight[index].mean(), rtol=1e-15)


@pytest.mark.parametrize("classes", [[-1, 0, 1], [-1, 3, 5], [-1.0, 0.0, 2.0]])
def test_minus_one_among_classes_is_named(classes):
    with pytest.warns(UserWarning, match=r"y has -1 beside the classes .*leave them out.*X_unlabelled"):
        warn_of_unlabelled(np.array(classes), np.array([0, 0, 1, 2]))


def test_signs_are_no_news_unless_most_rows_have_minus_one():
    warn_of_unlabelled(np.array([-1, 0, 1]), np.array([0, 0, 1, 1, 2]))
    with pytest.warns(UserWarning, match="y has -1 beside the classes"):
        warn_of_unlabelled(np.array([-1, 0, 2]), np.array([0, 0, 1, 1, 2]))


@pytest.mark.parametrize("classes", [[-1, 1], [-1, 0], [0, 1, 2], [-2, -1, 1, 2], [-1], ["-1", "0", "1"], [False]])
def test_minus_one_is_no_news_elsewhere(classes):
    warn_of_unlabelled(np.array(classes), np.arange(len(classes)))


# ---- units -------------------------------------------------------------------------------------------------------


def parts(rows):
    """The units of rows, as sets of positions."""
    unit = rows.units()[1]
    return {frozenset(np.flatnonzero(unit == u).tolist()) for u in np.unique(unit)}


def test_units_are_rows_of_equal_inputs_whatever_their_targets():
    X = np.arange(12.0)[:, None]
    X[5], X[8] = X[2], X[2]
    rows = Rows(X, np.arange(12) % 2)
    assert parts(rows) == {frozenset({i}) for i in (0, 1, 3, 4, 6, 7, 9, 10, 11)} | {frozenset({2, 5, 8})}


def test_where_most_rows_are_equal_each_is_a_unit():
    rows = Rows((np.arange(12.0) % 3)[:, None], np.arange(12) % 2)  # a fourth of them differ
    assert parts(rows) == {frozenset({i}) for i in range(12)}
    assert len(parts(Rows((np.arange(12.0) % 4)[:, None], np.arange(12) // 4))) == 4  # a third


def test_a_table_of_few_cases_is_no_set_of_copies():
    for times, n_units in [(10, 4), (11, 44)]:
        X = np.repeat(np.arange(4.0), times)[:, None]
        assert len(parts(Rows(X, X[:, 0].astype(int) % 2))) == n_units


@pytest.mark.parametrize("times", [2, 4, 11, 60])
@pytest.mark.parametrize("n_pairs", [0, 1, 5])
def test_copies_stay_together_however_many_and_whatever_a_few_labels_are(times, n_pairs):
    X = np.r_[np.tile(np.arange(30.0), times), np.arange(n_pairs)][:, None]
    y = np.r_[np.tile(np.arange(30), times), np.arange(n_pairs) + 1] % 2
    assert parts(Rows(X, y)) == {frozenset(np.flatnonzero(X[:, 0] == v).tolist()) for v in range(30)}


@pytest.mark.parametrize("n_values", [3, 12, 30])
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_noisy_labels_of_categories_are_rows_of_their_own(n_values, share):
    rng = np.random.RandomState(0)
    X = rng.randint(n_values, size=(3000, 1)).astype(float)
    assert len(parts(Rows(X, (rng.uniform(size=3000) < share).astype(int)))) == 3000


@pytest.mark.parametrize("kind", ["values", "labels", "counts", "hashes"])
def test_measurements_that_are_repeated_are_no_categories(kind):
    """Their targets differ by noise; were they parted, a network that learns them by heart would score well."""
    rng = np.random.RandomState(0)
    X = rng.poisson(1, size=(50, 20)).astype(float) if kind == "counts" else rng.normal(size=(50, 4))
    X = rng.randint(2**63, size=(50, 1)).astype(np.uint64) if kind == "hashes" else X
    index = np.repeat(np.arange(50), 5)
    y = rng.normal(size=(250, 1)) if kind == "values" else rng.randint(2, size=250)
    assert len(parts(Rows(X[index], y))) == 50
    assert len(parts(Rows({"a": X[index], "b": np.zeros(250)}, y))) == 50


def test_categories_of_several_columns_fill_their_grid():
    rng = np.random.RandomState(0)
    X, y = rng.randint(5, size=(2000, 3)), rng.randint(2, size=2000)
    assert len(parts(Rows(X, y))) == 2000
    assert len(parts(Rows(X + 0.5, y))) == 125
    assert len(parts(Rows({"a": X[:, 0], "b": X[:, 1:].astype(np.float32)}, y))) == 2000


@pytest.mark.parametrize("n_values", [2, 40])
def test_repetitions_by_weight_are_one_unit(n_values):
    rows = Rows((np.arange(40.0) % n_values)[:, None], np.arange(40) % 3, np.full(40, 5)).expanded()
    assert len(rows) == 200
    unit = rows.units()[1]
    assert all(len(np.unique(unit[rows.position == p])) == 1 for p in range(40))
    assert len(np.unique(unit)) == 40


@pytest.mark.parametrize("n_values", [3, 30])
def test_units_do_not_depend_on_the_order_of_the_rows(n_values):
    rng = np.random.RandomState(0)
    rows, order = Rows(rng.randint(n_values, size=(40, 1)).astype(float), rng.randint(2, size=40)), rng.permutation(40)
    (first, unit), (again, moved) = rows.units(), rows.take(order).units()
    assert np.array_equal(rows.keys[first], rows.keys[order][again])
    assert np.array_equal(rows.keys[first][unit][order], rows.keys[order][again][moved])


def test_repetitions_stand_where_the_row_stood():
    y = np.arange(5)
    rows = Rows(X[:5], y, np.array([1.0, 3, 0, 2, 1]))
    assert rows.repeated().y.tolist() == [0, 1, 1, 1, 3, 3, 4]
    twice = Rows(X[[3, 1, 3, 0]], y[[3, 1, 3, 0]])
    assert twice.repeated() is twice
    fractions = Rows(X[:5], y, np.array([1.0, 0, 0.5, 2, 0.5])).repeated()
    assert fractions.y.tolist() == [0, 2, 3, 4]
    np.testing.assert_allclose(fractions.weight, [1, 0.5, 2, 0.5])
