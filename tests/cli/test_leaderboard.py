"""The leaderboard on a terminal: columns, marks, and widths."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from skfusion.cli._leaderboard import BASELINE, TIED, marks, show, shown, with_spread

NAMES = ["ensemble", "swa", "boosting (baseline)", "dummy", "a soup of which the name takes nearly all of a terminal"]


@pytest.fixture
def table():
    n = len(NAMES)
    frame = pd.DataFrame(
        {
            "accuracy_mean": [0.91, 0.92, 0.9, 0.3, 0.89],
            "accuracy_high": [0.93, 0.94, 0.93, 0.33, 0.91],
            "neg_root_mean_squared_error_mean": [-0.25, -0.2, -0.3, -0.9, -0.35],
            "difference": [0.01, 0.02, 0.0, -0.6, -0.01],
            "difference_low": [0.0, 0.01, 0.0, -0.63, -0.02],
            "difference_high": [0.02, 0.03, 0.0, -0.57, 0.0],
            "p_best": [0.2, 1.0, 0.06, 0.0, 0.01],
            "tied_with_best": pd.array([True, True, True, False, None], dtype="boolean"),
            "n_members": [5, 1, 1, 1, 5],
        },
        index=NAMES,
    )
    others = ["gain_over_best", "gain_over_mean", "log_loss", "ece", "collect_seconds", "fuse_seconds"]
    frame[[*others, "predict_us_per_row", "n_parameters"]] = np.full((n, 8), 0.125)
    scores = ["accuracy", "neg_root_mean_squared_error"]
    frame.attrs = {"scores": scores, "reference": "boosting (baseline)", "baselines": ["boosting (baseline)", "dummy"]}
    return frame


def printed(table, width):
    console = Console(file=io.StringIO(), width=width)
    show(console, "wine", table, "accuracy", ["boosting (baseline)", "dummy"])
    return console.file.getvalue()


def test_differences_stand_beside_the_score_they_are_of(table):
    found = shown(table, "accuracy")
    assert list(found)[:3] == ["accuracy", "vs boosting (baseline)", "neg_root_mean_squared_error"]
    assert found["vs boosting (baseline)"].to_dict() == {
        "swa": "+0.020 ± 0.010",
        "ensemble": "+0.010 ± 0.010",
        "boosting (baseline)": "–",
        NAMES[-1]: "−0.010 ± 0.010",
        "dummy": "−0.600 ± 0.030",
    }
    assert found["p vs best"]["boosting (baseline)"] == "0.060"
    assert found["nets"].to_dict() == {
        "swa": "1",
        "ensemble": "5",
        "boosting (baseline)": "–",
        NAMES[-1]: "5",
        "dummy": "–",
    }


def test_a_table_without_differences_is_shown_as_well(table):
    table = table.drop(columns=["difference", "p_best", "tied_with_best"])
    assert "vs boosting (baseline)" not in shown(table, "accuracy")
    assert TIED not in printed(table, 120)


def test_a_single_row_is_not_compared_with_itself(table):
    one = table.loc[["swa"]]
    one.attrs = {**table.attrs, "reference": None, "baselines": []}
    assert {"vs boosting (baseline)", "p vs best"} <= {*shown(table, "accuracy")}
    assert not {"vs best", "p vs best"} & {*shown(one, "accuracy")}


@pytest.mark.parametrize("scores", [["neg_log_loss"], ["accuracy", "neg_log_loss"]])
def test_the_log_loss_stands_in_one_column(table, scores):
    assert "log loss" in shown(table, "accuracy")
    for end in ("mean", "high"):
        table[f"neg_log_loss_{end}"] = table[f"accuracy_{end}"] - 1
    table.attrs["scores"] = scores
    found = [*shown(table, scores[0])]
    assert "neg_log_loss" in found
    assert "ECE" in found
    assert "log loss" not in found


def test_what_is_tied_and_what_is_a_baseline_is_marked_and_explained(table):
    assert marks(table, "accuracy", ["boosting (baseline)", "dummy"]) == ["", TIED, BASELINE + TIED, "", BASELINE]
    lines = printed(table, 200).splitlines()
    assert (
        f"{TIED} not told apart from the best by accuracy: corrected resampled t-test over the folds, Holm, 5 %."
        in lines
    )
    assert f"{BASELINE} baseline, which fusions have to beat." in lines
    (line,) = (line for line in lines if line.startswith(" ensemble"))
    assert line.split()[1] == TIED


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_names_and_headings_are_broken_and_not_cut(table, width):
    text = printed(table, width)
    lines = text.splitlines()
    assert all(len(line) <= width for line in lines)
    assert "…" not in text
    grids = text.split("\n fusion ")[1:]
    words = {word for name in NAMES for word in name.split()}
    assert all(word in grid for grid in grids for word in words)
    assert all(part in text for part in ["neg_", "root_", "squared_", "error"])


def test_a_fusion_without_a_score_comes_last(table):
    table.loc["swa", ["accuracy_mean", "accuracy_high", "difference", "difference_high"]] = np.nan
    found = shown(table, "accuracy")
    assert found.index[-1] == "swa"
    assert found.loc["swa", ["accuracy", "vs boosting (baseline)"]].tolist() == ["–", "–"]


@pytest.mark.parametrize(
    ("means", "high", "expected"),
    [
        ([0.9], [0.912], ["0.900 ± 0.012"]),
        ([0.90001], [0.90002], ["0.900010 ± 0.000010"]),
        ([-21234.5], [-20034.5], ["−21,234 ± 1,200"]),
        ([12.34], [17.34], ["12.340 ± 5.000"]),
        ([0.5], [np.nan], ["0.500 ± –"]),
        ([1234.5, 12.5], None, ["1,234.5", "12.5"]),
        ([0.912], None, ["0.912"]),
    ],
)
def test_as_many_decimals_as_the_spread_has(means, high, expected):
    ends = None if high is None else pd.Series(high)
    assert with_spread(pd.Series(means), ends) == expected
