"""How far a command is: a bar that moves on a terminal, and plain lines elsewhere."""

import itertools
import re

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from skfusion._progress import _bar
from skfusion._progress._bar import EVERY, FIRST
from skfusion.cli import app
from skfusion.cli._console import progress, warn, working


@pytest.fixture
def clock(monkeypatch):
    """Seconds pass as a test says."""
    now = [0.0]
    monkeypatch.setattr(_bar.time, "monotonic", lambda: now[0])
    return now


def test_lines_now_and_then(clock, capsys):
    with progress(lambda n: f"{n} bytes") as tell:
        for k in range(36):
            tell("Merging", k, 40)
            clock[0] += 1
    lines = capsys.readouterr().err.splitlines()
    seconds = [FIRST, *(FIRST + EVERY * k for k in (1, 2, 3))]
    assert lines == [f"Merging: {k:.0f} bytes of 40 bytes ({k / 40:.0%}), 0:00:{40 - k:02.0f} left" for k in seconds]


def test_a_line_for_each_step_where_it_is_asked_for(clock, capsys):
    with progress(each=True) as tell:
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
    with progress() as tell:
        tell("Merging", 40, 40)
    assert capsys.readouterr() == ("", "")


def test_names_are_no_markup(clock, capsys):
    with progress() as tell:
        clock[0] = 2.0
        tell("fold 1, [red]soup[/]", 0, 0)
    assert capsys.readouterr().err == "fold 1, [red]soup[/]: 0 of 0\n"


def test_what_begins_anew_has_a_pace_of_its_own(clock, capsys):
    with progress() as tell:
        for what, done, seconds in [("Merging", 0, 0), ("Merging", 4, 1), ("Hashing", 1, 11), ("Hashing", 2, 21)]:
            clock[0] = float(seconds)
            tell(what, done, 4)
    assert capsys.readouterr().err.splitlines() == [
        "Merging: 4 of 4 (100%)",
        "Hashing: 1 of 4 (25%)",
        "Hashing: 2 of 4 (50%), 0:00:20 left",
    ]


def test_a_pass_that_only_reads_is_followed_by_a_slower_one(clock, capsys):
    with progress() as tell:
        for what, done, seconds in [
            ("Surveying", 0, 0),
            ("Surveying", 40, 4),
            ("Merging", 50, 14),
            ("Merging", 60, 24),
        ]:
            clock[0] = float(seconds)
            tell(what, done, 100)
    assert capsys.readouterr().err.splitlines() == [
        "Surveying: 40 of 100 (40%), more than 0:00:06 left",
        "Merging: 50 of 100 (50%)",
        "Merging: 60 of 100 (60%), 0:00:40 left",
    ]


@pytest.mark.parametrize("command", ["merge", "compare"])
def test_commands_say_how_far_they_are(tmp_path, command, monkeypatch):
    seconds = itertools.count()  # each look at the clock takes a second
    monkeypatch.setattr(_bar.time, "monotonic", lambda: next(seconds))
    if command == "merge":
        for k in range(3):
            safetensors.torch.save_file({f"{i}.w": torch.ones(5) for i in range(9)}, tmp_path / f"{k}.safetensors")
        files = [str(tmp_path / f"{k}.safetensors") for k in range(3)]
        words = ["merge", *files[:2], "--base", files[2], "--method", "ties", "-o", str(tmp_path / "out.safetensors")]
        line = r"(Surveying|Merging): [\d.]+ (B|KiB) of [\d.]+ (B|KiB) \(\d+%\)(, (more than )?\d:\d\d:\d\d left)?"
    else:
        words = ["compare", "--data", "iris", "--cv", "2", "--epochs", "1", "--members", "1"]
        words += ["--fusion", "single", "--fusion", "ensemble", "--no-baselines"]
        line = r"(Comparing|fold \d of 2, (single|ensemble)): \d of 4 \(\d+%\)(, \d:\d\d:\d\d left)?"
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert lines
    assert all(re.fullmatch(line, text) for text in lines), lines
