"""The sentences of a comparison: they follow from intervals, and labels at random give none that praises a fusion."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from skfusion.cli import app
from skfusion.cli._board import bars, board
from skfusion.cli._sources import BUILT_IN, noisy_digits, with_wrong_labels
from skfusion.cli._verdict import verdict_of
from skfusion.compare import simultaneous
from skfusion.compare._differences import differences, paired


def table_of(scores, reference="single", n_train=400, n_test=100, **columns):
    """Return what ``compare_fusions`` gives for these scores of the folds, as far as verdicts read it."""
    names, n_folds = list(scores), len(next(iter(scores.values())))
    folds = pd.DataFrame(
        [
            {"fusion": name, "fold": k, "accuracy": scores[name][k], "n_train": n_train, "n_test": n_test}
            for k in range(n_folds)
            for name in names
        ]
    )
    table, reference, _ = differences(folds, names, "accuracy", reference)
    table["accuracy_mean"] = [np.mean(scores[name]) for name in names]
    for end in ("low", "high"):
        table[f"accuracy_{end}"] = table["accuracy_mean"]
    sizes = {"n_parameters": 10.0, "n_members": 1.0, "collect_seconds": 1.0, "fuse_seconds": 0.0}
    for name, value in {**sizes, "predict_us_per_row": 1.0, "log_loss": np.nan, **columns}.items():
        table[name] = value
    table.attrs = {"scores": ["accuracy"], "reference": reference, "folds": folds, "n_folds": n_folds}
    return table


def around(mean, spread=0.01, n=5, seed=0):
    noise = np.random.RandomState(seed).normal(size=n)
    return mean + spread * (noise - noise.mean())


def test_intervals_hold_together():
    scores = {"single": around(0.7), "a": around(0.75, seed=1), "b": around(0.72, seed=2)}
    folds = table_of(scores).attrs["folds"]
    alone = simultaneous(folds, ["a"], "accuracy", "single")
    mean, low, high, _ = paired(scores["a"] - scores["single"], 400, 100)
    assert np.allclose(alone.loc["a"], [mean, low, high])
    both = simultaneous(folds, ["a", "b"], "accuracy", "single")
    assert both.loc["a", "low"] < alone.loc["a", "low"]
    assert both.loc["a", "high"] > alone.loc["a", "high"]


def test_a_gain_whose_interval_is_above_zero_pays():
    scores = {"single": around(0.7), "soup": around(0.8, seed=1), "ensemble": around(0.81, seed=1)}
    scores |= {"bad": around(0.3, seed=2), "tuned": around(0.805, seed=3), "linear": around(0.6, seed=4)}
    table = table_of(scores, n_parameters=[1.0, 1.0, 5.0, 1.0, 1.0, np.nan])
    verdict = verdict_of(table, ["linear"])
    assert verdict.pays
    assert verdict.headline.startswith("Fusion pays here: ensemble gains +0.110 [")
    text = " ".join(verdict.details)
    assert "So do others: soup +0.100 [" in text
    assert "Worse than single: bad −0.400 [" in text
    assert "ensemble is better than linear." in text
    assert "ensemble is not told apart from tuned." in text
    assert verdict.use == "ensemble"  # soup is worse by the same in every fold


def test_of_equal_fusions_the_cheapest_is_to_be_used():
    scores = {"single": around(0.7), "ensemble": around(0.81, seed=1), "soup": around(0.805, seed=2)}
    verdict = verdict_of(table_of(scores, n_parameters=[1.0, 5.0, 1.0]), [])
    assert verdict.use == "soup"
    assert verdict.details[-1].startswith("To use: soup, 1 network in prediction: of the fusions not told apart")


def test_a_gain_that_may_be_chance_does_not_pay():
    scores = {"single": around(0.7, 0.05), "soup": around(0.71, 0.05, seed=1), "tuned": around(0.7, 0.05, seed=2)}
    verdict = verdict_of(table_of(scores), [])
    assert verdict.pays is False
    assert verdict.headline == "No fusion beats single here."
    assert verdict.use == "single"
    assert verdict.details[-1] == "To use: single, as no row is shown to beat it."


@pytest.mark.parametrize("other", ["tuned", "boosting"])
@pytest.mark.parametrize(("soup", "used"), [(0.7, "single"), (0.8, "soup")])
def test_a_row_that_is_no_fusion_is_advised_where_it_beats_the_one_that_would_be(other, soup, used):
    scores = {"single": around(0.7), "soup": around(soup, seed=1), other: around(0.9, seed=2)}
    verdict = verdict_of(table_of(scores), ["boosting"] if other == "boosting" else [])
    assert verdict.pays is (soup > 0.7)
    assert verdict.use == other
    assert verdict.details[-1].startswith(f"To use: {other}, which is no fusion and gains +")
    assert verdict.details[-1].endswith(f" over {used}.")


def test_tuning_and_baselines_are_no_fusions():
    scores = {"single": around(0.7), "tuned": around(0.8, seed=1), "linear": around(0.8, seed=2)}
    verdict = verdict_of(table_of(scores), ["linear"])
    assert verdict.pays is None
    assert verdict.headline == "No fusion is compared with single."


def test_scores_that_are_missing_and_a_single_fold_give_no_verdict():
    scores = {"single": around(0.7), "soup": np.full(5, np.nan)}
    assert verdict_of(table_of(scores), []).pays is None
    assert verdict_of(table_of({"single": [0.7], "soup": [0.9]}), []).pays is None


def test_equal_fusions_are_seldom_praised():
    rng, praised = np.random.RandomState(0), 0
    for _ in range(200):
        scores = {name: 0.7 + 0.02 * rng.normal(size=5) for name in ("single", *"abcdefghij")}
        praised += bool(verdict_of(table_of(scores), []).pays)
    assert praised <= 10  # 5 % of 200, and far less, as folds are independent here


def test_labels_at_random_are_called_so(tmp_path):
    rng = np.random.RandomState(0)
    frame = pd.DataFrame(rng.normal(size=(150, 4)), columns=list("abcd"))
    frame.assign(kind=rng.choice(["good", "bad"], 150)).to_csv(tmp_path / "t.csv", index=False)
    words = ["--data", tmp_path / "t.csv", "--target", "kind", "--net", "plain", "--epochs", 4, "--members", 2]
    words += [w for name in ("single", "swa", "ensemble", "finetune-soup") for w in ("--fusion", name)]
    result = CliRunner().invoke(app, ["compare", *map(str, words), "--json", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["verdict"]["pays"] is False
    assert all(0.3 < row["accuracy_mean"] < 0.7 for row in found["fusions"])
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<h1>No fusion beats single here.</h1>" in page


def test_a_fifth_of_the_labels_of_noisy_digits_is_wrong():
    loader, task = BUILT_IN["noisy_digits"]
    X, y = loader(return_X_y=True)
    X_clean, clean = BUILT_IN["digits"][0](return_X_y=True)
    assert task == "classification"
    assert np.array_equal(X, X_clean)
    assert 0.17 < (y != clean).mean() < 0.23
    assert set(y) == set(range(10))
    assert np.array_equal(y, noisy_digits()[1])
    assert np.array_equal(with_wrong_labels(clean, 0.0, 1), clean)
    assert (with_wrong_labels(clean, 1.0, 1) != clean).all()


@pytest.mark.parametrize("n_folds", [1, 5])
def test_the_board_draws_each_difference(n_folds):
    scores = {"single": around(0.7, n=n_folds), "soup": around(0.8, n=n_folds, seed=1)}
    scores |= {"bad & far": around(0.1, n=n_folds, seed=2), "lost": np.full(n_folds, np.nan)}
    table = table_of(scores)
    found = board(table, "accuracy", [], "soup")
    assert found.count("<tr") == 5
    assert '<tr class="best"><th scope="row">soup' in found
    assert "bad &amp; far" in found
    drawn = bars(table, "single")
    assert len(drawn) == (4 if n_folds > 1 else 0)
    if drawn:
        assert "reference" in drawn[0]
        assert 'class="plot up"' in drawn[1]
        assert "◂" in drawn[2]
        assert "–" in drawn[3]


@pytest.mark.parametrize(("n_folds", "n_test", "gain"), [(2, 20, 0.2), (3, 20, 0.1)])
def test_the_same_difference_in_a_few_small_folds_may_be_chance(n_folds, n_test, gain):
    base = np.linspace(0.5, 0.6, n_folds)
    scores = {"single": base, "soup": base + gain, "ensemble": base - gain, "copy": base}
    verdict = verdict_of(table_of(scores, n_train=n_test * (n_folds - 1), n_test=n_test), [])
    assert verdict.pays is False
    assert "Worse" not in " ".join(verdict.details)


def test_the_same_difference_in_many_rows_is_no_chance():
    base = np.linspace(0.5, 0.6, 5)
    assert verdict_of(table_of({"single": base, "soup": base + 0.1}), []).pays


def test_labels_and_predictions_at_random_seldom_praise_a_fusion_of_two_folds():
    rng, praised = np.random.RandomState(0), 0
    for _ in range(200):
        scores = {name: rng.binomial(20, 0.5, 2) / 20 for name in ("single", *"abcdefghij")}
        praised += bool(verdict_of(table_of(scores, n_train=20, n_test=20), []).pays)
    assert praised <= 10  # 5 % of 200


def test_intervals_from_a_chosen_row_are_wider():
    scores = {"single": around(0.7), "a": around(0.75, seed=1), "b": around(0.72, seed=2)}
    folds = table_of(scores).attrs["folds"]
    chosen = simultaneous(folds, ["a"], "accuracy", "single", n_choices=2)
    assert np.allclose(chosen.loc["a"], simultaneous(folds, ["a", "b"], "accuracy", "single").loc["a"])
    gain, noise = 0.012, np.array([-1.0, 1, -1, 1, 0]) * 0.004  # told apart by an interval alone, not by one of ten
    scores = {name: around(0.7, seed=k) for k, name in enumerate(("single", *"abcdefghi"))}
    scores |= {"best": around(0.75, 0.0), "linear": around(0.75, 0.0) - gain + noise}
    assert "best is not told apart from linear." in verdict_of(table_of(scores), ["linear"]).details
