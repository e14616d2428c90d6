"""The pages of the API reference, from the ``__all__`` of the package and its public modules.

They are written at the start of each build: a new method appears without an edit under ``docs/``.
"""

import importlib
import inspect
import pkgutil
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import catalogue
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

import skfusion


def public_modules() -> Iterator[ModuleType]:
    """Yield the package and its public modules that say, by ``__all__``, what they offer."""
    yield skfusion
    for info in pkgutil.iter_modules(skfusion.__path__, "skfusion."):
        if not info.name.startswith("skfusion._"):
            module = importlib.import_module(info.name)
            if hasattr(module, "__all__"):
                yield module


@cache
def pages() -> dict[str, list[str]]:
    """Return the names that each module's page lists; an object is listed where its shortest public name is."""
    listed: set[Any] = set()
    pages = {}
    for module in public_modules():
        objects = {name: getattr(module, name) for name in module.__all__}
        names = [n for n, o in objects.items() if (inspect.isclass(o) or inspect.isfunction(o)) and o not in listed]
        listed.update(objects[name] for name in names)
        if names:
            pages[module.__name__] = names
    return pages


def page(module: ModuleType, names: list[str]) -> str:
    """Return the page of one module: the summary of its docstring, and a table of its public names."""
    summary = inspect.cleandoc(module.__doc__ or "").partition("\n\n")[0]
    return "\n".join(
        [
            f"# {module.__name__}",
            "```{eval-rst}",
            summary,
            "",
            f".. currentmodule:: {module.__name__}",
            "",
            ".. autosummary::",
            "   :toctree: generated",
            "   :nosignatures:",
            "",
            *(f"   {name}" for name in names),
            "```",
            "",
        ]
    )


def write_pages(app: Any, config: Any) -> None:
    """Write ``api/<module>.md`` for each public module, and hand the templates what they show."""
    folder = Path(app.srcdir) / "api"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, names in pages().items():
        (folder / f"{name}.md").write_text(page(importlib.import_module(name), names), encoding="utf-8")
    config.autosummary_context["aliases"] = catalogue.aliases()


def skip_foreign_members(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the methods that a class has from scikit-learn or from Python."""
    function = getattr(member, "fget", member)
    origin = getattr(function, "__module__", None) or ""
    return True if what == "class" and callable(function) and not origin.startswith("skfusion") else None


class EntriesOfWholePages(SphinxTransform):
    """Let the entries that the templates add to the index lead to the page, and not to a place in it.

    A search then shows such a page once, with its first lines.
    """

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Take the places out of the main entries of one page."""
        for index in self.document.findall(addnodes.index):
            index["entries"] = [
                (kind, word, "" if main == "main" else target, main, key)
                for kind, word, target, main, key in index["entries"]
            ]


def setup(app: Any) -> dict[str, bool]:
    """Write the pages before Sphinx looks for sources."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("config-inited", write_pages)
    app.add_transform(EntriesOfWholePages)
    app.connect("autodoc-skip-member", skip_foreign_members)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
