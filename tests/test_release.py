"""What a release takes from this repository agrees: the version, the notes of changes, and what is built of them."""

import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import skfusion

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FRAGMENTS = sorted(path for path in (ROOT / "changes").glob("*") if path.name not in ("README.md", ".gitignore"))
SENTENCES = re.compile(r"(?<=[.:?!])\s+(?=[A-Z`*])")


def test_the_citation_has_the_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [skfusion.__version__]
    assert re.findall(r"^date-released: (.*)$", citation, re.MULTILINE)[0] >= "2026-11-30"


@pytest.mark.parametrize("path", FRAGMENTS or [None], ids=lambda path: path and path.name)
def test_a_fragment_is_short_and_of_a_known_type(path):
    if path is None:
        pytest.skip("a release has gathered all fragments")
    types = "|".join(kind["directory"] for kind in PYPROJECT["tool"]["towncrier"]["type"])
    assert re.fullmatch(rf"(\d+|\+[\w-]+)\.({types})(\.\d+)?\.md", path.name), "see changes/README.md"
    text = " ".join(path.read_text(encoding="utf-8").split())
    assert 20 <= len(text) <= 400, "say it in one sentence, or two: details stand in the documentation"
    assert max(map(len, SENTENCES.split(text))) <= 240
    assert text.endswith(".")


def script(name):
    """Return a script of ``.ci`` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def as_on_pypi(text):
    """Return a text of the README as the build rewrites it for PyPI."""
    for rule in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    return text


REPOSITORY = "https://github.com/skfusion/skfusion"
BLOB = f"{REPOSITORY}/blob/v$HFPR_VERSION"
FILES = "https://raw.githubusercontent.com/skfusion/skfusion/v$HFPR_VERSION"
PAGES = "https://skfusion.readthedocs.io/en/stable"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("[a](docs/guide/pools.md)", f"[a]({PAGES}/guide/pools.html)"),
        ("[a](docs/results/tables.md#all)", f"[a]({PAGES}/results/tables.html#all)"),
        ("[a](examples) and [b](LICENSE)", f"[a]({BLOB}/examples) and [b]({BLOB}/LICENSE)"),
        ("![plane](docs/_static/plane.png)", f"![plane]({FILES}/docs/_static/plane.png)"),
        ("[![a](b.svg)](LICENSE)", f"[![a]({FILES}/b.svg)]({BLOB}/LICENSE)"),
        ('<source srcset="a.svg"><img src="b.png">', f'<source srcset="{FILES}/a.svg"><img src="{FILES}/b.png">'),
        ('<a href="docs/conf.py">', f'<a href="{BLOB}/docs/conf.py">'),
        ("[below](#install)", f"[below]({REPOSITORY}#install)"),
        ("[a](https://example.org/b.md) `x[0]()`", "[a](https://example.org/b.md) `x[0]()`"),
    ],
)  # fmt: skip
def test_links_of_the_readme_lead_somewhere_on_pypi(written, shown):
    assert as_on_pypi(written) == shown
    assert not script("try_wheel").relative_links(shown)


def test_the_readme_has_no_relative_link_on_pypi_and_its_code_is_as_written():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    relative_links = script("try_wheel").relative_links
    assert relative_links(text)
    assert not relative_links(as_on_pypi(text))
    code = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
    assert code.findall(as_on_pypi(text)) == code.findall(text)


def test_pages_and_files_that_the_readme_links_to_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r'(?:\]\(|(?:src|srcset|href)=")(?![a-z]+:|#)([^)"\s#]+)', text)
    assert not [path for path in linked if not (ROOT / path).exists()]


def wheel_with(folder, readme="", version="1.2.3", files=()):
    path = folder / "a.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in files:
            archive.writestr(name, "")
        archive.writestr("a.dist-info/METADATA", f"Name: a\nVersion: {version}\n\n{readme}")
    return path


def test_what_is_wrong_with_a_wheel_is_named(tmp_path):
    def problems(*wheel_and_tag):
        return [*script("try_wheel").problems(*wheel_and_tag)]

    source = [str(p.relative_to(ROOT)) for p in (ROOT / "skfusion").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    assert problems(wheel_with(tmp_path, files=source), "v1.2.3") == []
    assert "the tag is v1.2.4" in problems(wheel_with(tmp_path, files=source), "v1.2.4")[0]
    assert "](b.md)" in problems(wheel_with(tmp_path, "[a](b.md)", files=source), None)[0]
    assert "tests/test_a.py" in problems(wheel_with(tmp_path, files=[*source, "tests/test_a.py"]), None)[0]
    without = [name for name in source if not name.endswith("py.typed")]
    assert "skfusion/py.typed" in problems(wheel_with(tmp_path, files=without), None)[0]


def test_the_notes_of_a_release_are_its_section_of_the_changelog():
    notes = script("release_notes").notes
    text = "# Changes\n\n## skfusion 0.3.0 (2027-01-01)\n\n### New\n\n- B.\n\n## skfusion 0.2.0 (2026-12-01)\n\n- A.\n"
    assert notes(text, "v0.3.0") == "### New\n\n- B."
    assert notes(text, "v0.2.0") == "- A."
    with pytest.raises(SystemExit, match=r"nothing of v0\.4\.0: run `towncrier build`"):
        notes(text, "v0.4.0")


def test_versions_are_shown_without_importing_anything_for_it():
    code = "import sys, skfusion; skfusion.show_versions(); print('imported', *sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    shown, _, imported = out.partition("imported")
    facts = dict(line.split(maxsplit=1) for line in shown.splitlines())
    assert facts["skfusion"] == skfusion.__version__
    assert {"Python", "system", "torch", "scikit-learn", "numpy"} <= {*facts}
    assert not {"pytest", "ruff", "sphinx"} & {*facts}
    assert not {"torch", "sklearn", "numpy"} & {*imported.split()}
