"""What a report of a bug has to say: the versions of this library, of those it stands on, and of the machine."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version

_OF_DEVELOPERS = re.compile(r"extra == .(bench|docs|test)\b")


def show_versions() -> None:
    """Print the versions that a report of a bug needs: of this library, what it depends on, Python and the system.

    Nothing is imported for it. Optional libraries are named where they are installed.

    Examples
    --------
    >>> import skfusion
    >>> skfusion.show_versions()
    skfusion        ...
    Python          3...
    """
    for name, value in _versions().items():
        sys.stdout.write(f"{name:<16}{value}\n")


def _versions() -> dict[str, str]:
    """Return versions and other facts by name."""
    lines = (requires("skfusion") or ()) if _version("skfusion") else ()
    needed = [line for line in lines if not _OF_DEVELOPERS.search(line)]
    names = sorted({match.group() for line in needed if (match := re.match(r"[\w.-]+", line))} - {"skfusion"})
    found = {name: _version(name) for name in names}
    return {
        "skfusion": str(getattr(sys.modules["skfusion"], "__version__", "unknown")),
        "Python": platform.python_version(),
        "system": f"{platform.platform()}, {os.cpu_count()} cores",
        **{name: value for name, value in found.items() if value},
    }


def _version(name: str) -> str:
    """Return the version of an installed distribution, or nothing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
