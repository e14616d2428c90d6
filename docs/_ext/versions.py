"""The choice of a version of the documentation, in the sidebar.

Pages read ``versions.json``, a list of versions with titles and addresses, and show a choice if there are several.
Each build writes one with its own version. Where several versions are published, the setting ``versions_file`` is the
address of one list that all of them share, such as ``/en/versions.json``; then old pages know of newer versions.
"""

import json
from pathlib import Path
from typing import Any


def write_versions(app: Any, error: Exception | None) -> None:
    """Write the list of this build, which has its own version only."""
    if error is None and app.builder.format == "html":
        own = [{"version": app.config.release, "title": app.config.release, "url": "./"}]
        (Path(app.outdir) / "versions.json").write_text(json.dumps(own, indent=1) + "\n", encoding="utf-8")


def add_context(app: Any, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Tell the template where the list is."""
    context["versions_file"] = app.config.versions_file or context["content_root"] + "versions.json"


def setup(app: Any) -> dict[str, bool]:
    """Add the setting, the list and the script."""
    app.add_config_value("versions_file", "", "html")
    app.add_js_file("versions.js", loading_method="defer")
    app.connect("html-page-context", add_context)
    app.connect("build-finished", write_versions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
