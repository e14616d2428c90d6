"""The text of the catalogue's page: a filter, and for each chapter its idea and tables of methods."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable
from itertools import groupby
from urllib.parse import urlencode

from catalogue import NEEDS, Chapter, Method, both, chapters, methods, namespace

import skfusion

HEADER = ("Method", "Needs", "Cost", "Result", "Class and sentence", "Differs from the authors' code")
FILTER = """\
<form id="catalogue-filter" class="catalogue-filter" hidden>
<div><label for="catalogue-words">Search</label>
<input id="catalogue-words" name="q" type="search" autocomplete="off"
placeholder="SWA, soup, Ainsworth 2023, ..."></div>
<div role="group" aria-labelledby="catalogue-family"><b id="catalogue-family">Family</b> <span>
{families}
</span></div>
<div role="group" aria-labelledby="catalogue-have"><b id="catalogue-have">I have</b> <span>
{needs}
</span></div>
<div role="group" aria-labelledby="catalogue-result"><b id="catalogue-result">Result</b> <span>
<label><input type="checkbox" name="exact" value="1"> exact only</label>
</span></div>
<div><button type="reset">Show all</button> <output id="catalogue-count" role="status"></output></div>
</form>
"""
HAVE = {
    "base": "the common start (base)",
    "data": "data",
    "labels": "labels",
    "gradients": "gradients",
    "training": "a training still to run",
}


def text() -> str:
    """Return the page below its introduction, in MyST markdown."""
    return "\n\n".join(["```{raw} html", filter_form() + "```", *map(chapter_text, chapters())]) + "\n"


def filter_form() -> str:
    """Return the form, which a script shows."""
    families = [checkbox("family", slug(chapter.title), chapter.title) for chapter in chapters()]
    needs = [checkbox("have", need, HAVE[need]) for need in NEEDS]
    return FILTER.format(families="\n".join(families), needs="\n".join(needs))


def checkbox(name: str, value: str, label: str) -> str:
    """Return a checkbox that is checked."""
    return f'<label><input type="checkbox" name="{name}" value="{value}" checked> {label}</label>'


def slug(title: str) -> str:
    """Return the anchor that a heading gets."""
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def chapter_text(chapter: Chapter) -> str:
    """Return a chapter: its picture, what it is about, and a table for each of its parts."""
    pictures = [picture(chapter, shade) for shade in ("light", "dark")]
    return "\n\n".join(
        [f"## {chapter.title}", *pictures, chapter.text.strip(), *map(part_text, parts(chapter.methods))]
    )


def picture(chapter: Chapter, shade: str) -> str:
    """Return the picture of a chapter, for a page of dark or light ground."""
    source = f"/_generated/catalogue/{chapter.file}-{shade}.svg"
    return f"```{{image}} {source}\n:alt: {chapter.picture}\n:class: only-{shade} catalogue-idea\n```"


def parts(rows: Iterable[Method]) -> list[list[Method]]:
    """Return methods by part; a part begins where a method names it."""
    headings: list[str] = []
    for method in rows:
        headings.append(method.part or headings[-1])
    pairs = groupby(zip(headings, rows, strict=True), key=lambda pair: pair[0])
    return [[method for _, method in group] for _, group in pairs]


def part_text(part: list[Method]) -> str:
    """Return the heading and the table of one part of a chapter."""
    return f"### {part[0].part}\n\n```{{eval-rst}}\n{table(part)}\n```"


def table(part: list[Method]) -> str:
    """Return a table of methods, in reStructuredText."""
    rows = [row([*map(plain, HEADER)]), *(row(cells(method)) for method in part)]
    return ".. list-table::\n   :class: catalogue\n   :header-rows: 1\n\n" + "\n".join(rows)


def row(texts: list[str]) -> str:
    """Return a row of a list-table."""
    items = [textwrap.indent(f"- {textwrap.indent(cell, '  ').strip()}", "     ") for cell in texts]
    return "   * " + "\n".join(items).strip()


def cells(method: Method) -> list[str]:
    """Return the cells of a method, in reStructuredText."""
    classes = [" or ".join(map(role, both(listed))) for listed in method.classes]
    return [
        "\n\n".join([f"**{plain(method.name)}**", paper(method), *also(method)]),
        f"{', '.join(method.needs) or 'nothing'}\n\ngiven {plain(method.of)}",
        plain(method.cost),
        plain(method.result),
        "\n\n".join([", ".join(classes), *map(code, method.sentences)]),
        "\n\n".join([plain(method.differs), *([f"compared with {link(method.code)}"] if method.code else [])]),
    ]


def role(name: str) -> str:
    """Return a link to the page of a class; that of a regressor, which follows its classifier, is short."""
    return f":class:`Regressor <{name}>`" if name.endswith("Regressor") else f":class:`~{name}`"


def paper(method: Method) -> str:
    """Return the paper as a link, or why there is none."""
    reference = method.reference
    if reference is None:
        return {"ours": "of this library"}.get(method.paper, method.paper)
    return f"`{plain(reference.short)} <{reference.url}>`__" if reference.url else plain(reference.short)


def also(method: Method) -> list[str]:
    """Return a line with the other names of a method, if it has any."""
    return [f"also: {plain(', '.join(method.aliases))}"] if method.aliases else []


def link(repository: str) -> str:
    """Return a link to a repository."""
    return f"`{plain(repository)} <https://github.com/{repository}>`__"


def code(sentence: str) -> str:
    """Return code in which each class is a link to its page."""
    pieces = re.split(r"(\w+)", sentence)
    linked = [f"\\ :class:`~{address(piece)}`\\ " if is_class(piece) else plain(piece) for piece in pieces]
    return ".. parsed-literal::\n\n   " + "".join(linked).removeprefix("\\ ")


def is_class(word: str) -> bool:
    """Return whether a word of a sentence is a public class."""
    return inspect.isclass(namespace().get(word))


def address(word: str) -> str:
    """Return the full public name of a class of a sentence: of all public names, the shortest."""
    room = ".".join(namespace()[word].__module__.split(".")[:2])
    return f"{'skfusion' if word in skfusion.__all__ else room}.{word}"


def with_rows(docname: str, text: str) -> str:
    """Return the source of the page of a class with links to its rows, below the heading."""
    name = docname.rpartition("/")[2]
    rows = [m.name for m in methods() if name in [full for listed in m.classes for full in both(listed)]]
    links = [f"`{plain(row)} <../../catalogue/index.html#?{urlencode({'q': row})}>`__" for row in rows]
    line = f"In the :doc:`catalogue of methods </catalogue/index>`: {', '.join(links)}." if rows else ""
    return re.sub(r"\A(.*?\n=+\n)", lambda heading: f"{heading[1]}\n{line}\n", text, count=1, flags=re.DOTALL)


def plain(words: str) -> str:
    """Return a text in which no sign is markup."""
    return re.sub(r"([\\*`_|])", r"\\\1", words)
