"""How long a piece of work will still take, by how fast it has gone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import timedelta

WINDOW, FEWEST = 30.0, 8
"""Seconds that a pace is taken from, and the reports that it is taken from where these seconds have fewer."""
_APART = 0.2
"""Seconds between reports that are kept."""


class Pace:
    """Estimate the seconds that are left by the latest pace.

    Work may have phases, such as two passes over files of which the second is slower: the pace is that of the present
    phase, and the work left that of all. Nothing is estimated before a phase has shown its pace.
    """

    def __init__(self) -> None:
        self._reports: deque[tuple[float, float]] = deque()
        self._phase, self._total, self._last = "", 0.0, (0.0, 0.0)

    def report(self, now: float, done: float, total: float, phase: str = "") -> None:
        """Take note of how much is done at a time."""
        if not self._reports or phase != self._phase or done < self._last[1]:
            self._reports.clear()
            self._reports.append((now, done))
        elif now - self._reports[-1][0] >= _APART and done > self._reports[-1][1]:
            self._reports.append((now, done))
        while len(self._reports) > FEWEST and self._reports[1][0] < now - WINDOW:
            self._reports.popleft()
        if done != self._last[1] or len(self._reports) == 1:
            self._last = now, done
        self._phase, self._total = phase, total

    def left(self, now: float) -> float | None:
        """Return the seconds that are left at a time; None where that is not known."""
        if not self._reports:
            return None
        (first, begun), (last, done) = self._reports[0], self._last
        if last <= first or done <= begun or done >= self._total:
            return None
        seconds = (self._total - done) * (last - first) / (done - begun) - (now - last)
        if seconds > 0:
            return seconds
        return (self._total - done) * (now - first) / (done - begun)  # slower than it was


class PaceByName:
    """Estimate the seconds that are left of rounds in which the same things are done, by how long each one has taken.

    Things of a round may differ a lot, as where the first fusion of a fold trains the members that the others share.
    """

    def __init__(self, names: Iterable[str], n_rounds: int) -> None:
        self._left = dict.fromkeys(names, n_rounds)
        self._taken: dict[str, list[float]] = {name: [] for name in self._left}
        self._running: tuple[str, float] | None = None

    def begin(self, name: str, now: float) -> None:
        """Take note that something begins."""
        self._running = name, now

    def end(self, name: str, now: float) -> None:
        """Take note that it has ended."""
        begun = now if self._running is None else self._running[1]
        self._left[name] -= 1
        self._taken[name].append(now - begun)
        self._running = None

    def left(self, now: float) -> float | None:
        """Return the seconds that are left at a time; None where something that is to be done was never done before."""
        waiting = {name: n for name, n in self._left.items() if n > 0}
        if not waiting or any(not self._taken[name] for name in waiting):
            return None
        usual = {name: _mean(self._taken[name]) for name in waiting}
        total = sum(n * usual[name] for name, n in waiting.items())
        if self._running is None or self._running[0] not in waiting:
            return total
        name, begun = self._running
        return total - min(usual[name], now - begun)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def clock(seconds: float) -> str:
    """Return seconds as hours, minutes and seconds."""
    return str(timedelta(seconds=max(0, round(seconds))))
