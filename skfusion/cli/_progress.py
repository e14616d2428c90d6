"""How far a command is: a bar on a terminal, and a line now and then where its output goes elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn

FIRST, EVERY = 1.0, 10.0
"""Seconds until the first line, and between lines."""


@contextmanager
def progress(
    columns: Sequence[ProgressColumn], amount: Callable[[int], str] = str
) -> Iterator[Callable[[str, int, int], None]]:
    """Show on the standard error how far a command is.

    Yields a callable that takes what is being done, how much is done, and how much there is; ``amount`` formats these
    numbers. When less is done than before, a new bar starts.
    """
    console = Console(stderr=True)
    if not console.is_interactive:
        due = time.monotonic() + FIRST

        def print_line(what: str, done: int, total: int) -> None:
            nonlocal due
            now = time.monotonic()
            if now >= due:
                due = now + EVERY
                share = f" ({done / total:.0%})" if total else ""
                text = f"{what}: {amount(done)} of {amount(total)}{share}"
                console.print(text, markup=False, highlight=False, soft_wrap=True)

        yield print_line
        return
    with Progress(*columns, console=console, transient=True) as bar:
        job, before = bar.add_task("Opening", total=None), 0

        def update(what: str, done: int, total: int) -> None:
            nonlocal before
            if done < before:
                bar.reset(job, total=total)
            bar.update(job, description=what, completed=done, total=total)
            before = done

        yield update
