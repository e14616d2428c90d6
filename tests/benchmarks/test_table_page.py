"""The page of the results on tables compares methods on the same splits, and those that ran on few of them apart."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SECOND = "## On the splits that all methods ran on"
BASE = "gradient boosting"


@pytest.fixture(scope="module")
def page():
    """Return the module of the page, which imports its neighbours by their names."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module("_table_page")
    finally:
        sys.path.remove(str(FOLDER))


def lines(methods, tables=("a", "b"), splits=(0, 1, 2, 3)):
    """Return the numbers of fits, drawn by the place of a fit, so that more fits do not change those of others."""
    found = [{"machine": "a machine", "limit": 60.0, "jobs": 1}]
    for name in methods:
        for table in tables:
            for split in splits:
                rng = np.random.RandomState([ord(table), split, sum(map(ord, name))])
                numbers = {"score": rng.uniform(0.5, 1), "loss": rng.uniform(), "processor": 1.0, "us_per_row": 2.0}
                place = {"table": table, "split": split, "method": name, "task": "classification"}
                found.append(place | numbers | {"n_train": 80, "n_test": 20})
    return found


def overviews(text):
    """Return the rows of the first and of the second overview, by method."""
    first, _, rest = text.partition("## All tables")[2].partition(SECOND)
    second = rest.partition("\n## ")[0]
    return [
        {line.split(" | ")[0].strip("| "): line for line in part.splitlines() if line.startswith("| ")}
        for part in (first.partition("![")[0], second)
    ]


def test_a_method_on_the_first_split_only_takes_no_splits_from_the_others(page):
    common = lines([BASE, "net"])
    slow = lines(["slow net"], splits=[0])[1:]
    text, found = page.text(common + slow, None)
    alone, _ = page.text(common, None)
    assert set(found) == {BASE, "net"}
    assert overviews(text)[0] == overviews(alone)[0]
    assert "2 tables, 8 splits" in text
    assert "left out." not in alone
    assert SECOND not in alone


def test_the_second_overview_has_everyone_on_the_splits_of_all(page):
    everyone = lines([BASE, "net"]) + lines(["slow net"], splits=[0])[1:]
    text, _ = page.text(everyone, None)
    first_only, _ = page.text(lines([BASE, "net", "slow net"], splits=[0]), None)
    assert overviews(text)[1] == overviews(first_only)[0]
    assert {BASE, "net", "slow net"} < set(overviews(text)[1])
    assert "slow net ran on fewer splits than the others, and is left out above." in text
    assert "all 3 methods are compared on the 2 splits" in text


def test_an_overview_is_its_definition(page):
    fits = lines([BASE, "net", "forest"])
    _, found = page.text(fits, None)
    expected = {BASE: [], "net": [], "forest": []}
    for table in "ab":
        means = {
            name: np.mean([f["score"] for f in fits[1:] if (f["table"], f["method"]) == (table, name)])
            for name in expected
        }
        for name in expected:
            low, high = min(means.values()), max(means.values())
            expected[name].append((means[name] - low) / (high - low))
    for name, scores in expected.items():
        assert found[name]["scores"] == pytest.approx(scores)
        assert found[name]["score"] == pytest.approx(np.mean(scores))


def test_a_run_that_was_interrupted_compares_everyone_on_what_is_whole(page):
    fits = lines([BASE, "net", "forest"])[:-1]  # the last fit of the last table has not run
    text, found = page.text(fits, None)
    assert set(found) == {BASE, "net", "forest"}
    assert "2 tables, 7 splits" in text
    assert "1 split that some of these methods have not run on are left out." not in text
    assert "1 split that some of these methods have not run on is left out." in text
    assert SECOND not in text


def test_a_fit_that_failed_has_run(page):
    fits = lines([BASE, "net"])
    fits[-1] = {k: v for k, v in fits[-1].items() if k not in ("score", "loss")} | {"error": "ValueError: no reason"}
    text, found = page.text(fits, None)
    assert "2 tables, 8 splits" in text
    assert found["net"]["failed"] == 1
    assert "- b, split 3, net: `ValueError: no reason`" in text


def test_splits_of_methods_that_are_not_chosen_are_not_reported_as_left_out(page):
    fits = lines([BASE, "net"]) + lines(["other"], tables=("c",))[1:]
    text, found = page.text(fits, [BASE, "net"])
    assert set(found) == {BASE, "net"}
    assert "left out" not in text
    assert "other" not in overviews(text)[0]


def test_slow_methods_without_a_common_split_are_named(page):
    fits = lines([BASE, "net"]) + lines(["one"], splits=[0])[1:] + lines(["two"], splits=[1])[1:]
    text, found = page.text(fits, None)
    assert set(found) == {BASE, "net"}
    assert "one and two ran on fewer splits than the others, and are left out above." in text
    assert "There is no split that all methods ran on." in text


def test_tables_of_one_split_are_not_counted_as_even(page):
    _, found = page.text(lines([BASE, "net"], splits=[0]), None)
    assert found["net"]["verdicts"] == [0, 0, 0]


def test_without_a_common_split_there_is_no_page(page):
    with pytest.raises(SystemExit, match="no split that all methods ran on yet"):
        page.text(lines([BASE], tables=("a",)) + lines(["net"], tables=("b",))[1:], None)
    with pytest.raises(SystemExit, match="no split"):
        page.text([], None)


def test_the_page_and_its_figures_are_written(page, tmp_path):
    page.write(lines([BASE, "net"]) + lines(["slow net"], splits=[0])[1:], tmp_path)
    assert SECOND in (tmp_path / "tables.md").read_text()
    for name in ("tables-scores.svg", "tables-times.svg"):
        assert "<svg" in (tmp_path / name).read_text()
