"""Help on narrow terminals: no name is cut, no line is too long, and what is said stands in a column of many words."""

import re

import pytest
from typer.main import get_command

from skfusion.cli import COMMANDS, app
from skfusion.cli._fusions import FUSIONS
from skfusion.cli._help import _write


@pytest.fixture
def shown(monkeypatch, capsys):
    """Return a function that gives the help of a command on a terminal of some width; typer's runner has its own."""

    def text(width, *command):
        monkeypatch.setenv("COLUMNS", str(width))
        with pytest.raises(SystemExit):
            app([*command, "--help"])
        return capsys.readouterr().out

    return text


def params(command):
    group = get_command(app)
    return group.get_command(None, command).params


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_name_of_an_option_is_cut(shown, command, width):
    lines = shown(width, command).splitlines()
    assert max(map(len, lines)) <= width
    for option in (name for param in params(command) for name in (*param.opts, *param.secondary_opts)):
        if option.startswith("--"):
            assert any(re.search(rf"(?<!\S){option}(?!\S)", line) for line in lines), option


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_said_of_an_option_has_half_of_the_width(shown, command, width):
    lines = shown(width, command).partition("\nOptions:\n")[2].splitlines()
    starts = {len(line) - len(line.lstrip()) for line in lines if line.startswith("    ")}
    assert len(starts) == 1  # one column, below which every text goes on
    assert width - starts.pop() >= width / 2


@pytest.mark.parametrize("width", [60, 80])
def test_names_of_fusions_are_whole(shown, width):
    words = re.split(r"[\s,;]+", shown(width, "compare"))
    assert not set(FUSIONS) - set(words)


@pytest.mark.parametrize("width", [60, 80])
def test_the_sentence_of_a_command_is_whole(shown, width):
    text = " ".join(shown(width).split())
    assert "Cross-validate fusions of networks on one data set and show a leaderboard." in text
    assert "..." not in text.partition("Commands:")[2]


def test_names_without_a_text_and_long_words_are_written_whole():
    class Formatter:
        current_indent, width, text = 2, 30, ""

        def write(self, part):
            self.text += part

    formatter = Formatter()
    _write(formatter, [("--a", ""), ("--a-long-name", "x" * 40)])
    assert formatter.text.split() == ["--a", "--a-long-name", "x" * 40]
