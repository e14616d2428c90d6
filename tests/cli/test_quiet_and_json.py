"""``--json`` and ``--quiet`` are options of each command, and what they leave is all that is printed."""

import json
import math
import re

import pytest
import safetensors.torch
import torch
from typer.main import get_command
from typer.testing import CliRunner

from skfusion.cli import COMMANDS, app
from skfusion.pool import Member, ModelPool


def run(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "120"})
    assert result.exit_code == code, result.output
    return result


def each_command():
    group = get_command(app)
    for name in COMMANDS:
        found = group.get_command(None, name)
        yield from ([found] if not hasattr(found, "commands") else found.commands.values())


@pytest.mark.parametrize("command", [*each_command()], ids=lambda command: command.name)
def test_each_command_has_both(command):
    options = {option for param in command.params for option in param.opts}
    assert {"--json", "--quiet", "-q"} <= options


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"net é {k}.safetensors" for k in range(3)]
    generator = torch.Generator().manual_seed(0)
    for path in paths:
        state = {name: torch.randn(2, 4, generator=generator) for name in ("weight", "more")}
        safetensors.torch.save_file(state, path)
    return paths


@pytest.fixture
def pool(tmp_path):
    members = [Member(f"seed-{k}", {"w": torch.ones(2)}, score=[0.5, math.nan][k]) for k in range(2)]
    ModelPool(members).save(tmp_path / "a pool")
    return tmp_path / "a pool"


def test_a_merge_as_json(files, tmp_path):
    out = tmp_path / "out.safetensors"
    result = run("merge", *files[:2], "-o", out, "--base", files[2], "--method", "ties", "--json")
    assert not result.stderr
    found = json.loads(result.stdout)
    assert (found["path"], found["written"]) == (str(out), True)
    assert found["inputs"] == [str(path) for path in files[:2]]
    assert found["base"] == str(files[2])
    assert found["n_bytes"] == out.stat().st_size
    assert found["tensors"][0] == {
        **{"name": "more", "shape": [2, 4], "dtype": "float32", "n_bytes": 32},
        "action": found["tensors"][0]["action"],
    }
    assert {"method", "peak_bytes", "notes", "card"} <= found.keys()


def test_a_planned_merge_as_json_writes_nothing(files, tmp_path):
    found = json.loads(run("merge", *files, "-o", tmp_path / "out.safetensors", "--dry-run", "--json").stdout)
    assert not found["written"]
    assert not (tmp_path / "out.safetensors").exists()


def test_a_quiet_merge_prints_the_path(files, tmp_path):
    result = run("merge", *files, "-o", tmp_path / "out.safetensors", "-q")
    assert result.stdout == f"{tmp_path / 'out.safetensors'}\n"
    assert not result.stderr


def test_a_diagnosis_as_json(files):
    result = run("diagnose", *files, "--json")
    assert not result.stderr
    found = json.loads(result.stdout)
    assert {*found["recommendation"]} == {"one_network", "best_score"}
    assert [member["member"] for member in found["members"]] == [path.stem for path in files]
    assert (found["pairs"][0]["member"], found["pairs"][0]["other"]) == (files[0].stem, files[1].stem)
    assert found["pairs"][0]["distance"] > 0
    assert found["pairs"][0]["cosine"] is None  # there is no base
    assert found["pairs"][0]["cka"] == {}
    assert {way["verdict"] for way in found["advice"]} <= {"yes", "no", "maybe"}
    assert {"together", "basins", "tolerance", "n_rows", "loss_name", "score_name", "notes"} <= found.keys()


