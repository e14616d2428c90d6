"""Configuration of the documentation; its extensions stand in ``_ext``."""

import logging
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
    "api_pages",
    "other_projects",
    "linked_names",
    "whole_numbers",
    "offline_math",
    "catalogue",
    "changes_page",
    "folded_sidebar",
    "versions",
    "shown",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",  # the source ships with the pages: its links need no network and always show this version
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_build", "_ext", "_generated"]
templates_path = ["_templates"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_favicon = "_static/icon.svg"
html_title = f"skfusion {release}"
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/versions.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # numpydoc's Parameters give the types
autosummary_generate = True
numpydoc_show_class_members = False  # the template of a class lists them

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"(^|/)(?!plot_)[^/]*\.py$",  # scripts that take long, or need what a build has not
    "backreferences_dir": "auto_examples/backreferences",  # which example uses which class, for the pages of classes
    "doc_module": ("skfusion",),
    "reset_modules": ("matplotlib", "example_settings.reset"),
    "reset_modules_order": "both",
    "abort_on_example_error": True,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1,
    "write_computation_times": False,  # a page that any search for an example would find
}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


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


def setup(app):
    """Write the generated pages before Sphinx looks for sources."""
    app.connect("config-inited", write_pool_as_shown)
