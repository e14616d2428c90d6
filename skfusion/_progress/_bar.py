"""How far a long piece of work is: a bar that moves in a terminal or a notebook, and a line now and then elsewhere."""

from __future__ import annotations

import html
import importlib
import multiprocessing
import time
from collections.abc import Callable
from typing import Any, Protocol, Self

from skfusion._progress._pace import Pace, clock

FIRST, EVERY, SHARE = 1.0, 10.0, 0.1
"""Seconds until the first line, and at least between lines; and the share of the time so far that is between them."""
REDRAWN = 0.2
"""Seconds at least between drawings in a notebook."""


class Outlet(Protocol):
    """Where progress is shown."""

    def draw(self, bar: Bar, now: float) -> None:
        """Show how far it is."""

    def close(self, last: str) -> None:
        """Take away what moves, and leave a last line where there is one."""


class Bar:
    """Show how far a piece of work is, and what is being done.

    It is a bar where the output is a terminal, one line that changes in its place where it is a notebook, and a plain
    line now and then where it is a file or a pipe. Work inside of other work shows nothing of its own.

    Parameters
    ----------
    title : str, default=""
        What the work is called, at the beginning of each line and in the last one, which is left out without it.
    console : rich.console.Console, optional
        Where to show it; the standard output when omitted.
    amount : callable, optional
        Formats how much is done, and how much there is; whole numbers when omitted.
    unit : str, default=""
        What is counted, such as members.
    each : bool, default=False
        Whether each report is a line where there is no bar.
    """

    _shown: Bar | None = None

    def __init__(
        self,
        title: str = "",
        *,
        console: Any = None,
        amount: Callable[[Any], str] = lambda n: str(int(n)),
        unit: str = "",
        each: bool = False,
    ) -> None:
        self.title, self.console, self.amount, self.unit, self.each = title, console, amount, unit, each
        self.what, self.done, self.total = "", 0.0, 0.0
        self._pace, self._more = Pace(), False
        self._known: Callable[[float], float | None] | None = None
        self._outlet: Outlet | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: Any, *error: Any) -> None:
        self.stop(kind is None)

    def start(self) -> None:
        """Begin to show it, unless other work is shown that this is a part of."""
        self.begun = time.monotonic()
        if Bar._shown is None:
            self._outlet = outlet_of(self.console)
            Bar._shown = self if self._outlet is not None else None

    def stop(self, is_done: bool = True) -> None:
        """Stop to show it; the last line says how long it took, where it is done."""
        if self._outlet is None:
            return
        outlet, self._outlet, Bar._shown = self._outlet, None, None
        ending = "done in" if is_done else "stopped after"
        outlet.close(f"{self.title}: {ending} {clock(time.monotonic() - self.begun)}" if self.title else "")

    def update(
        self,
        what: str,
        done: float,
        total: float,
        *,
        phase: str = "",
        left: Callable[[float], float | None] | None = None,
        more: bool = False,
    ) -> None:
        """Say what is being done, how much is done, and how much there is, 0 where that is not known.

        The time left is that of the latest pace of the phase, or what ``left`` says of a time; it is more, where
        slower phases follow.
        """
        now = time.monotonic()
        self.what, self.done, self.total, self._known, self._more = what, done, total, left, more
        self._pace.report(now, done, total, phase)
        if self._outlet is not None:
            self._outlet.draw(self, now)

    def left(self, now: float) -> str:
        """Return the time left in words; nothing where it is not known."""
        seconds = (self._known or self._pace.left)(now)
        return "" if seconds is None else f"{'more than ' if self._more else ''}{clock(seconds)} left"

    @property
    def label(self) -> str:
        """What is being done."""
        return ": ".join(filter(None, (self.title, self.what)))

    @property
    def of(self) -> str:
        """How much is done, of how much."""
        return f"{self.amount(self.done)} of {self.amount(self.total)} {self.unit}".rstrip()


def outlet_of(console: Any) -> Outlet | None:
    """Return what suits a console of rich, which knows whether it is a terminal or a notebook; None if it is closed."""
    if console is None:
        from rich.console import Console

        console = Console()
    if console.is_jupyter:
        return Notebook()
    if getattr(console.file, "closed", False):
        return None
    is_file = not console.file.isatty()  # which rich takes for a terminal where colours are forced
    if is_file or not console.is_interactive or multiprocessing.parent_process() is not None:
        return Lines(console)
    return Terminal(console)


class Lines:
    """Plain lines, without control characters."""

    def __init__(self, console: Any) -> None:
        self.console, self.begun = console, time.monotonic()
        self.due = self.begun + FIRST

    def draw(self, bar: Bar, now: float) -> None:
        """Print a line where one is due."""
        if bar.each or now >= self.due:
            self.due = now + max(EVERY, SHARE * (now - self.begun))
            share = f" ({bar.done / bar.total:.0%})" if bar.total else ""
            left = bar.left(now)
            self.print(f"{bar.label}: {bar.of}{share}{f', {left}' if left else ''}")

    def close(self, last: str) -> None:
        """Print the last line."""
        if last:
            self.print(last)

    def print(self, text: str) -> None:
        """Print a text as it is."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class Terminal:
    """A bar of rich, on a line that is rewritten."""

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
        from rich.text import Text

        class Left(ProgressColumn):  # type: ignore[misc]
            def render(self, task: Any) -> Any:
                bar = task.fields["bar"]
                return Text("" if bar is None else bar.left(time.monotonic()))

        columns = TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[of]}"), Left()
        self.console, self.progress = console, Progress(*columns, console=console, transient=True)
        self.job = self.progress.add_task("", total=None, bar=None, of="")
        self.progress.start()

    def draw(self, bar: Bar, now: float) -> None:
        """Move the bar."""
        given = {"description": bar.label, "total": bar.total or None, "of": bar.of, "bar": bar}
        self.progress.update(self.job, completed=bar.done, **given)

    def close(self, last: str) -> None:
        """Take the bar away."""
        self.progress.stop()
        if last:
            self.console.print(last, markup=False, highlight=False, soft_wrap=True)


class Notebook:
    """One output of a cell, which changes in its place."""

    def __init__(self) -> None:
        self.handle: Any = None
        self.drawn = 0.0

    def draw(self, bar: Bar, now: float) -> None:
        """Show the bar, or change it where that was not a moment ago."""
        if self.handle is None or now >= self.drawn + REDRAWN:
            self.drawn = now
            left = bar.left(now)
            words = " · ".join(filter(None, (bar.label, bar.of, left)))
            share = f'value="{min(1.0, bar.done / bar.total):.4f}"' if bar.total else ""
            self.show(words, f'<progress {share} style="width:12rem;vertical-align:middle"></progress> ')

    def close(self, last: str) -> None:
        """Leave the last line in the place of the bar."""
        if last or self.handle is not None:
            self.show(last, "")

    def show(self, words: str, before: str) -> None:
        """Show words, with a bar before them."""
        display = importlib.import_module("IPython.display").display  # a notebook has it, and we do not need it
        page = f'<div style="font:13px/1.6 system-ui,sans-serif">{before}{html.escape(words)}</div>'
        bundle = {"text/plain": words, "text/html": page}
        if self.handle is None:
            self.handle = display(bundle, raw=True, display_id=True)
        else:
            self.handle.update(bundle, raw=True)
