"""Progress is a bar that moves in a terminal, one output that changes in a notebook, and plain lines in a file."""

import html
import io
import multiprocessing
import re
import sys
import types

import pytest
from rich.console import Console

from skfusion._progress import _bar
from skfusion._progress._bar import EVERY, FIRST, REDRAWN, Bar, Lines, Notebook, Terminal, outlet_of


class Tty(io.StringIO):
    """A file that is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds pass as a test says."""
    now = [0.0]
    monkeypatch.setattr(_bar.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def outputs(monkeypatch):
    """What a cell of a notebook shows: a list of outputs, each with all that it has shown."""
    cell = []

    class Handle:
        def __init__(self, bundle):
            self.shown = [bundle]

        def update(self, bundle, raw):
            assert raw
            self.shown.append(bundle)

    def display(bundle, *, raw, display_id):
        assert raw
        assert display_id
        cell.append(Handle(bundle))
        return cell[-1]

    module = types.ModuleType("IPython.display")
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return cell


def notebook():
    return Console(force_jupyter=True, file=io.StringIO())


def file():
    return Console(file=io.StringIO())


def terminal():
    return Console(file=Tty(), width=100, force_interactive=True, force_terminal=True)


def run(bar, clock, seconds=100, epochs=1000):
    with bar:
        for k in range(epochs + 1):
            clock[0] = seconds * k / epochs
            bar.update(f"epoch {k}", k, epochs)


def test_what_it_is_shown_on_decides():
    assert isinstance(outlet_of(notebook()), Notebook)
    assert isinstance(outlet_of(file()), Lines)
    shown = outlet_of(terminal())
    assert isinstance(shown, Terminal)
    shown.close("")


def test_forced_colours_and_dumb_terminals_do_not_move(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(outlet_of(file()), Lines)
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(outlet_of(Console(file=Tty())), Lines)


def test_processes_of_a_pool_do_not_fight_for_the_terminal(monkeypatch):
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    assert isinstance(outlet_of(terminal()), Lines)


def test_a_log_has_a_line_now_and_then_and_no_control_characters(clock):
    console = file()
    run(Bar("Fit", console=console, unit="epochs"), clock)
    text = console.file.getvalue()
    assert not re.search(r"[^ -~\n]", text)
    lines = text.splitlines()
    assert lines[0] == "Fit: epoch 10: 10 of 1000 epochs (1%), 0:01:39 left"
    assert lines[1] == "Fit: epoch 110: 110 of 1000 epochs (11%), 0:01:29 left"
    assert lines[-1] == "Fit: done in 0:01:40"
    assert len(lines) == 2 + (100 - FIRST) // EVERY


def test_lines_of_long_work_are_further_apart(clock):
    console = file()
    run(Bar(console=console), clock, seconds=100_000)
    assert 20 < len(console.file.getvalue().splitlines()) < 100


def test_a_notebook_has_one_output_which_changes_in_its_place(clock, outputs):
    run(Bar("Fit <b>", console=notebook(), unit="epochs"), clock)
    (output,) = outputs
    assert 100 < len(output.shown) <= 100 / REDRAWN + 2
    middle = output.shown[len(output.shown) // 2]
    assert re.fullmatch(r"Fit <b>: epoch \d+ · \d+ of 1000 epochs · 0:00:\d\d left", middle["text/plain"])
    assert html.escape(middle["text/plain"]) in middle["text/html"]
    assert '<progress value="0.' in middle["text/html"]
    assert output.shown[-1]["text/plain"] == "Fit <b>: done in 0:01:40"
    assert "<progress" not in output.shown[-1]["text/html"]
    assert "<b>" not in output.shown[-1]["text/html"]


def test_a_terminal_has_a_bar_which_is_taken_away(clock):
    console = terminal()
    run(Bar("Fit", console=console, unit="epochs"), clock, epochs=10)
    text = console.file.getvalue()
    assert "Fit: done in 0:01:40\n" in text
    assert "━" in text
    assert text.count("\n") < 10


def test_names_are_no_markup_in_a_terminal(clock):
    console = terminal()
    with Bar(console=console) as bar:
        bar.update("[red]soup[/]", 1, 2)
        clock[0] = 5.0
        bar.update("[red]soup[/]", 1, 2)
        bar._outlet.progress.refresh()
    assert "[red]soup[/]" in console.file.getvalue()


def test_what_is_stopped_is_not_done(clock):
    console = file()

    def interrupted():
        with Bar("Fit", console=console):
            clock[0] = 3.0
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert console.file.getvalue() == "Fit: stopped after 0:00:03\n"


def test_work_inside_of_other_work_shows_nothing_of_its_own(clock):
    outer, inner = file(), file()
    with Bar("Search", console=outer):
        run(Bar("Fit", console=inner), clock)
    assert inner.file.getvalue() == ""
    assert outer.file.getvalue() == "Search: done in 0:01:40\n"
    run(Bar("Fit", console=inner), clock)  # and by itself it does
    assert "Fit: done in" in inner.file.getvalue()


def test_more_time_is_left_where_slower_work_follows(clock):
    console = file()
    with Bar(console=console) as bar:
        for k in range(4):
            clock[0] = 10.0 * k
            bar.update("Surveying", k, 4, more=True)
    assert console.file.getvalue().splitlines()[-1] == "Surveying: 3 of 4 (75%), more than 0:00:10 left"


def test_work_without_a_known_end(clock):
    console = file()
    with Bar(console=console) as bar:
        clock[0] = 2.0
        bar.update("Reading", 0, 0)
    assert console.file.getvalue() == "Reading: 0 of 0\n"


def test_a_closed_output_shows_nothing_and_does_not_hide_later_bars():
    closed = Tty()
    closed.close()
    with Bar("Fit", console=Console(file=closed)) as bar:
        bar.update("seed-0", 1, 2)
    console = file()
    with Bar("Fit", console=console):
        pass
    assert console.file.getvalue() == "Fit: done in 0:00:00\n"


def test_an_output_that_fails_at_first_does_not_hide_later_bars():
    class Broken(Tty):
        def isatty(self):
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        Bar("Fit", console=Console(file=Broken(), force_terminal=True, width=80)).start()
    assert Bar._shown is None
