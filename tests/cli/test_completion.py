"""Shells ask the command line what may follow, by variables of the environment; it answers without long imports."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from skfusion.cli import COMMANDS, _compare, _console, _fusions, _merge, _scoring, _sources, _table
from skfusion.cli.commands import _compare as compare_options
from skfusion.cli.commands import _merge as merge_options
from skfusion.cli.commands._choices import among, members_in
from skfusion.merge.trajectory._decay_merge import DECAYS
from skfusion.pool import Member, ModelPool

CODE = (
    "import sys, skfusion.cli\n"
    "sys.argv = ['skfusion']\n"
    "try:\n    skfusion.cli.main()\nfinally:\n    print(*sys.modules, file=sys.stderr)"
)


def ask(shell, line, **more):
    """Return what a shell is answered to a line whose end is completed, and the modules that this imports."""
    words = line.split(" ")
    protocol = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    env = os.environ | protocol | {"_SKFUSION_COMPLETE": f"complete_{shell}"} | more
    ended = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=env)
    return ended.stdout, {*ended.stderr.split()}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("skfusion ", COMMANDS),
        ("skfusion mer", ["merge"]),
        ("skfusion pool ", ["ls", "show", "verify", "rm", "merge"]),
        ("skfusion merge --dr", ["--dry-run"]),
        ("skfusion pool ls --", ["--json", "--quiet"]),
        ("skfusion merge --method t", ["task-arithmetic", "ties"]),
        ("skfusion compare --data di", ["diabetes", "digits"]),
        ("skfusion compare --data digits --fusion s", ["single", "swa", "snapshot", "selection", "stack"]),
        ("skfusion compare --net ", compare_options.NETS),
    ],
)
def test_names_are_completed_without_long_imports(shell, line, answers):
    told, modules = ask(shell, line)
    assert all(answer in told for answer in answers)
    assert "skfusion.cli" in modules
    assert not {"numpy", "pandas", "sklearn", "torch"} & modules


def test_nothing_is_answered_where_nothing_begins_so():
    assert ask("bash", "skfusion merge --method x")[0].strip() == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_script_for_the_command(shell):
    env = os.environ | {"_SKFUSION_COMPLETE": f"source_{shell}"}
    words = [sys.executable, "-m", "skfusion"]  # it is about the script all the same
    script = subprocess.run(words, capture_output=True, text=True, env=env, check=True).stdout
    assert "_SKFUSION_COMPLETE=complete_" in script
    assert "python" not in script


def test_the_script_can_be_shown_and_installed(tmp_path):
    env = os.environ | {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    words = [sys.executable, "-m", "skfusion"]
    shown = subprocess.run([*words, "--show-completion", "bash"], capture_output=True, text=True, env=env, check=True)
    assert "complete -o default -F _skfusion_completion skfusion" in shown.stdout
    subprocess.run([*words, "--install-completion", "bash"], capture_output=True, env=env, check=True)
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert any("_skfusion_completion" in text for text in written)


def test_members_of_a_pool_are_completed(tmp_path):
    ModelPool([Member(name, {}) for name in ("seed-0", "seed-1", "wide")]).save(tmp_path / "pool")
    assert ask("bash", f"skfusion pool show {tmp_path / 'pool'} seed")[0].split() == ["seed-0", "seed-1"]
    assert ask("bash", f"skfusion pool rm {tmp_path / 'pool'} seed-0 w")[0].split() == ["wide"]


def test_where_there_is_no_pool_no_member_is_completed(tmp_path):
    context = SimpleNamespace(params={"folder": tmp_path / "none"})
    assert members_in("folder")(context, "seed") == []


def test_completed_names_are_those_that_there_are():
    assert (*_sources.BUILT_IN,) == compare_options.BUILT_IN
    assert (*_fusions.NETS,) == compare_options.NETS
    assert _compare.BASELINES == compare_options.BASELINES
    assert (*_merge.METHODS,) == merge_options.METHODS
    assert (*DECAYS,) == merge_options.DECAYS
    assert ", ".join(compare_options.SCORERS) == ", ".join(_scoring.USUAL.values())
    assert _table.TASKS == _console.TASKS
    assert among(("a", "ab", "b"))("a") == ["a", "ab"]
