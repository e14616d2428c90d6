"""``skfusion compare``: what it passes on, what it prints where, and what it refuses before anything is trained."""

import json

import joblib
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from skfusion.cli import _compare, app
from skfusion.cli._plain import plain
from skfusion.estimators.recipes import _portfolio

QUICK = ["compare", "--cv", "2", "--members", "2", "--epochs", "1", "--no-baselines"]
TWO = ["--fusion", "single", "--fusion", "uniform-soup"]


def run(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def printed():
    words = ["--data", "iris", *TWO, "--json", "--seed", "3", "--scoring", "neg_log_loss", "--scoring", "accuracy"]
    return run(*QUICK, *words)


def test_json_is_all_that_is_printed(printed):
    found = json.loads(printed.stdout)
    assert found["data"] == {"name": "iris", "task": "classification", "target": None}
    assert found["seed"] == 3
    assert found["scores"] == ["neg_log_loss", "accuracy"]
    assert found["n_folds"] == 2
    assert {"skfusion", "torch", "scikit-learn", "Python"} <= set(found["versions"])
    assert found["options"]["epochs"] == 1
    assert [row["fusion"] for row in found["fusions"]] == ["single", "uniform-soup"]
    assert not any(row["is_baseline"] for row in found["fusions"])
    assert len(found["folds"]) == 4
    for row in found["fusions"]:
        scores = [fold["neg_log_loss"] for fold in found["folds"] if fold["fusion"] == row["fusion"]]
        assert np.mean(scores) == pytest.approx(row["neg_log_loss_mean"])
    means = {row["fusion"]: row["neg_log_loss_mean"] for row in found["fusions"]}
    assert found["best"] == found["best_fusion"] == max(means, key=means.get)


def test_progress_has_a_line_for_each_fusion_and_fold(printed):
    lines = printed.stderr.splitlines()
    expected = [f"fold {k} of 2, {name}" for k in (1, 2) for name in ("single", "uniform-soup")]
    found = [line.partition(": ")[0] for line in lines]
    assert [line for line in found if line.startswith("fold ")] == expected
    assert "Comparing: 0 of 4 (0%)" in lines
    assert any(line.startswith("fold 2 of 2, uniform-soup: 3 of 4 (75%)") for line in lines)


def test_what_fails_is_null_and_warned_of():
    words = [
        "--data",
        "iris",
        "--json",
        "--members",
        "5",
        "--epochs",
        "2",
        "--fusion",
        "single",
        "--fusion",
        "snapshot",
    ]
    result = run(*QUICK, *words)
    found = json.loads(result.stdout)
    rows = {row["fusion"]: row for row in found["fusions"]}
    assert rows["snapshot"]["accuracy_mean"] is None
    assert rows["single"]["accuracy_mean"] > 0
    assert found["best"] == found["best_fusion"] == "single"
    assert any("snapshot" in warning and "n_cycles" in warning for warning in found["warnings"])
    assert "Warning: Fusion 'snapshot' has no accuracy" in result.stderr


def test_nothing_is_printed_where_all_fails():
    words = ["--data", "iris", "--json", "--members", "5", "--epochs", "2", "--fusion", "snapshot"]
    result = run(*QUICK, *words, code=1)
    assert result.stdout == ""
    assert "n_cycles must be between 1" in result.stderr


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (np.float64("inf"), None),
        (pd.NA, None),
        (pd.NaT, None),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([1.0, np.nan]), [1.0, None]),
        ({"a": (1, {2: "x"})}, {"a": [1, {"2": "x"}]}),
    ],
)
def test_plain_values(value, expected):
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False)


def test_several_scores_of_which_the_first_ranks(tmp_path):
    words = ["--data", "diabetes", *TWO, "--scoring", "neg_mean_absolute_error", "--scoring", "r2", "--out", tmp_path]
    text = run(*QUICK, *words).stdout
    heading = next(line for line in text.splitlines() if line.startswith(" fusion"))
    assert heading.index("neg_mean_absolute_error") < heading.index("r2")
    table = pd.read_csv(tmp_path / "leaderboard.csv", index_col=0)
    best = table["neg_mean_absolute_error_mean"].idxmax()
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert f"Best mean neg_mean_absolute_error but for baselines: {best}" in page
    for part in ("--scoring neg_mean_absolute_error --scoring r2", "--no-baselines"):
        assert part in page


class Asked(Exception):
    """What ``compare_fusions`` was asked for."""


def asked_for(monkeypatch, *words):
    def record(fusions, X, y, *, baselines=None, reference=None, **others):
        raise Asked({"baselines": baselines, "reference": reference, "fusions": fusions})

    monkeypatch.setattr(_compare, "compare_fusions", record)
    with pytest.raises(Asked) as caught:
        CliRunner().invoke(app, ["compare", "--data", "wine", *words], catch_exceptions=False)
    return caught.value.args[0]


