"""What the guide says of methods that do not help stands in the results, number by number."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guide" / "what_does_not_help.md"
CELLS = re.compile(r"(?<!\\)\|")
NUMBER = re.compile(r"[+−]?\d+(?:[.,]\d+)*(?: ± \d+\.\d+)?(?: \(\S*\d to \S*\d\))?")


def text_of(path):
    """Return the text of a file with plain spaces and true minus signs, as the page has them."""
    return re.sub(r"-(?=\d)", "−", path.read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " "))


def rows():
    """Return the rows of all tables as lists of cells, but for their heads."""
    lines = [line for line in text_of(PAGE).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in CELLS.split(line)[1:-1]] for line in lines if not line.startswith("| what ")]


def source_of(cells):
    """Return the text that the numbers of a row are from."""
    link = re.search(r"\]\(\.\./(results/\S+\.md)\)", " ".join(cells))
    return text_of(ROOT / "docs" / link[1] if link else ROOT / "benchmarks" / "RESULTS.md")


def test_there_are_rows():
    assert len(rows()) > 20


@pytest.mark.parametrize("cells", rows(), ids=lambda cells: cells[0][:60])
def test_the_number_of_a_row_is_in_the_results(cells):
    source = source_of(cells)
    found = NUMBER.findall(cells[1])
    assert found
    for number in found:
        assert number in source, number


@pytest.mark.parametrize("cells", rows(), ids=lambda cells: cells[0][:60])
def test_the_script_of_a_row_is_there(cells):
    assert (ROOT / "benchmarks" / cells[-1].strip("`")).exists()


def test_the_numbers_of_what_helps_are_in_the_results():
    """Those with an interval stand on one of the pages that the paragraph links."""
    paragraphs = [p for p in text_of(PAGE).split("\n\n") if p.startswith("**When it does help**")]
    assert len(paragraphs) > 4
    for paragraph in paragraphs:
        links = re.findall(r"\]\(\.\./(results/\S+?\.md)\)", paragraph)
        text = "".join(text_of(ROOT / "docs" / link) for link in links)
        for number in re.findall(r"[+−]\d+\.\d+ ± \d+\.\d+", paragraph):
            assert number in text, number
