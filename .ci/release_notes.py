"""Print what the changelog says of a version, for the page of its release.

python .ci/release_notes.py v0.2.0
"""

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"


def notes(text: str, tag: str) -> str:
    """Return the section of a version, without its heading; a version that has none is an error."""
    sections = re.split(r"^## (\S+) (\S+) \(.*\)$", text, flags=re.MULTILINE)
    found = {version: section.strip() for version, section in zip(sections[2::3], sections[3::3], strict=True)}
    if not found.get(tag.removeprefix("v")):
        raise SystemExit(f"CHANGELOG.md says nothing of {tag}: run `towncrier build` before the tag is set.")
    return found[tag.removeprefix("v")]


if __name__ == "__main__":
    print(notes(CHANGELOG.read_text(encoding="utf-8"), sys.argv[1]))