def test_baselines_are_the_default(monkeypatch):
    assert asked_for(monkeypatch)["baselines"] == ["dummy", "linear", "boosting"]
    assert not asked_for(monkeypatch, "--no-baselines")["baselines"]


def test_a_limit_of_time_is_that_of_the_fusions_that_have_one(monkeypatch):
    words = ["--fusion", "portfolio", "--fusion", "single"]
    found = asked_for(monkeypatch, *words, "--time-limit", "2.5")["fusions"]
    assert found["portfolio"].time_limit == 2.5
    assert "time_limit" not in found["single"].get_params()
    assert asked_for(monkeypatch, *words)["fusions"]["portfolio"].time_limit is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--fusion", "portfolio"], None),
        (["--fusion", "portfolio", "--members", "5"], "--members does not concern portfolio"),
        (
            ["--fusion", "portfolio", "--epochs", "2", "--members", "5"],
            "--members and --epochs do not concern portfolio",
        ),
        (["--fusion", "portfolio", "--fusion", "single", "--members", "5"], None),
    ],
)
def test_options_of_networks_do_not_concern_a_portfolio(monkeypatch, words, said):
    def stop(*given, **named):
        raise RuntimeError("stopped")

    monkeypatch.setattr(_compare, "compare_fusions", stop)
    shown = run("compare", "--data", "wine", *words, code=1).stdout
    assert shown.startswith(said) if said else "concern" not in shown


@pytest.mark.parametrize("name", ["swa", "linear", "boosting", "boosting (baseline)"])
def test_a_reference_is_a_row(monkeypatch, name):
    words = ["--fusion", "boosting", "--fusion", "swa"]
    assert asked_for(monkeypatch, "--reference", name, *words)["reference"] == name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--reference", "chowder"], "--reference chowder is no row of the table; there are single, uniform-soup"),
        (["--reference", "linear", "--no-baselines"], "--reference linear is no row"),
        (["--fusion", "single", "--reference", "swa"], "there are single, dummy, linear, boosting."),
        (["--scoring", "acuracy"], "--scoring acuracy is unknown; did you mean accuracy"),
        (["--scoring", "r2"], "--scoring r2 is for regression, and this is classification"),
        (
            ["--fusion", "boost"],
            "--fusion boost is unknown; did you mean boosting or boosted-stack? All are single, uniform-soup",
        ),
        (
            ["--fusion", "Soup"],
            "--fusion Soup is unknown; did you mean uniform-soup or greedy-soup or finetune-soup? All are",
        ),
        (["--fusion", "xyzzy"], "--fusion xyzzy is unknown; there are single, uniform-soup"),
        (["--time-limit", "60"], "--time-limit is for portfolio, which is not among the fusions asked for"),
        (["--fusion", "stack", "--time-limit", "60"], "leave it out, or add --fusion portfolio."),
        (["--fusion", "portfolio", "--time-limit", "0"], "--time-limit must be more than 0 seconds; got 0."),
        (["--net", "deep"], "Unknown --net 'deep'; there are table, plain."),
    ],
)
def test_what_is_refused_before_anything_is_trained(monkeypatch, words, message):
    monkeypatch.setattr(_compare, "compare_fusions", None)
    result = run("compare", "--data", "wine", *words, code=2)
    assert message in " ".join(result.stderr.split())
    assert result.stdout == ""


