"""What a release takes from this repository agrees: the version, the notes of changes, and what is built of them."""

import re
import tomllib
from pathlib import Path

import pytest

import skfusion

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FRAGMENTS = sorted(path for path in (ROOT / "changes").glob("*") if path.name not in ("README.md", ".gitignore"))
SENTENCES = re.compile(r"(?<=[.:?!])\s+(?=[A-Z`*])")


def test_the_citation_has_the_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [skfusion.__version__]
    assert re.findall(r"^date-released: (.*)$", citation, re.MULTILINE)[0] >= "2026-11-30"


@pytest.mark.parametrize("path", FRAGMENTS or [None], ids=lambda path: path and path.name)
def test_a_fragment_is_short_and_of_a_known_type(path):
    if path is None:
        pytest.skip("a release has gathered all fragments")
    types = "|".join(kind["directory"] for kind in PYPROJECT["tool"]["towncrier"]["type"])
    assert re.fullmatch(rf"(\d+|\+[\w-]+)\.({types})(\.\d+)?\.md", path.name), "see changes/README.md"
    text = " ".join(path.read_text(encoding="utf-8").split())
    assert 20 <= len(text) <= 400, "say it in one sentence, or two: details stand in the documentation"
    assert max(map(len, SENTENCES.split(text))) <= 240
    assert text.endswith(".")
