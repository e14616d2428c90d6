"""The page of changes: what the next release will say, then the changelog, in which older versions are folded."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

START = "<!-- towncrier release notes start -->\n"


def unreleased(root: Path, version: str) -> str:
    """Return what the next release will say, from the fragments under ``changes/``; nothing where there are none."""
    if not any((root / "changes").glob("*.*.md")):
        return ""
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", version, "--date", "unreleased"]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


def folded(changelog: str) -> str:
    """Return a changelog whose versions, but the newest, are each in a box that a click opens."""
    newest, *older = re.split(r"^(?=## )", changelog.strip(), flags=re.MULTILINE)[1:] or [""]
    return "\n".join([newest.strip(), *map(box, older)]) + "\n"


def box(text: str) -> str:
    """Return the changes of one version in a box; headings may not stand in one, so they are bold."""
    heading, _, body = text.strip().partition("\n")
    body = re.sub(r"^### (.*)$", r"**\1**", body.strip(), flags=re.MULTILINE)
    return f"\n{heading}\n\n:::{{dropdown}} What changed\n{body}\n:::"


def write_changes(app: Any, config: Any) -> None:
    """Write the changes, which ``docs/changes.md`` includes."""
    root = Path(app.srcdir).parent
    released = (root / "CHANGELOG.md").read_text(encoding="utf-8").partition(START)[2]
    generated = Path(app.srcdir) / "_generated"
    generated.mkdir(exist_ok=True)
    text = folded(unreleased(root, config.release) + "\n" + released)
    (generated / "changes.md").write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Write the changes before Sphinx looks for sources."""
    app.connect("config-inited", write_changes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
