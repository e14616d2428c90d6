"""Configuration of the documentation.

The pages of the API reference are written here, at the start of each build, from the ``__all__`` of the package and its
public modules: a new method appears without an edit under ``docs/``.
"""

import importlib
import inspect
import logging
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

import skfusion
import skfusion.pool

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))  # the extensions of these pages

# A section of the guide may have no page yet. `suppress_warnings` cannot say so, for this warning has no type.
logging.getLogger("sphinx.sphinx.directives.other").addFilter(lambda r: getattr(r, "subtype", "") != "empty_glob")

project = "skfusion"
author = "The skfusion developers"
copyright = "2026, the skfusion developers"
version = release = skfusion.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "catalogue",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_build", "_ext", "_generated"]
templates_path = ["_templates"]

html_theme = "furo"
html_title = f"skfusion {release}"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # numpydoc's Parameters give the types
autosummary_generate = True
numpydoc_show_class_members = False  # the template of a class lists them


def public_modules():
    """Yield the package and its public modules that say, by ``__all__``, what they offer."""
    yield skfusion
    for info in pkgutil.iter_modules(skfusion.__path__, "skfusion."):
        if not info.name.startswith("skfusion._"):
            module = importlib.import_module(info.name)
            if hasattr(module, "__all__"):
                yield module


def api_page(module, names):
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


def write_api_pages(app, config):
    """Write ``api/<module>.md`` for each public module; an object is listed where its shortest public name is."""
    shutil.rmtree(HERE / "api", ignore_errors=True)
    (HERE / "api").mkdir()
    listed = set()
    for module in public_modules():
        objects = {name: getattr(module, name) for name in module.__all__}
        names = [n for n, o in objects.items() if (inspect.isclass(o) or inspect.isfunction(o)) and o not in listed]
        listed.update(objects[name] for name in names)
        if names:
            (HERE / "api" / f"{module.__name__}.md").write_text(api_page(module, names))


def write_unreleased_changes(app, config):
    """Write what the next release will say, from the fragments under ``changes/``."""
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", release, "--date", "unreleased"]
    draft = subprocess.run(command, cwd=HERE.parent, check=True, capture_output=True, text=True).stdout
    (HERE / "_generated").mkdir(exist_ok=True)
    news = draft if any((HERE.parent / "changes").glob("*.*.md")) else ""
    (HERE / "_generated" / "unreleased.md").write_text(news)


def write_pool_as_shown(app, config):
    """Write what a notebook shows of a small pool, whose members and scores are made up, and of one of its members."""
    rng = np.random.default_rng(0)
    members = []
    for k, lr in enumerate((0.001, 0.01, 0.1, 0.003)):
        state = {f"layers.{i}.weight": torch.zeros(n, 64) for i, n in enumerate((64, 10) if k < 3 else (32, 10))}
        losses = 0.1 + 2.2 * np.exp(-np.arange(25) * (0.1 + lr)) + 0.03 * rng.random(25)
        history = [{"epoch": e, "train_loss": loss, "valid_loss": loss + 0.1} for e, loss in enumerate(losses, 1)]
        meta = {"params": {"lr": lr}, "seed": k, "epoch": 25, "source": "study 'digits'", "history": history}
        members.append(skfusion.pool.Member(f"trial-{k}", state, [0.931, 0.964, 0.948, 0.957][k], meta))
    pool = skfusion.ModelPool(members, classes=range(10))
    (HERE / "_generated").mkdir(exist_ok=True)
    (HERE / "_generated" / "pool.html").write_text(pool._repr_html_() + members[1]._repr_html_(), encoding="utf-8")


def skip_foreign_members(app, what, name, member, skip, options):
    """Leave out the methods that a class has from scikit-learn or from Python."""
    function = getattr(member, "fget", member)
    origin = getattr(function, "__module__", None) or ""
    return True if what == "class" and callable(function) and not origin.startswith("skfusion") else None


def setup(app):
    """Write the generated pages before Sphinx looks for sources."""
    app.connect("autodoc-skip-member", skip_foreign_members)
    app.connect("config-inited", write_api_pages)
    app.connect("config-inited", write_unreleased_changes)
    app.connect("config-inited", write_pool_as_shown)
