"""The intervals of the README's table of results are those of the pages that it links, rounded."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAIR = re.compile(r"([+−-]?\d+\.\d+) ± (\d+\.\d+)")


def pairs(text):
    """Return each mean with half of its interval, as they are written."""
    return [tuple(x.replace("−", "-") for x in pair) for pair in PAIR.findall(text.replace("\N{NO-BREAK SPACE}", " "))]


def rows():
    """Return what came out and the page of each row that has an interval."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("## What it brings, measured")[2].partition("\n## ")[0]
    cells = [
        line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| ") and "](docs/results/" in line
    ]
    links = [re.search(r"\]\((docs/results/\w+\.md)\)", row[-1])[1] for row in cells]
    return [(row[1], link) for row, link in zip(cells, links, strict=True) if pairs(row[1])]


def rounds_to(known, said):
    """Say whether a number of a page, as it is or in points of a share, is the one that is said, rounded."""
    unit = 0.5001 * 10.0 ** -len(said.partition(".")[2])
    return {scale for scale in (1, 100) if abs(abs(scale * float(known)) - abs(float(said))) <= unit}


def test_there_are_rows():
    assert len(rows()) >= 5


@pytest.mark.parametrize(("cell", "link"), rows(), ids=lambda x: x.strip()[:40])
def test_an_interval_stands_on_its_page(cell, link):
    known = pairs((ROOT / link).read_text(encoding="utf-8"))
    for said in pairs(cell):
        assert any(rounds_to(mean, said[0]) & rounds_to(half, said[1]) for mean, half in known), said
