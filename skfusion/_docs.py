"""Paragraphs that several docstrings share, filled in where a line holds only their name in braces."""

from __future__ import annotations

import re
from collections.abc import Callable
from textwrap import dedent, indent
from typing import TypeVar

T = TypeVar("T", bound=type)


def fill(**paragraphs: str) -> Callable[[T], T]:
    """Return a decorator that puts paragraphs into the docstring of a class.

    A line of the docstring that is ``{name}``, and nothing else, becomes the paragraph of that name, indented as the
    line is. Other braces, such as those of formulas, stay.
    """

    def decorate(cls: T) -> T:
        if cls.__doc__ is None:  # as under ``python -OO``
            return cls
        missing = {*paragraphs}

        def paragraph(match: re.Match[str]) -> str:
            space, name = match.groups()
            if name not in paragraphs:
                raise KeyError(f"The docstring of {cls.__name__} asks for the paragraph {name!r}, which is not given.")
            missing.discard(name)
            return indent(dedent(paragraphs[name]).strip("\n"), space)

        cls.__doc__ = re.sub(r"^( *)\{(\w+)\}$", paragraph, cls.__doc__, flags=re.MULTILINE)
        if missing:
            raise KeyError(f"The docstring of {cls.__name__} has no line for the paragraphs {sorted(missing)}.")
        return cls

    return decorate
