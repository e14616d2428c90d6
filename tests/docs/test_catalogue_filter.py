"""The filter of the catalogue, in a browser: on the tables of the page, without the theme around them."""

import shutil
from pathlib import Path

import catalogue
import catalogue_page
import docutils.core
import pytest
from docutils import nodes
from docutils.parsers.rst import roles

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
STATIC = Path(catalogue.__file__).parents[1] / "_static"
N = len(catalogue.methods())

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Return where a page of all tables and the filter is."""
    lines = ["Catalogue", "#########", ""]
    for chapter in catalogue.chapters():
        lines += [chapter.title, "=" * len(chapter.title), "", "About.", ""]
        for part in catalogue_page.parts(chapter.methods):
            lines += [part[0].part, "-" * len(part[0].part), "", catalogue_page.table(part), ""]
    settings = {"doctitle_xform": False, "warning_stream": None, "halt_level": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(roles._roles, "class", lambda name, raw, text, *rest, **options: ([nodes.literal(raw, text)], []))
        body = docutils.core.publish_parts("\n".join(lines), writer="html5", settings_overrides=settings)["html_body"]
    script = f"<script>{(STATIC / 'catalogue.js').read_text('utf-8')}</script>"
    style = f"<style>{(STATIC / 'catalogue.css').read_text('utf-8')}</style>"
    page = tmp_path_factory.mktemp("catalogue") / "index.html"
    start, mark, rest = body.partition("</h2>")
    page.write_text(
        f"<!doctype html><meta charset=utf-8>{style}<body>{start}{mark}{catalogue_page.filter_form()}{rest}{script}",
        encoding="utf-8",
    )
    return page.as_uri()


@pytest.fixture(scope="module")
def browser():
    """Start a browser."""
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser, address):
    """Open the page, and fail where it reports an error."""
    errors = []
    opened = browser.new_page()
    opened.set_default_timeout(120_000)  # on a busy machine
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(address)
    yield opened
    opened.close()
    assert not errors


def shown(page):
    return page.locator("table.catalogue tbody tr:visible td:first-child strong").all_inner_texts()


def count(page):
    return page.inner_text("#catalogue-count")


def test_all_methods_are_there_at_first(page):
    assert count(page) == f"{N} of {N} methods"
    assert len(shown(page)) == N


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("SWA", "SWA"),
        ("model soup", "Greedy soup"),
        ("git re-basin", "MergeMany"),
        ("ties", "TIES"),
        ("snapshot", "Snapshot ensemble"),
        ("Ainsworth 2023", "STE re-basin"),
        ("WeightMatching", "Git re-basin, weight matching"),
    ],
)
def test_words_find_methods_by_name_paper_and_class(page, words, name):
    page.fill("#catalogue-words", words)
    assert name in shown(page)
    assert len(shown(page)) < 10
    assert count(page) == f"{len(shown(page))} of {N} methods"


def test_boxes_leave_what_needs_no_more_than_the_reader_has(page):
    for need in ("base", "data", "labels", "gradients", "training"):
        page.uncheck(f"[name=have][value={need}]")
    page.check("[name=exact]")
    expected = [m.name for m in catalogue.methods() if not m.needs and m.result.startswith("exact")]
    assert shown(page) == expected
    page.uncheck("[name=family][value=alignment]")
    alignment = next(chapter for chapter in catalogue.chapters() if chapter.title == "Alignment")
    assert shown(page) == [name for name in expected if name not in [m.name for m in alignment.methods]]


def test_it_works_by_keyboard_and_says_when_nothing_is_left(page):
    page.focus("#catalogue-words")
    page.keyboard.type("no such method")
    assert not shown(page)
    assert count(page).startswith("No method is left")
    page.fill("#catalogue-words", "")
    page.focus("#catalogue-words")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # the first family
    assert len(shown(page)) == N - len(catalogue.chapters()[0].methods)
    page.focus("button[type=reset]")
    page.keyboard.press("Enter")
    page.wait_for_function(f"document.getElementById('catalogue-count').textContent.startsWith('{N} of')")


def test_a_filtered_view_can_be_linked(page, browser):
    page.fill("#catalogue-words", "soup")
    page.uncheck("[name=have][value=labels]")
    page.uncheck("[name=family][value=alignment]")
    second = browser.new_page()
    second.set_default_timeout(120_000)
    second.goto(page.url)
    assert shown(second) == shown(page) == ["Uniform soup"]
    assert second.input_value("#catalogue-words") == "soup"
    second.goto(page.url.partition("#")[0] + "#alignment")  # the anchor of a heading is none of its business
    second.reload()
    assert count(second) == f"{N} of {N} methods"
    second.close()
