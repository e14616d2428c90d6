"""The pages of classes have the words by which a search finds them, and the examples that use them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from sphinx.ext.autosummary.generate import AutosummaryRenderer
from sphinx.util.nodes import process_index_entry

DOCS = Path(__file__).parents[2] / "docs"


def rendered(kind, aliases):
    """Return the source of the page of ``skfusion.collect.Tail``, with some words that lead to it."""
    app = SimpleNamespace(srcdir=DOCS, config=SimpleNamespace(templates_path=["_templates"]), translator=None)
    names = {"name": "Tail", "objname": "Tail", "module": "skfusion.collect", "fullname": "skfusion.collect.Tail"}
    return AutosummaryRenderer(app).render(f"autosummary/{kind}.rst", {**names, "aliases": aliases})


@pytest.mark.parametrize("kind", ["class", "function"])
def test_each_alias_is_a_main_entry_of_the_index(kind):
    text = rendered(kind, {"skfusion.collect.Tail": ["SWA", "stochastic weight averaging"], "other": ["TIES"]})
    index = text[text.index(".. index::") :].partition("\n\n")[0].splitlines()
    assert index == [".. index::", "   ! single: SWA", "   ! single: stochastic weight averaging"]
    assert text.index(".. index::") > text.index("====\n"), "it stands in the section, or it has no target"


@pytest.mark.parametrize("kind", ["class", "function"])
def test_without_aliases_there_is_no_entry(kind):
    assert ".. index::" not in rendered(kind, {})


@pytest.mark.parametrize("kind", ["class", "function"])
def test_a_page_begins_with_its_title_and_ends_with_examples(kind):
    text = rendered(kind, {})
    assert text.strip().startswith("Tail\n====\n")
    assert f".. auto{kind}:: Tail\n" in text
    assert ".. minigallery:: skfusion.collect.Tail\n   :add-heading:" in text


def test_sphinx_reads_the_entries_as_main_ones():
    lines = rendered("class", {"skfusion.collect.Tail": ["trim, elect sign and merge"]}).splitlines()
    entry = next(line for line in lines if "single:" in line).strip()
    assert process_index_entry(entry, "id") == [("single", "trim, elect sign and merge", "id", "main", None)]
