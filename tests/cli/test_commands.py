"""The options of commands: they are read, and help is shown, without what the commands need to run."""

import gc
import importlib
import inspect
import subprocess
import sys

import pytest
import typer
from typer.main import get_command

from skfusion import cli
from skfusion.cli import COMMANDS, _compare, _diagnose, _fusions, _merge, _pool, _sources, commands
from skfusion.cli.commands import _compare as compare_options
from skfusion.cli.commands import _diagnose as diagnose_options
from skfusion.cli.commands import _imported
from skfusion.cli.commands import _merge as merge_options
from skfusion.cli.commands import _pool as pool_options

HEAVY = {"joblib", "numpy", "optuna", "pandas", "safetensors", "scipy", "sklearn", "skorch", "torch"}
OF_POOL = [command.name for command in pool_options.pool.registered_commands]


def in_a_process(*words):
    """Return what the command line prints, and the names of the modules that it has imported."""
    code = (
        "import sys, skfusion.cli\n"
        f"sys.argv = {['skfusion', *words]!r}\n"
        "try:\n    skfusion.cli.main()\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return ended.returncode, ended.stdout, {*ended.stderr.split()}


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        *([command, "--help"] for command in COMMANDS),
        *(["pool", command, "--help"] for command in OF_POOL),
    ],
    ids=" ".join,
)
def test_help_imports_nothing_that_takes_long(words):
    code, shown, modules = in_a_process(*words)
    assert code == 0
    assert shown
    assert "skfusion.cli" in modules
    assert not HEAVY & modules


def test_a_misspelt_option_is_refused_without_imports():
    code, _, modules = in_a_process("merge", "--metod", "ties")
    assert code == 2
    assert not HEAVY & modules


def first_line(command):
    """Return the first line of what a command says of itself."""
    found = getattr(importlib.import_module(f"{commands.__name__}._{command}"), command)
    return found.info.help if isinstance(found, typer.Typer) else inspect.getdoc(found).partition("\n")[0]


def test_help_lists_each_command_with_its_first_line():
    _, shown, _ = in_a_process("--help")
    listed = " ".join(shown.partition("Commands:")[2].split())
    assert listed == " ".join(f"{command} {first_line(command)}" for command in sorted(COMMANDS))


def test_names_in_the_help_are_those_that_are_there():
    assert (*_fusions.FUSIONS,) == compare_options.FUSIONS
    assert (*_fusions.EXTRA,) == compare_options.EXTRA
    assert (*_sources.BUILT_IN,) == diagnose_options.BUILT_IN
    assert (*_merge.METHODS,) == merge_options.METHODS


@pytest.mark.parametrize(
    ("options", "command"), [(compare_options.compare, _compare), (diagnose_options.diagnose, _diagnose)]
)
def test_a_command_takes_all_of_its_options(options, command):
    assert [*inspect.signature(options).parameters] == [*inspect.signature(command.run).parameters]


@pytest.mark.parametrize("name", OF_POOL)
def test_a_command_of_pools_takes_all_of_its_options(name):
    takes = inspect.signature(getattr(_pool, name)).parameters
    assert [*inspect.signature(getattr(pool_options, name)).parameters] == [*takes]


def test_a_name_of_no_command():
    assert get_command(cli.app).get_command(None, "chowder") is None


@pytest.mark.parametrize("on", [True, False])
def test_the_garbage_collector_is_as_it_was_after_the_command_line(monkeypatch, capsys, on):
    during = []
    monkeypatch.setattr(cli, "app", lambda: during.append(gc.isenabled()))
    before = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        cli.main()
        assert gc.isenabled() == on
    finally:
        (gc.enable if before else gc.disable)()
    assert during == [False]


@pytest.mark.parametrize("frozen", [0, 5])
@pytest.mark.parametrize("on", [True, False])
def test_the_garbage_collector_works_while_a_command_does_where_it_did_before(monkeypatch, on, frozen):
    count, at_exit, during = [frozen], [], []
    monkeypatch.setattr(gc, "get_freeze_count", lambda: count[-1])
    monkeypatch.setattr(gc, "freeze", lambda: count.append(7))
    monkeypatch.setattr(gc, "unfreeze", lambda: count.append(0))
    monkeypatch.setattr(_imported.atexit, "register", at_exit.append)
    monkeypatch.setattr(cli, "app", lambda: during.append((_imported.imported("_merge"), gc.isenabled())))
    before = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        cli.main()
        assert gc.isenabled() == on
        _imported.imported("_merge")  # as where something else runs the commands
        assert gc.isenabled() == on
    finally:
        (gc.enable if before else gc.disable)()
    assert during == [(_merge, on)]
    assert count == ([0, 7, 0] if on and not frozen else [frozen])
    assert at_exit == [gc.freeze] * (len(count) > 1)
