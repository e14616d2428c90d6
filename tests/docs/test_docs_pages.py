"""What the documentation's build writes: changes, the list of versions, the files of MathJax; threads of examples."""

import json
from types import SimpleNamespace

import changes_page
import example_settings
import folded_sidebar
import offline_math
import pytest
import torch
import versions

CHANGELOG = """
## skfusion 0.3.0 (2027-01-01)

### New

- A thing.

## skfusion 0.2.0 (2026-12-01)

### New

- An older thing.

### Fixed

- A fault.
"""


def test_older_versions_are_folded_and_the_newest_is_not():
    newest, _, older = changes_page.folded(CHANGELOG).partition("## skfusion 0.2.0 (2026-12-01)\n")
    assert newest.strip() == "## skfusion 0.3.0 (2027-01-01)\n\n### New\n\n- A thing."
    assert older.strip().startswith(":::{dropdown} What changed\n**New**\n\n- An older thing.")
    assert older.strip().endswith("**Fixed**\n\n- A fault.\n:::")


def test_no_changes_are_no_error():
    assert changes_page.folded("\n") == "\n"


def test_no_fragments_are_no_release(tmp_path):
    (tmp_path / "changes").mkdir()
    (tmp_path / "changes" / "README.md").write_text("how to write one")
    assert changes_page.unreleased(tmp_path, "1.0") == ""


def test_a_build_lists_its_own_version(tmp_path):
    config = SimpleNamespace(release="0.3.0", versions_file="")
    app = SimpleNamespace(outdir=tmp_path, config=config, builder=SimpleNamespace(format="html"))
    versions.write_versions(app, None)
    assert [entry["version"] for entry in json.loads((tmp_path / "versions.json").read_text())] == ["0.3.0"]
    context = {"content_root": "../"}
    versions.add_context(app, "guide/page", "page.html", context, None)
    assert context["versions_file"] == "../versions.json"
    config.versions_file = "/en/versions.json"
    versions.add_context(app, "guide/page", "page.html", context, None)
    assert context["versions_file"] == "/en/versions.json"


def test_only_what_pages_load_of_mathjax_is_copied(tmp_path):
    source = tmp_path / "mathjax"
    (source / offline_math.FONTS).mkdir(parents=True)
    for name in (offline_math.SCRIPT, f"{offline_math.FONTS}/A.woff", "tex-svg.js"):
        (source / name).write_text("")
    offline_math.copy(source, tmp_path / "static")
    copied = {str(path.relative_to(tmp_path / "static")) for path in (tmp_path / "static").rglob("*.*")}
    assert copied == {offline_math.SCRIPT, f"{offline_math.FONTS}/A.woff"}


def test_formulas_never_fall_back_to_another_host_in_silence(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(offline_math, "source", lambda: None)
    app, config = SimpleNamespace(srcdir=tmp_path), SimpleNamespace(html_static_path=[])
    warnings = []
    monkeypatch.setattr(offline_math.logging, "getLogger", lambda name: SimpleNamespace(warning=warnings.append))
    offline_math.use_local_files(app, config)
    assert "pip install sphinx-mathjax-offline" in warnings[0]
    assert not config.html_static_path


@pytest.fixture
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_threads")
def test_examples_run_on_one_thread():
    torch.set_num_threads(2)
    example_settings.reset({}, "plot_one.py")
    assert torch.get_num_threads() == 1


def test_the_sidebar_is_folded_whatever_the_theme_asks_for():
    context = {"toctree": lambda **options: options}
    folded_sidebar.fold(None, "index", "page.html", context, None)
    assert context["toctree"](collapse=False, maxdepth=-1) == {"collapse": True, "maxdepth": -1}
    folded_sidebar.fold(None, "search", "page.html", {}, None)
