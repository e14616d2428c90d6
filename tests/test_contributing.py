"""CONTRIBUTING says where things are: its files exist, what they should hold is there, its layers are the contract."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^)#]+)\)")
PATH = re.compile(r"`((?:skfusion|tests|docs|changes|benchmarks)/[\w/.]*)`")


def section(title):
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(text):
    """Cells of the rows of the tables in a text, without their heads."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line] for line in lines]


def test_every_path_exists():
    paths = [*LINK.findall(TEXT), *PATH.findall(TEXT)]
    assert len(paths) > 40
    assert not [path for path in paths if not (ROOT / path).exists()]


@pytest.mark.parametrize("row", rows(section("Where do I look for ...?"))[1:], ids=lambda row: row[0])
def test_a_question_is_answered_in_few_files_that_have_what_it_says(row):
    _, files, names = row
    paths = LINK.findall(files)
    assert 1 <= len(paths) <= 3
    text = "\n".join((ROOT / path).read_text(encoding="utf-8") for path in paths)
    assert not [name for name in re.findall(r"`(\w+)`", names) if not re.search(rf"\b{name}\b", text)]


def test_a_method_is_copied_from_a_file_of_its_base_class():
    for _, files, bases, *_ in rows(section("Adding a method"))[1:]:
        text = "\n".join((ROOT / path).read_text(encoding="utf-8") for path in LINK.findall(files))
        assert any(re.search(rf"\b{name}\b", text) for name in re.findall(r"`(\w+)`", bases)), files


def test_the_layers_are_those_of_the_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["id"] == "layers")
    expected = [re.findall(r"\w+", layer) for layer in layers]
    block = re.findall(r"^    (\w.*)$", section("Where things are"), re.MULTILINE)
    assert [re.findall(r"\w+", re.split(r"\s{2,}", line)[0]) for line in block] == expected


def test_a_room_says_what_is_in_it():
    short = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "skfusion").rglob("__init__.py"))
        if len(path.read_text(encoding="utf-8").split('"""')[1].splitlines()) < 3
    ]
    assert not short, "say what is in the room, what it may import, and how to add to it"