def test_a_diagnosis_on_data_as_json(files, tmp_path):
    words = ["--module", "torch.nn:Linear", "--param", "in_features=4", "--param", "out_features=3", "--data", "iris"]
    generator = torch.Generator().manual_seed(0)
    for path in files:
        state = {"weight": torch.randn(3, 4, generator=generator), "bias": torch.zeros(3)}
        safetensors.torch.save_file(state, path)
    found = json.loads(run("diagnose", *files, *words, "--json").stdout)
    assert found["n_rows"] == 150
    assert 0 <= found["members"][0]["score"] <= 1
    assert 0 <= found["together"]["ensemble"] <= 1
    assert all(0 <= value <= 1 + 1e-9 for value in found["pairs"][0]["cka"].values())


def test_a_quiet_diagnosis_is_what_is_recommended_or_the_page(files, tmp_path):
    lines = run("diagnose", *files, "--quiet").stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["For one network", "For the best score"]
    page = tmp_path / "page.html"
    assert run("diagnose", *files, "--quiet", "--html", page).stdout == f"{page}\n"


def test_quiet_pools(pool, tmp_path):
    assert run("pool", "ls", pool, "-q").stdout == "seed-0\nseed-1\n"
    assert "score" in run("pool", "show", pool, "seed-0", "-q").stdout
    assert "float32" not in run("pool", "show", pool, "seed-0", "-q").stdout
    assert run("pool", "verify", pool, "-q").output == ""
    assert run("pool", "merge", pool, "-o", tmp_path / "more", "-q").output == f"{tmp_path / 'more'}\n"
    assert run("pool", "rm", pool, "seed-0", "--yes", "-q").output == ""
    assert run("pool", "ls", pool, "-q").stdout == "seed-1\n"


def test_a_quiet_check_names_damaged_files(pool):
    path = next(pool.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    assert run("pool", "verify", pool, "-q", code=1).stdout == f"{path.name}\n"


def test_removed_members_as_json(pool):
    result = run("pool", "rm", pool, "seed-*", "--yes", "--json")
    assert json.loads(result.stdout) == {"path": str(pool), "removed": ["seed-0", "seed-1"]}


@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_a_question_is_no_result(pool, option, monkeypatch):
    monkeypatch.setattr("skfusion.cli._pool.asking", lambda: True)
    result = CliRunner().invoke(app, ["pool", "rm", str(pool), "seed-0", option], input="n\n")
    assert result.exit_code == 1
    assert result.stdout.strip() in ("", "n")  # what is typed is echoed there
    assert "Remove 1 member" in result.stderr


@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_errors_are_text_on_the_standard_error(files, tmp_path, option):
    result = run("merge", files[0], tmp_path / "none.pt", "-o", tmp_path / "out.safetensors", option, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")


QUICK = ["compare", "--data", "iris", "--cv", "2", "--members", "1", "--epochs", "1", "--fusion", "single"]


def test_a_quiet_comparison_prints_the_best_fusion_or_the_report(tmp_path):
    result = run(*QUICK, "--no-baselines", "--quiet")
    assert (result.stdout, result.stderr) == ("single\n", "")
    out = tmp_path / "a report"
    result = run(*QUICK, "--no-baselines", "--quiet", "--out", out)
    assert (result.stdout, result.stderr) == (f"{out / 'index.html'}\n", "")
    command = re.search(r"skfusion compare [^<]*", (out / "index.html").read_text(encoding="utf-8")).group()
    assert "-quiet" not in command.replace(str(tmp_path), "")
    assert "--scoring" not in command  # none was given
    assert "--fusion single " in command


def test_a_quiet_comparison_as_json_prints_nothing_else():
    result = run(*QUICK, "--no-baselines", "--quiet", "--json")
    assert json.loads(result.stdout)["best_fusion"] == "single"
    assert "quiet" not in json.loads(result.stdout)["options"]
    assert not result.stderr


def test_a_quiet_command_warns():
    words = ["--members", "5", "--epochs", "2", "--fusion", "snapshot", "--no-baselines", "--quiet"]
    result = run(*QUICK, *words)
    assert result.stdout == "single\n"
    lines = result.stderr.splitlines()
    assert any("snapshot" in line for line in lines)
    assert all(line.startswith("Warning: ") for line in lines)
