"""Outputs that cannot take all: closed pipes, full disks, terminals without letters, narrow ones."""

import io
import json
import os
import subprocess
import sys

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from skfusion.cli import app
from skfusion.cli._grid import print_grid
from skfusion.pool import Member, ModelPool

SKFUSION = [sys.executable, "-m", "skfusion"]


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pools") / "a pool é"
    ModelPool([Member(f"seed-{k} é", {"w": torch.ones(2)}) for k in range(300)]).save(folder)
    return folder


@pytest.mark.parametrize("words", [["--help"], ["pool", "ls"], ["pool", "ls", "--json"]], ids=" ".join)
def test_a_reader_that_leaves_early_is_no_error_that_is_shown(pool, words):
    given = [*words, str(pool)] if len(words) > 1 else words
    writer = subprocess.Popen([*SKFUSION, *given], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    writer.stdout.read(1)
    writer.stdout.close()
    assert writer.stderr.read() == b""
    writer.stderr.close()
    assert writer.wait(timeout=60) in (0, 1)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is full")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_full_disk_is_one_line(pool, options):
    with open("/dev/full", "w") as full:
        words = [*SKFUSION, "pool", "ls", pool, *options]
        ended = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: The output cannot be written: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_letters_that_an_output_has_not_are_written_as_numbers(pool, encoding):
    env = os.environ | {"PYTHONIOENCODING": encoding, "COLUMNS": "80"}
    words = [*SKFUSION, "pool", "show", pool, "seed-3 é"]
    shown = subprocess.run(words, capture_output=True, env=env, check=True).stdout.decode(encoding)
    assert ("seed-3 \\xe9" if encoding == "ascii" else "seed-3 é") in shown
    printed = subprocess.run([*words, "--json"], capture_output=True, env=env, check=True).stdout.decode(encoding)
    assert json.loads(printed)["name"] == "seed-3 é"


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_none_are_asked_for(pool, variables):
    result = CliRunner().invoke(app, ["pool", "ls", str(pool)], env=variables)
    assert "\x1b" not in result.output


@pytest.mark.parametrize("width", [40, 50, 60, 120])
def test_members_have_their_names_on_a_terminal_of_any_width(pool, width):
    text = CliRunner().invoke(app, ["pool", "ls", str(pool)], env={"COLUMNS": str(width)}).output
    assert max(map(len, text.splitlines())) <= width
    assert all(f"seed-{k} é" in text for k in range(300))
    assert ("This terminal has no room for" in text) == (width < 50)


def test_columns_that_do_not_fit_are_named():
    console = Console(file=io.StringIO(), width=30)
    columns = {"name": ["a-name-that-is-folded"], "number": ["1,000,000"], "kind": ["network"]}
    print_grid(console, columns, ("name",), ("kind",), ("kind", "number"))
    text = console.file.getvalue()
    assert "1,000,000" in text
    assert "network" not in text
    assert "no room for kind." in " ".join(text.split())
