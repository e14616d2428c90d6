"""A misspelt command, option or name is refused with exit code 2, and with the one that is most like it."""

import pandas as pd
import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from skfusion.cli import app
from skfusion.cli._near import did_you_mean
from skfusion.pool import Member, ModelPool


def refused(*words):
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert result.exit_code == 2, result.output
    assert not result.stdout
    return result.stderr


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["mereg"], "No such command 'mereg'. Did you mean 'merge'?"),
        (["Compare"], "No such command 'Compare'. Did you mean 'compare'?"),
        (["pool", "verfy", "x"], "No such command 'verfy'. Did you mean 'verify'?"),
        (["merge", "a", "b", "-o", "c", "--metod", "ties"], "No such option: --metod. Did you mean '--method'?"),
        (["pool", "ls", "x", "--jsn"], "No such option: --jsn. Did you mean '--json'?"),
        (["--versoin"], "No such option: --versoin. Did you mean '--version'?"),
        (["merge", "a", "b", "-o", "c", "--method", "tiess"], "post-hoc-ema. Did you mean ties?"),
        (["compare", "--data", "digts"], "file. Did you mean digits?"),
        (["compare", "--data", "iris", "--net", "tabel"], "there are table, plain. Did you mean table?"),
        (["compare", "--data", "iris", "--task", "clasification"], "regression. Did you mean classification?"),
        (["compare", "--data", "iris", "--fusion", "swaa"], "did you mean swa?"),
        (["compare", "--data", "iris", "--scoring", "acuracy"], "did you mean accuracy or"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_what_was_meant(words, meant):
    assert meant in refused(*words)


@pytest.mark.parametrize("words", [["chowder"], ["merge", "--chowder"], ["pool", "chowder"]])
def test_where_nothing_is_like_it_nothing_is_proposed(words):
    text = refused(*words)
    assert "chowder" in text
    assert "Did you mean" not in text


def test_a_column_and_a_member(tmp_path):
    pd.DataFrame({"Colour": ["a", "b"], "size": [1, 2]}).to_csv(tmp_path / "t.csv", index=False)
    assert "Did you mean Colour?" in refused("compare", "--data", tmp_path / "t.csv", "--target", "color")
    ModelPool([Member(name, {}) for name in ("first", "second")]).save(tmp_path / "pool")
    assert "Did you mean second?" in refused("pool", "show", tmp_path / "pool", "secnod")
    assert "Did you mean first?" in refused("pool", "rm", tmp_path / "pool", "frist", "--yes")


def test_a_data_set_of_a_diagnosis(tmp_path):
    for name in "ab":
        safetensors.torch.save_file({"weight": torch.ones(2, 2)}, tmp_path / f"{name}.safetensors")
    words = [tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--module", "torch.nn:Linear", "--data", "irs"]
    assert "Did you mean iris?" in refused("diagnose", *words)


def test_case_does_not_count():
    assert did_you_mean("TIES-", ["ties", "dare"]) == " Did you mean ties?"
    assert did_you_mean("kind", ["Kind"]) == " Did you mean Kind?"
    assert did_you_mean("x", []) == ""
