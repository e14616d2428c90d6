"""How far a command is: a bar that moves on a terminal, and plain lines elsewhere."""

import io
import itertools
import re

import pytest
import safetensors.torch
import torch
from rich.console import Console
from rich.progress import Progress
from typer.testing import CliRunner

from skfusion.cli import _console, app
from skfusion.cli._console import EVERY, FIRST, progress, warn, working
from skfusion.cli._merge import BAR


@pytest.fixture
def clock(monkeypatch):
    """Seconds pass as a test says."""
    now = [0.0]
    monkeypatch.setattr(_console.time, "monotonic", lambda: now[0])
    return now


def test_lines_now_and_then(clock, capsys):
    with progress(BAR, lambda n: f"{n} bytes") as tell:
        for k in range(36):
            tell("Merging", k, 40)
            clock[0] += 1
    lines = capsys.readouterr().err.splitlines()
    seconds = [FIRST, *(FIRST + EVERY * k for k in (1, 2, 3))]
    assert lines == [f"Merging: {k:.0f} bytes of 40 bytes ({k / 40:.0%})" for k in seconds]


def test_a_line_for_each_step_where_it_is_asked_for(clock, capsys):
    with progress(BAR, each=True) as tell:
        for k in range(3):
            tell("Comparing", k, 2)
    assert capsys.readouterr().err.splitlines() == [f"Comparing: {k} of 2 ({k / 2:.0%})" for k in range(3)]


def test_what_has_no_end_in_sight_says_what_it_is(capsys):
    with working("Fitting [swa]"):
        assert capsys.readouterr() == ("", "Fitting [swa] ...\n")


def test_warnings_stand_on_the_standard_error(capsys):
    warn("[red] is no markup")
    assert capsys.readouterr() == ("", "Warning: [red] is no markup\n")


def test_what_is_quick_says_nothing(clock, capsys):
    with progress(BAR) as tell:
        tell("Merging", 40, 40)
    assert capsys.readouterr() == ("", "")


def test_names_are_no_markup(clock, capsys):
    with progress(BAR) as tell:
        clock[0] = 2.0
        tell("fold 1, [red]soup[/]", 0, 0)
    assert capsys.readouterr().err == "fold 1, [red]soup[/]: 0 of 0\n"


def test_a_bar_reaches_its_end_once_and_begins_anew_for_what_is_less(monkeypatch):
    bars = []

    class Seen(Progress):
        def update(self, job, **fields):
            super().update(job, **fields)
            bars.append((self.tasks[0].completed, self.tasks[0].finished))

    monkeypatch.setattr(_console, "Progress", Seen)
    terminal = Console(file=io.StringIO(), force_terminal=True, force_interactive=True)
    monkeypatch.setattr(_console, "Console", lambda **_: terminal)
    with progress(BAR) as tell:
        for what, done in [("Surveying", 1), ("Merging", 2), ("Merging", 3), ("Hashing", 1), ("Hashing", 3)]:
            tell(what, done, 3)
    assert bars == [(1, False), (2, False), (3, True), (1, False), (3, True)]


@pytest.mark.parametrize("command", ["merge", "compare"])
def test_commands_say_how_far_they_are(tmp_path, command, monkeypatch):
    seconds = itertools.count()  # each look at the clock takes a second
    monkeypatch.setattr(_console.time, "monotonic", lambda: next(seconds))
    if command == "merge":
        for k in range(3):
            safetensors.torch.save_file({f"{i}.w": torch.ones(5) for i in range(9)}, tmp_path / f"{k}.safetensors")
        files = [str(tmp_path / f"{k}.safetensors") for k in range(3)]
        words = ["merge", *files[:2], "--base", files[2], "--method", "ties", "-o", str(tmp_path / "out.safetensors")]
        line = r"(Surveying|Merging): [\d.]+ (B|KiB) of [\d.]+ (B|KiB) \(\d+%\)"
    else:
        words = ["compare", "--data", "iris", "--cv", "2", "--epochs", "1", "--members", "1"]
        words += ["--fusion", "single", "--fusion", "ensemble", "--no-baselines"]
        line = r"(Comparing|fold \d, (single|ensemble)): \d of 4 \(\d+%\)"
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert lines
    assert all(re.fullmatch(line, text) for text in lines), lines
