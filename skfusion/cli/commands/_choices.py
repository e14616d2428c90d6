"""What a shell completes for options whose values are names. Paths are completed by the shell itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import typer

from skfusion.cli.commands._imported import imported

BUILT_IN = ("breast_cancer", "diabetes", "digits", "noisy_digits", "iris", "wine")
"""The names in ``BUILT_IN`` of `_sources`."""


def among(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Return what completes one of some names."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def members_in(folder: str) -> Callable[..., list[str]]:
    """Return what completes the name of a member of the pool that an argument of the command names."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            return among(imported("_pool").names_in(ctx.params[folder]))(incomplete)
        except Exception:  # no pool there, or no folder yet: a shell has no place for an error
            return []

    return complete
