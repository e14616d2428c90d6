"""What a misspelt name was meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that follows an error about a name, with a space before it; empty where none is like it."""
    by_letters = {k.lower(): k for k in known}
    near = get_close_matches(name.lower(), by_letters, 1)
    return f" Did you mean {by_letters[near[0]]}?" if near else ""
