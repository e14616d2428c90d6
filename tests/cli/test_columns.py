"""Columns of tables: what they are taken as, what becomes of them, and what is said about it."""

import datetime
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from skfusion.cli._columns import MAX_LEVELS, MAX_WIDTH
from skfusion.cli._prepare import codes
from skfusion.cli._sources import DataError
from skfusion.cli._table import from_frame

N = 60


def loaded(**columns):
    frame = pd.DataFrame({**columns, "y": np.arange(N) / 7})
    before = frame.copy(deep=True)
    found = from_frame(frame, "y", "auto", "t")
    pd.testing.assert_frame_equal(frame, before)
    return found


def note(found, word):
    (text,) = (text for text in found.notes if word in text)
    return text


DAYS = pd.date_range("2020-01-30", periods=N, freq="5D")


@pytest.mark.parametrize(
    "values",
    [
        DAYS,
        DAYS.tz_localize("Europe/Berlin"),
        DAYS.strftime("%Y-%m-%d"),
        DAYS.strftime("%Y-%m-%dT00:00:00"),
        DAYS.strftime("%Y/%m/%d"),
        DAYS.strftime("%d.%m.%Y"),
        DAYS.strftime("%m/%d/%Y"),
        DAYS.strftime("%d/%m/%Y %H:%M"),
        [d.date() for d in DAYS],
        [np.datetime64(d) for d in DAYS],
    ],
    ids=lambda values: str(values[0]),
)
def test_dates_become_numbers(values):
    found = loaded(sold=values)
    expected = pd.DataFrame(
        {"sold days": 5.0 * np.arange(N), "sold month": DAYS.month * 1.0, "sold weekday": DAYS.day_of_week * 1.0}
    )
    pd.testing.assert_frame_equal(found.X, expected)
    assert re.match(
        r"Dates in 'sold'(, read as [^,]+,)? are turned into days since the first, month and weekday", found.notes[1]
    )
    assert "Folds are drawn at random" in found.notes[2]


def test_only_parts_that_vary():
    assert list(loaded(t=pd.date_range("2020-01-01", periods=N, freq="7D")).X) == ["t days", "t month"]
    assert list(loaded(t=pd.date_range("2020-01-01", periods=N, freq="h")).X) == ["t days", "t weekday", "t hour"]
    assert list(loaded(t=pd.period_range("2020-01", periods=N, freq="M")).X) == ["t days", "t month", "t weekday"]


def test_what_is_no_date_in_a_column_of_dates_is_missing():
    values = [*DAYS.strftime("%Y-%m-%d")[:-3], "2020-02-31", None, "0000-00-00"]
    found = loaded(sold=values)
    assert found.X["sold days"].isna().tolist() == [False] * (N - 3) + [True] * 3
    assert np.isfinite(found.prepare.fit_transform(found.X)).all()


def test_dates_after_training_are_counted_from_the_first_of_training():
    found = loaded(sold=DAYS.strftime("%Y-%m-%d"))
    later = found.typed.transform(pd.DataFrame({"sold": ["2020-01-29", "2021-01-30"]}))
    assert later["sold days"].tolist() == [-1, 366]
    assert found.typed.transform(pd.DataFrame({"sold": pd.to_datetime(["2020-01-31"])}))["sold days"].tolist() == [1]


def test_durations_are_days():
    found = loaded(wait=pd.to_timedelta(np.arange(N) * 12, unit="h"))
    assert found.X["wait"].tolist() == (np.arange(N) / 2).tolist()
    assert note(found, "'wait'") == "Durations in 'wait' are turned into days."


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["?"] * 5 + [f"{i / 7:.3f}" for i in range(5, N)], "5 entries that are none ('?') count as missing"),
        (["?"] * 3 + [i / 7 for i in range(3, N)], "3 entries that are none ('?') count as missing"),
        ([None] * 5 + [Decimal(i) for i in range(5, N)], "'x' is read as numbers."),
        (["1", *range(1, N)], "'x' is read as numbers."),
        (["?"] * 24 + [f"{i / 7:.3f}" for i in range(24, N)], "24 entries that are none ('?') count as missing"),
        (["?", " -", "Unknown"] * 10 + [*range(N - 30)], "30 entries that are none ('?', ' -', 'Unknown') count"),
        ([None, "n/a", "1", 2] * (N // 4), "15 entries that are none ('n/a') count as missing"),
    ],
)
def test_numbers_with_marks_for_missing_ones(values, said):
    found = loaded(x=pd.Series(values, dtype=object))
    assert found.X["x"].dtype == np.float64
    assert said in note(found, "'x'")
    assert np.isfinite(found.prepare.fit_transform(found.X)).all()
    assert found.typed.transform(pd.DataFrame({"x": ["n/a", "3"]}))["x"].tolist()[1] == 3


