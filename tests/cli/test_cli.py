"""The command line: it compares, prepares tables, leaves a report, and says what is wrong."""

import io
import json
import re
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.datasets import load_iris, load_wine
from typer.testing import CliRunner

from skfusion import ModelPool, __version__
from skfusion.cli import _leaderboard, app
from skfusion.cli._fusions import FUSIONS
from skfusion.cli._sources import BUILT_IN, DataError, read_csv, separator_of
from skfusion.cli._table import from_frame

QUICK = ["--cv", "2", "--members", "2", "--epochs", "4", "--no-baselines"]
ONE = ["--fusion", "single"]


def run(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "120"})
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


@pytest.fixture
def messy():
    """A table as people have them: gaps, text, truth values, and columns that say nothing."""
    rng = np.random.default_rng(0)
    n = 60
    size = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "row": np.arange(n),
            "id": [f"sample {i}" for i in range(n)],
            "size": np.where(rng.random(n) < 0.2, np.nan, size),
            "count": pd.array(np.where(size > 0, 3, rng.integers(9, size=n)), dtype="Int64"),
            "colour": pd.Series(np.where(rng.random(n) < 0.3, None, np.where(size > 0, "red", "blue")), dtype=object),
            "heavy": size > 0.5,
            "empty": np.nan,
            "same": "x",
            "kind": np.where(size > 0, "good", "bad"),
            "price": 3 * size + 0.1 * rng.normal(size=n),
        }
    )
    frame.loc[[3, 4], "kind"] = None
    frame.loc[5, "count"] = pd.NA
    return frame


def test_version():
    assert run("--version") == f"skfusion {__version__}"


def test_the_module_is_the_command():
    for words, said in [(["--version"], f"skfusion {__version__}"), (["merge", "--help"], "python -m skfusion merge")]:
        result = subprocess.run([sys.executable, "-m", "skfusion", *words], capture_output=True, text=True, check=True)
        assert said in " ".join(result.stdout.split())


def test_help_names_the_choices():
    text = run("compare", "--help")
    assert all(name in text for name in [*BUILT_IN, *FUSIONS])


@pytest.mark.parametrize("data", ["wine", "diabetes"])
def test_all_fusions_of_a_built_in_set(data):
    text = run("compare", "--data", data, *QUICK)
    names = [name for name, choice in FUSIONS.items() if not choice.extra and (choice.regression or data == "wine")]
    assert "portfolio" not in text
    assert "With 2 folds, fusions can hardly be told apart" in text
    assert all(name in text for name in names)
    assert ("ECE" in text) == (data == "wine")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("regression", [False, True])
def test_no_number_is_lost_on_a_terminal_of_any_width(width, regression):
    names = ["single", "uniform-soup", "greedy-soup"]
    table = pd.DataFrame(
        {
            "accuracy_mean": [0.912, 0.512, 0.999],
            "accuracy_high": [0.923, 0.601, 1.111],
            "gain_over_best": [0.001, -0.511, 0.021],
            "gain_over_mean": [0.015, -0.251, 0.031],
            "log_loss": [np.nan] * 3 if regression else [0.312, 1.231, 0.277],
            "ece": [np.nan] * 3 if regression else [0.041, 0.123, 0.033],
            "collect_seconds": [1.25, 123.45, 54321.5],
            "fuse_seconds": [0.01, 0.02, 0.03],
            "predict_us_per_row": [1.5, 2.5, 123456.5],
            "n_parameters": [1e3, 1e6, 1e9],
            "n_members": [1, 1, 5],
        },
        index=names,
    )
    console = Console(file=io.StringIO(), width=width)
    _leaderboard.show(console, "wine: [178] rows", table, "accuracy")
    lines = console.file.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    assert lines[0].strip() == "wine: [178] rows"
    assert not re.search("…", " ".join(lines))
    headings = _leaderboard.shown(table, "accuracy")
    for name in names:
        found = [word for line in lines if line.split()[:1] == [name] for word in line.split()[1:]]
        expected = " ".join(headings.loc[name]).split()
        assert sorted(found) == sorted(expected)
    words = " ".join(lines).split()
    assert all(words.count(word) >= 1 for heading in headings for word in heading.split())
    assert (words.count("fusion") == 1) == (width >= 120)


def test_the_report_stands_alone(tmp_path):
    out = tmp_path / "a" / "b"
    text = run(
        "compare",
        "--data",
        "wine",
        *QUICK,
        "--epochs",
        8,
        "--fusion",
        "ensemble",
        "--fusion",
        "swa",
        "--out",
        out,
        "--seed",
        7,
    )
    assert "index.html" in text
    table = pd.read_csv(out / "leaderboard.csv", index_col=0)
    assert list(table.index) == ["ensemble", "swa"]
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml;base64,") == 3  # scores, and two lines between networks
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "$" not in re.sub(r"base64,[^\"]*", "", page)
    for part in ("--seed 7", "--fusion ensemble --fusion swa", f"skfusion {__version__}", "joblib.load", *table.index):
        assert part in page
    X, y = load_wine(return_X_y=True)
    model = joblib.load(out / "model.joblib")
    assert model.score(X, y) > 0.5
    best = table["accuracy_mean"].idxmax()
    assert len(ModelPool.load(out / "pool")) == 2  # two seeds, or the last two of 8 epochs
    assert f"<b>{best}</b>" in page
    run("compare", "--data", "wine", *QUICK, *ONE, "--out", out)  # a second run replaces the first
    assert len(ModelPool.load(out / "pool")) == 1
    assert not list(out.glob("*.part"))


