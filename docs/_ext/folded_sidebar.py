"""The sidebar unfolds only where its reader is.

The theme would list all pages, each class too, on every page: three hundred links that are read by nobody, take most of
the size of a page, and most of the time of a build.
"""

from typing import Any


def fold(app: Any, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Hand the theme a table of contents of which only the branch of this page is open."""
    if "toctree" in context:
        whole = context["toctree"]
        context["toctree"] = lambda **options: whole(**{**options, "collapse": True})


def setup(app: Any) -> dict[str, bool]:
    """Change the table of contents before the theme asks for it."""
    app.connect("html-page-context", fold, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