@pytest.mark.parametrize(
    "values",
    [
        [f"0{i % 10}" for i in range(N)],  # digits that were meant as text
        ["a", "b", "c", "d", *range(N - 4)],  # more texts than stand for what is missing
        [i % 3 if i % 2 else "a" for i in range(N)],
        ["crew"] * 20 + [1, 2] * 20,  # a text that may be a value as the others are
        ["none"] * 20 + [1, 2] * 20,  # as may this one, such as 0
        ["3+"] * 20 + [1, 2] * 20,
        ["?"] * 31 + [1, *range(N - 32)],  # fewer than half are numbers
        [*["?", "-", "NA", "unknown"] * 5, *range(N - 20)],
        [True, 1, "x"] * (N // 3),
    ],
)
def test_mixed_columns_are_categories(values):
    found = loaded(x=pd.Series(values, dtype=object), z=np.arange(N) ** 2)
    if "x" in found.X:
        assert found.typed.categories_ == ["x"]
        assert f"'x' ({len({*map(str, values)})} values)" in note(found, "'x'")
    else:
        assert "name" in note(found, "'x'")
    assert np.isfinite(found.prepare.fit_transform(found.X)).all()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([f"the {i}th remark of a customer" for i in range(N)], "free text"),
        ([f"the {i // 2 if i < 8 else i}th remark of a customer" for i in range(N)], "free text"),
        ([f"id{i // 2 if i < 8 else i}" for i in range(N)], "nearly every one, like a name"),
        ([None] * (N // 2) + [f"id{i}" for i in range(N // 2)], "nearly every one, like a name"),
        ([np.nan] * N, "the same value in every row, or none"),
        (["a"] * N, "the same value in every row, or none"),
        ([DAYS[0]] * N, "the same value in every row, or none"),
    ],
)
def test_what_says_nothing_is_dropped_and_named(values, said):
    found = loaded(x=values, z=np.arange(N) ** 2)
    assert list(found.X) == ["z"]
    assert note(found, "'x'").startswith("Dropped 'x': ")
    assert said in note(found, "'x'")


def test_text_with_few_values_is_kept_as_it_was():
    found = loaded(colour=["red", "blue", None] * (N // 3), flag=[True, False] * (N // 2))
    assert note(found, "Categories") == "Categories: 'colour' (3 values), 'flag' (2 values)."
    assert found.prepare.fit_transform(found.X).shape == (N, 5)


def many(n_levels, n=40_000):
    rng = np.random.default_rng(0)
    levels = np.concatenate([np.arange(n_levels), rng.zipf(1.5, n - n_levels) % n_levels])
    return pd.DataFrame({"city": [f"c{k}" for k in levels], "y": np.arange(n) / 7})


def test_ten_thousand_categories_are_grouped():
    found = from_frame(many(10_000), "y", "auto", "t")
    assert "'city' has 10000 values: the 99 most frequent are" in note(found, "'city'")
    for prepare, width in [(found.prepare, MAX_LEVELS), (codes(found.typed), 1)]:
        Z = prepare.fit(found.X[:30_000]).transform(found.X)
        assert Z.shape == (40_000, width)
        assert np.isfinite(Z).all()
    assert codes(found.typed).fit_transform(found.X).max() == MAX_LEVELS - 1


def test_many_columns_of_text_stay_narrow():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({f"c{k}": [f"v{v}" for v in rng.integers(90, size=1000)] for k in range(60)})
    found = from_frame(frame.assign(y=np.arange(1000) / 7), "y", "auto", "t")
    assert found.prepare.fit_transform(found.X).shape[1] <= MAX_WIDTH


def test_categories_unseen_in_training_are_encoded():
    found = loaded(colour=["red", "blue"] * (N // 2), x=np.arange(N) ** 2)
    unseen = found.typed.transform(pd.DataFrame({"colour": ["green", None], "x": [1, 2]}))
    one_hot = found.prepare.fit(found.X).transform(unseen)
    assert (one_hot[:, 1:] == 0).all()
    assert codes(found.typed).fit(found.X).transform(unseen)[:, 0].tolist() == [-1, -1]


def test_a_column_that_is_empty_in_training_alone_does_no_harm():
    found = loaded(x=[np.nan] * (N // 2) + [1.0, 2.0] * (N // 4), c=[None] * (N // 2) + ["a", "b"] * (N // 4))
    for prepare in (found.prepare, codes(found.typed)):
        assert np.isfinite(prepare.fit(found.X[: N // 2]).transform(found.X)).all()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [np.inf, *range(N - 1)]}, r"Column 'x' \(1 row\) has infinite values: leave these cells empty"),
        (
            {"x": [np.inf, *range(N - 1)], "z": [-np.inf] * 2 + [*range(N - 2)]},
            r"Columns 'x' \(1 row\), 'z' \(2 rows\)",
        ),
        ({"x": pd.Series(["inf", *range(N - 1)], dtype=object)}, r"'x' \(1 row\) has infinite values"),
        ({"x": ["01/02/2020", "03/04/2020"] * (N // 2)}, "'x' holds dates as text, such as '01/02/2020'.*either way"),
        ({"x": [datetime.time(1), datetime.time(2)] * (N // 2)}, "'x' holds values of type time; give numbers, dates"),
        ({"sold": DAYS, "sold days": np.arange(N) ** 2}, "'sold days' is the name of what dates become: rename"),
    ],
)
def test_what_the_user_must_decide(columns, message):
    with pytest.raises(DataError, match=message):
        loaded(**columns)