def test_a_soup_of_one_member_is_noted_and_no_warning_tells_it(tmp_path, recwarn):
    text = run("compare", "--data", "wine", *QUICK, "--net", "plain", "--fusion", "greedy-soup", "--out", tmp_path)
    folds = re.search(r"In (\d) of 2 folds greedy-soup kept its best member alone", text)
    assert folds
    assert folds[0] in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert not [w for w in recwarn if "Greedy" in str(w.message)]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_messy_table(messy, kind, tmp_path):
    path = tmp_path / f"messy.{kind}"
    frame = messy.drop(columns="price")
    if kind == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.astype({"colour": "category"}).to_parquet(path)
    out = tmp_path / "out"
    text = run("compare", "--data", path, "--target", "kind", *QUICK, "--fusion", "ensemble", "--out", out)
    assert "Dropped 2 of 60 rows, which have no 'kind'." in text
    assert "Taken as classification: 'kind' has 2 distinct values" in text
    assert "'empty', 'same'" in text
    assert "'id'" in text
    assert "'row'" in text
    model = joblib.load(out / "model.joblib")
    unseen = messy.assign(colour="green").drop(columns=["kind", "id"])  # what was dropped may be absent
    assert set(model.predict(unseen)) <= {"good", "bad"}
    assert model[0].get_feature_names_out is not None
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "a DataFrame with the columns of the file" in page
    assert "Dropped 2 of 60 rows" in page


def test_a_table_for_regression(messy, tmp_path):
    path = tmp_path / "messy.csv"
    messy.to_csv(path, index=False)
    text = run("compare", "--data", path, "--target", "price", *QUICK, *ONE, "--n-jobs", "1")
    assert "Taken as regression" in text
    assert "r2" in text


@pytest.mark.parametrize(("separator", "told"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
@pytest.mark.parametrize("decimal", [".", ","])
def test_a_table_without_commas_between_its_columns(messy, separator, told, decimal, tmp_path):
    path = tmp_path / "messy.csv"
    messy.to_csv(path, index=False, sep=separator, decimal=decimal)
    notes = []
    found = read_csv(path, notes)
    messy.to_csv(tmp_path / "plain.csv", index=False)
    pd.testing.assert_frame_equal(found, read_csv(tmp_path / "plain.csv", []))
    assert notes[0] == f"messy.csv is read with {told} between its columns."
    assert len(notes) == (2 if decimal == "," else 1)
    text = run("compare", "--data", path, "--target", "price", *QUICK, *ONE)
    assert notes[0] in text
    assert "Taken as regression" in text


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("a,b\n1,2\n", ","),
        ("a\n1\n", ","),
        ("a;b;c\n", ","),
        ("", ","),
        ("\ufeffa;b\n1;2\n", ";"),
        ('"size, cm";b\n1,5;2\n', ";"),
        ("size, cm;b;c\n1,5;2;3\n", ";"),
        ("a,b;c;d\n1,2\n", ","),  # a name with semicolons in it, once
        ("a,b\n1,x;y;z\n", ","),
        ("a;b\n1,5;2,5\n", ";"),
    ],
)
def test_what_is_between_columns(text, separator, tmp_path):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    assert separator_of(tmp_path / "t.csv") == separator


def test_commas_are_decimal_points_only_where_all_are(tmp_path):
    (tmp_path / "t.csv").write_text("a;b\n1,5;1,2\n2,5;x\n;3,4\n")
    assert read_csv(tmp_path / "t.csv", []).to_dict("list")["a"][:2] == [1.5, 2.5]
    (tmp_path / "t.csv").write_text("a;b\n1,2;1,2 and 3\n2,5,6;x\n")
    notes = []
    assert read_csv(tmp_path / "t.csv", notes)["a"].tolist() == ["1,2", "2,5,6"]
    assert len(notes) == 1


def test_rows_that_occur_more_than_once(tmp_path):
    pd.DataFrame({"x": [1, 2, 3, 4] * 10, "y": ["a", "a", "b", "b"] * 10}).to_csv(tmp_path / "t.csv", index=False)
    run("compare", "--data", tmp_path / "t.csv", "--target", "y", *QUICK, *ONE, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "index.html").exists()


