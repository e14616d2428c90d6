"""Names of classes and functions in inline code are links to their pages, in tables and in guides too.

A piece of inline code that is a public name of skfusion (Tail, skfusion.collect.Tail, Tail()) becomes a link, and so do
the classes that are called in a longer piece: SoupClassifier(net, collect=Tail()) has two links. Names that mean two
things are left alone. The classes of other projects that `other_projects` lists are links as well.
"""

import re
from collections import Counter
from functools import cache
from typing import Any

import api_pages
import other_projects
from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

CALLED = re.compile(r"(?<![\w.])[A-Z]\w*(?=\()")
CLOSED = (nodes.reference, nodes.title, nodes.term, addnodes.pending_xref)  # no link stands in these
PLAIN = re.compile(r"^[a-z]+$")
WHOLE = re.compile(r"^([A-Za-z_][\w.]*)(?:\(\))?$")


@cache
def targets() -> dict[str, str]:
    """Return the full name behind each name that is linked, by the ways in which it may be written."""
    full = [f"{module}.{name}" for module, names in api_pages.pages().items() for name in names]
    short = Counter(name.rpartition(".")[2] for name in full)
    foreign = list(other_projects.names())
    result = {name.rpartition(".")[2]: name for name in foreign if name.rpartition(".")[2][0].isupper()}
    result |= {name: name for name in foreign}
    result |= other_projects.ALSO
    for name in full:
        last = name.rpartition(".")[2]
        result[name] = result[name.removeprefix("skfusion.")] = name
        if short[last] == 1:
            result[last] = name
        else:
            result.pop(last, None)
    return result


def link(text: str, target: str) -> addnodes.pending_xref:
    """Return what Sphinx will turn into a link, or into plain text where there is no such page."""
    attributes = {"refdomain": "py", "reftype": "obj", "reftarget": target, "refexplicit": True, "refwarn": False}
    return addnodes.pending_xref("", nodes.inline(text, text), **attributes)


def linked(text: str, room: str = "") -> list[nodes.Node]:
    """Return the pieces of inline code, with links where they are names; none where no piece is.

    A name of the room that a row of a table begins with is taken from there. One plain word, such as ``barrier``, is
    more often a parameter than the function of that name.
    """
    whole = WHOLE.match(text)
    if whole:
        target = targets().get(f"skfusion.{room}.{whole[1]}") or targets().get(whole[1])
        return [link(text, target)] if target and not PLAIN.match(text) else []
    pieces: list[nodes.Node] = []
    end = 0
    for found in CALLED.finditer(text):
        if found[0] in targets():
            pieces += [nodes.Text(text[end : found.start()]), link(found[0], targets()[found[0]])]
            end = found.end()
    return [*pieces, nodes.Text(text[end:])] if pieces else []


class LinkNames(SphinxTransform):
    """Turn names in inline code into links, except in headings, in links, and on the page of the name itself."""

    default_priority = 400  # after the parser, before references are collected

    def apply(self, **kwargs: Any) -> None:
        """Go through the inline code of one page."""
        here = self.env.docname.rpartition("/")[2]
        for literal in list(self.document.findall(nodes.literal)):
            above = ancestors(literal)
            closed = any(isinstance(node, CLOSED) for node in above)
            pieces = [] if closed else linked(literal.astext(), room_of(above))
            names = [piece["reftarget"] for piece in pieces if isinstance(piece, addnodes.pending_xref)]
            if names and here not in names:
                literal.children = []
                literal += pieces


def ancestors(node: nodes.Node) -> list[nodes.Node]:
    """Return the nodes that a node stands in."""
    found = []
    while node.parent is not None:
        node = node.parent
        found.append(node)
    return found


def room_of(above: list[nodes.Node]) -> str:
    """Return what the first cell of the row says, of all nodes that something stands in."""
    row = next((node for node in above if isinstance(node, nodes.row)), None)
    return row[0].astext() if row is not None else ""


def types() -> dict[str, str]:
    """Return what a word in the type of a parameter links to; numpydoc wants a role where a name is its own target."""
    names = {name: target if name != target else f":obj:`{target}`" for name, target in targets().items()}
    return names | other_projects.WORDS


def add_types(app: Any, config: Any) -> None:
    """Hand numpydoc the names that may stand in the types of parameters."""
    config.numpydoc_xref_param_type = True
    config.numpydoc_xref_ignore = "all"  # words of a sentence are no names
    config.numpydoc_xref_aliases = types() | config.numpydoc_xref_aliases


def setup(app: Any) -> dict[str, bool]:
    """Link names while pages are read."""
    app.add_transform(LinkNames)
    app.connect("config-inited", add_types, priority=200)  # before numpydoc adds its own
    return {"parallel_read_safe": True, "parallel_write_safe": True}