@pytest.mark.parametrize("net", ["plain", "table"])
def test_a_table_with_dates_gaps_and_text(tmp_path, net):
    n = 60
    days = pd.date_range("2020-01-30", periods=n, freq="5D")
    frame = pd.DataFrame(
        {
            "sold": days.strftime("%Y-%m-%d"),
            "remark": [f"a long remark, the {i}th of all" for i in range(n)],
            "size": ["?"] * 3 + [f"{i / 7:.2f}" for i in range(3, n)],
            "colour": ["red", None, "blue"] * (n // 3),
            "kind": np.where(days.month > 5, "late", "early"),
        }
    )
    frame.loc[[4, 5], "kind"] = None
    frame.to_csv(tmp_path / "t.csv", index=False, sep=";")
    words = [
        "--data",
        tmp_path / "t.csv",
        "--target",
        "kind",
        *TWO,
        "--net",
        net,
        "--epochs",
        2,
        "--out",
        tmp_path / "out",
    ]
    text = run(*QUICK, *words).stdout
    for said in [
        "t.csv is read with semicolons between its columns.",
        "Dropped 2 of 60 rows, which have no 'kind'.",
        "Dates in 'sold' are turned into days since the first, month and weekday.",
        "Dropped 'remark': free text",
        "'size' is read as numbers; 3 entries that are none ('?') count as missing.",
        "Categories: 'colour' (3 values).",
        {"table": "Categories are embedded by the networks.", "plain": "Categories are one-hot encoded for"}[net],
    ]:
        assert said in text
    model = joblib.load(tmp_path / "out" / "model.joblib")
    assert set(model.predict(frame.drop(columns=["remark", "kind"]).assign(colour="green"))) <= {"early", "late"}
    if net == "table":
        assert model[-1].estimator.module__categorical == [0]


@pytest.fixture
def compared(monkeypatch):
    """A comparison of one network with a dummy, which has these scores."""

    def give(single, dummy):
        def answer(fusions, X, y, *, baselines=None, reference=None, **others):
            folds = [
                {"fusion": name, "fold": 0, "accuracy": value, "n_merged": np.nan, "n_collected": 1}
                for name, value in {"single": single, "dummy": dummy}.items()
            ]
            columns = {f"accuracy_{end}": [single, dummy] for end in ("mean", "low", "high")}
            other = ["gain_over_best", "gain_over_mean", "log_loss", "ece", "collect_seconds", "fuse_seconds"]
            columns |= dict.fromkeys([*other, "predict_us_per_row", "n_parameters", "n_members"], 1.0)
            table = pd.DataFrame(columns, index=pd.Index(["single", "dummy"], name="fusion"))
            trained = {"single": "all but some rows", "dummy": "all rows"}
            table.attrs = {"scores": ["accuracy"], "folds": pd.DataFrame(folds), "random_state": 0, "n_folds": 1}
            table.attrs |= {"baselines": ["dummy"], "trained_on": trained}
            return table

        monkeypatch.setattr(_compare, "compare_fusions", answer)

    return give


def test_a_baseline_may_be_the_best_row_but_is_no_fusion(compared):
    compared(0.8, 0.9)
    words = ["compare", "--data", "iris", "--fusion", "single"]
    found = json.loads(run(*words, "--json").stdout)
    assert (found["best"], found["best_fusion"]) == ("dummy", "single")
    assert {row["fusion"]: row["is_baseline"] for row in found["fusions"]} == {"single": False, "dummy": True}
    assert found["notes"] == [
        "Trained on all but some rows: single.",
        "dummy has a better mean than single, the best of the rows that are no baselines.",
    ]
    assert found["notes"][1] in run(*words).stdout


def test_a_baseline_that_is_behind_is_not_noted(compared):
    compared(0.9, 0.8)
    assert "better mean" not in run("compare", "--data", "iris", "--fusion", "single").stdout


@pytest.mark.parametrize("as_json", [False, True])
def test_a_baseline_with_a_score_does_not_hide_that_no_fusion_has_one(compared, as_json, tmp_path):
    compared(np.nan, 0.9)
    words = ["compare", "--data", "iris", "--fusion", "single", "--out", tmp_path, *["--json"] * as_json]
    result = run(*words, code=1)
    assert "No fusion has a score, accuracy, in all folds" in result.stderr
    if as_json:
        assert json.loads(result.stdout)["best_fusion"] is None
    assert not list(tmp_path.iterdir())


def test_a_portfolio_takes_the_columns_of_a_file_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(_portfolio, "PORTFOLIO", ("extra-trees", "linear"))
    rng = np.random.RandomState(0)
    size = rng.normal(size=90)
    frame = pd.DataFrame(
        {
            "size": np.where(rng.rand(90) < 0.1, np.nan, size),
            "colour": np.where(rng.rand(90) < 0.1, None, np.where(size > 0.5, "red", "blue")),
            "sold": pd.date_range("2020-01-01", periods=90).astype(str),
            "kind": np.where(size > 0, "good", "bad"),
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    words = ["--data", tmp_path / "t.csv", "--target", "kind", "--fusion", "portfolio", "--out", tmp_path / "report"]
    shown = run(*QUICK, *words).stdout
    assert "portfolio" in shown
    assert "uniform-soup" not in shown
    model = joblib.load(tmp_path / "report" / "model.joblib")
    assert (model.predict(frame.drop(columns="kind")) == frame["kind"]).mean() > 0.8
    assert not (tmp_path / "report" / "pool").exists()


@pytest.mark.parametrize(("fusion", "has_pool"), [("single", True), ("boosted-stack", False)])
def test_a_report_names_the_folder_of_members_where_there_is_one(tmp_path, fusion, has_pool):
    words = ["--data", "iris", "--net", "plain", "--epochs", 1, "--members", 2, "--cv", 2, "--no-baselines"]
    run("compare", *words, "--fusion", fusion, "--out", tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert (tmp_path / "pool").is_dir() is has_pool
    assert ("ModelPool.load" in page) is has_pool