def test_preparation_encodes_what_it_says(messy):
    found = from_frame(messy.drop(columns="price"), "kind", "auto", "messy")
    assert list(found.X.columns) == ["size", "count", "colour", "heavy"]
    prepare = found.prepare
    Z = prepare.fit_transform(found.X)
    assert Z.shape == (58, 2 + 3 + 2)  # red, blue, missing; true, false
    assert np.isfinite(Z).all()
    np.testing.assert_allclose(Z[:, :2].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_array_equal(Z[:, 2:5].sum(axis=1), 1)
    unseen = prepare.transform(found.X.assign(colour="green"))
    assert (unseen[:, 2:5] == 0).all()


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([0, 1] * 15, "classification"),
        ([True, False] * 15, "classification"),
        (["a", "b"] * 15, "classification"),
        ([1.0, 2.0] * 15, "classification"),
        ([0.5, 1.0] * 15, "regression"),
        (list(range(30)), "regression"),
    ],
)
def test_the_task_is_inferred(values, task):
    found = from_frame(pd.DataFrame({"x": np.arange(30) ** 2, "y": values}), "y", "auto", "t")
    assert found.task == task


@pytest.mark.parametrize(
    ("columns", "task", "message"),
    [
        ({"y": [1.5, 2.5] * 3}, "classification", "has fractions"),
        ({"y": ["a", "b"] * 3}, "regression", "is not numeric"),
        ({"y": ["a"] * 6}, "auto", "single class, 'a'"),
        ({"y": [np.nan] * 6}, "auto", "No row has a target"),
        ({"y": [np.inf, 1.5] * 3}, "auto", "infinite"),
        ({"y": pd.date_range("2020", periods=6)}, "auto", "holds times"),
        ({"y": [1, 2] * 3, "x": [1.0] * 6}, "auto", "No column is left"),
        ({"y": [1, 2] * 3, "x": [1.0, np.inf] * 3}, "auto", r"Column 'x' \(3 rows\) has infinite values: leave"),
        ({"y": [1, 2] * 3, "x": ["01/02/2020", "03/04/2020"] * 3}, "auto", "day and month could be either"),
        ({"y": [1, 2] * 3, "x": [[1], [2]] * 3}, "auto", "values of type list"),
        ({"y": [1, 2] * 3, "x": [1j, 2] * 3}, "auto", "complex"),
    ],
)
def test_a_table_that_cannot_be_used(columns, task, message):
    with pytest.raises(DataError, match=message):
        from_frame(pd.DataFrame(columns), "y", task, "t")


def test_column_names_must_be_unique():
    with pytest.raises(DataError, match="more than once: x"):
        from_frame(pd.DataFrame(np.eye(3), columns=["x", "x", "y"]), "y", "auto", "t")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "moons"], "Unknown --data 'moons'; there are breast_cancer, diabetes"),
        (["--data", "none.csv"], "There is no file 'none.csv'"),
        (["--data", "wine", "--target", "x"], "leave out --target"),
        (
            ["--data", "wine", "--task", "ranking"],
            "Unknown --task 'ranking'; there are auto, classification, regression",
        ),
        (["--data", "wine", "--fusion", "chowder"], "--fusion chowder is unknown; there are single, uniform-soup"),
        (["--data", "diabetes", "--fusion", "vote"], "--fusion vote is not for regression"),
        (["--data", "wine", "--cv", "72"], "fewer than the 72 folds"),
        (["--data", "diabetes", "--cv", "300"], "too few for 300 folds"),
        (["--data", "wine", "--cv", "1"], "--cv"),
        (["--data", "wine", "--members", "0"], "--members"),
        ([], "--data"),
    ],
)
def test_wrong_words(words, message):
    assert message in run("compare", *words, code=2)


def test_wrong_files(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert "one of a, b" in run("compare", "--data", tmp_path / "t.csv", code=2)
    assert "no column 'c' for --target; there are a, b" in run(
        "compare", "--data", tmp_path / "t.csv", "--target", "c", code=2
    )
    (tmp_path / "empty.csv").write_text("")
    assert "cannot be read" in run("compare", "--data", tmp_path / "empty.csv", "--target", "c", code=2)
    (tmp_path / "broken.parquet").write_text(json.dumps([1, 2]))
    assert "cannot be read" in run("compare", "--data", tmp_path / "broken.parquet", "--target", "c", code=2)


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "taken").write_text("")
    assert "cannot be made" in run("compare", "--data", "wine", "--out", tmp_path / "taken", code=2)


def test_a_failure_in_a_fold_is_told_without_a_traceback():
    text = run("compare", "--data", "wine", *QUICK, "--members", 5, "--epochs", 2, "--fusion", "snapshot", code=1)
    assert "Fusion 'snapshot' failed in fold 0: ValueError: n_cycles must be between 1" in text


def test_a_class_of_one_row_is_noted_and_loses_neither_table_nor_report(tmp_path):
    X, y = load_iris(return_X_y=True, as_frame=True)
    X.assign(kind=y.map(dict(enumerate("abc"))))[:101].to_csv(tmp_path / "rare.csv", index=False)
    options = ["--cv", 3, "--members", 2, "--epochs", 1, "--fusion", "single", "--fusion", "greedy-soup"]
    shown = run("compare", "--data", tmp_path / "rare.csv", "--target", "kind", *options, "--out", tmp_path / "report")
    assert "Classes of fewer rows than the 3 folds" in shown
    assert "c (1)" in shown
    assert "c (1)" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
