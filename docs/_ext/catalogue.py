"""The catalogue of methods: pages of tables, written from the classes and from one data file per chapter.

What a class says of itself is taken from it: its address, and the papers under its References. What only an editor can
know stands in ``docs/catalogue/*.toml``, one file a chapter, with one ``[[method]]`` per row:

- ``name``: how the paper calls it; ``part``: the heading that begins with this row, if one does;
- ``classes``: full public names, first the one whose References name the paper; a classifier stands for its regressor;
- ``paper``: which of these references, by ``arXiv:...`` or ``doi:...``, when it is not the first; or ``folklore``,
  ``ours`` or ``no address``, where there is no paper to link to;
- ``sentences``: code that makes it, of the names in :func:`namespace`; ``aliases``: other words by which it is sought;
- ``of``: what it is given, in a few words;
- ``needs``: of ``base``, ``data``, ``labels``, ``gradients`` and ``training``; see ``docs/catalogue/index.md``;
- ``cost``; ``result``: begins with ``exact`` or ``approximate``;
- ``differs``: how the class differs from the authors' code; ``code``: the repository that it was compared with.
"""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from references import Reference, references

import skfusion
import skfusion.pool
from skfusion.nets import mlp_classifier

HERE = Path(__file__).parents[1] / "catalogue"
CHAPTERS = ("mode_connectivity", "alignment", "weight_averaging", "ensembles")
NEEDS = ("base", "data", "labels", "gradients", "training")
WITHOUT_ADDRESS = ("folklore", "ours", "no address")
ROOMS = ("average", "select", "align", "merge", "connect", "repair", "combine", "collect", "reuse", "forests", "tuning")


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row: a method as its paper names it, and what it needs, costs and gives here."""

    name: str
    classes: tuple[str, ...]
    sentences: tuple[str, ...]
    of: str
    needs: tuple[str, ...]
    cost: str
    result: str
    differs: str
    aliases: tuple[str, ...] = ()
    paper: str = ""
    code: str = ""
    part: str = ""

    @property
    def reference(self) -> Reference | None:
        """Return the paper, as the first class names it under its References; ``None`` where it names none."""
        named = references(found(self.classes[0]))
        if not self.paper or self.paper in WITHOUT_ADDRESS:
            return named[0] if named and self.paper in ("", "no address") else None
        return next((reference for reference in named if reference.key == self.paper), None)


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One of the survey's four families of methods."""

    file: str
    title: str
    text: str
    picture: str
    methods: tuple[Method, ...]


@cache
def chapters() -> tuple[Chapter, ...]:
    """Return the chapters with their methods, as the data files have them."""
    return tuple(_chapter(name, tomllib.loads((HERE / f"{name}.toml").read_text("utf-8"))) for name in CHAPTERS)


def _chapter(name: str, data: dict[str, Any]) -> Chapter:
    methods = [{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()} for row in data.pop("method")]
    return Chapter(file=name, methods=tuple(Method(**row) for row in methods), **data)


def methods() -> list[Method]:
    """Return the methods of all chapters."""
    return [method for chapter in chapters() for method in chapter.methods]


def found(name: str) -> Any:
    """Return the public class of a full name."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def both(name: str) -> list[str]:
    """Return the full name of a class, and that of its regressor where it is the classifier of a pair."""
    regressor = re.sub(r"Classifier$", "Regressor", name)
    module, _, attribute = regressor.rpartition(".")
    return list(dict.fromkeys([name, *([regressor] if hasattr(importlib.import_module(module), attribute) else [])]))


def aliases() -> dict[str, list[str]]:
    """Return, for each class of the catalogue by its full public name, the words by which readers seek it."""
    words: dict[str, dict[str, None]] = {}
    for method in methods():
        for name in [name for listed in method.classes for name in both(listed)]:
            words.setdefault(name, {}).update(dict.fromkeys([method.name, *method.aliases]))
    return {name: list(of_class) for name, of_class in words.items()}


@cache
def namespace() -> dict[str, Any]:
    """Return the names that sentences are made of: the public classes, a net, and a pool of trained members."""
    rooms = [skfusion, *(importlib.import_module(f"skfusion.{room}") for room in ROOMS)]
    public = [getattr(room, name) for room in rooms for name in room.__all__]
    classes = [cls for cls in public if inspect.isclass(cls) and not inspect.isabstract(cls)]
    return {cls.__name__: cls for cls in classes} | placeholders()


def placeholders() -> dict[str, Any]:
    """Return what stands in sentences for things of the reader's: a net, trained members, a space of fusions."""
    pool = skfusion.ModelPool([skfusion.pool.Member("a", {"weight": torch.zeros(1)})])
    return {"net": mlp_classifier(), "pool": pool, "space": lambda trial: {}}


def evaluated(sentence: str) -> Any:
    """Return what a sentence makes."""
    return eval(sentence, {"__builtins__": {}}, dict(namespace()))


def write_pages(app: Any, config: Any) -> None:
    """Write the tables and the pictures, which ``docs/catalogue/index.md`` includes."""
    import catalogue_page  # which imports this module
    import catalogue_pictures

    generated = Path(app.srcdir) / "_generated" / "catalogue"
    generated.mkdir(parents=True, exist_ok=True)
    (generated / "tables.md").write_text(catalogue_page.text(), encoding="utf-8")
    catalogue_pictures.draw(generated)
    if "_static" not in config.html_static_path:
        config.html_static_path.append("_static")


def link_class_pages(app: Any, docname: str, source: list[str]) -> None:
    """Add to the page of a class where it stands in the catalogue."""
    import catalogue_page

    if docname.startswith("api/generated/"):
        source[0] = catalogue_page.with_rows(docname, source[0])


def add_assets(app: Any, pagename: str, *rest: Any) -> None:
    """Add the style and the filter to the page of the catalogue, and to no other."""
    if pagename == "catalogue/index":
        app.add_css_file("catalogue.css")
        app.add_js_file("catalogue.js", loading_method="defer")


def setup(app: Any) -> dict[str, bool]:
    """Write the pages before Sphinx looks for sources."""
    app.connect("config-inited", write_pages)
    app.connect("source-read", link_class_pages)
    app.connect("html-page-context", add_assets)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
