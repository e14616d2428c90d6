"""Formulas are typeset by MathJax from files that ship with the pages, so that no page asks another host for anything.

The files come, at build time, from the package ``sphinx-mathjax-offline``: one script and its fonts, 1.5 MB, which only
pages with formulas load. (The package's own extension would copy all of MathJax, 15 MB.)
"""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.util import logging

SCRIPT = "tex-chtml.js"
FONTS = "output/chtml/fonts/woff-v2"


def source() -> Path | None:
    """Return the folder of MathJax, if its package is installed; its name is no identifier, so nothing imports it."""
    spec = find_spec("sphinx-mathjax-offline")
    return Path(spec.origin).parent / "static" / "mathjax" if spec and spec.origin else None


def copy(folder: Path, target: Path) -> None:
    """Copy what pages need of MathJax."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy2(folder / SCRIPT, target / SCRIPT)
    shutil.copytree(folder / FONTS, target / FONTS, dirs_exist_ok=True)


def use_local_files(app: Any, config: Any) -> None:
    """Point Sphinx to the files; without their package, warn, and leave formulas to the public host of MathJax."""
    folder = source()
    if folder is None:
        logging.getLogger(__name__).warning("formulas will need a network: pip install sphinx-mathjax-offline")
        return
    static = Path(app.srcdir) / "_generated" / "static"
    copy(folder, static / "mathjax")
    config.html_static_path.append("_generated/static")
    config.mathjax_path = f"mathjax/{SCRIPT}"


def setup(app: Any) -> dict[str, bool]:
    """Use the files that are installed."""
    app.setup_extension("sphinx.ext.mathjax")
    app.connect("config-inited", use_local_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
