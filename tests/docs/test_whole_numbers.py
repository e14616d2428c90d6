"""Numbers and their intervals are not broken between lines of a cell."""

from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.utils import new_document
from whole_numbers import WholeNumbers


def test_only_intervals_in_tables_are_changed():
    document = new_document("page", get_default_settings())
    cell = nodes.entry("", nodes.paragraph("", "gain ", nodes.strong("", "+0.5 ± 0.1")))
    code = nodes.entry("", nodes.paragraph("", "", nodes.literal("", "a ± b")))
    document += [nodes.paragraph("", "it gains 0.5 ± 0.1 points"), cell, code]
    WholeNumbers(document).apply()
    assert [node.astext() for node in document.children] == [
        "it gains 0.5 ± 0.1 points",
        "gain +0.5\u00a0±\u00a00.1",
        "a ± b",
    ]
