"""The gallery's scripts have its form, and the other examples run as they are, with small settings.

The scripts of the gallery, ``plot_*.py``, are run when the documentation is built, where an error or a warning fails.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
GALLERY = [path for path in EXAMPLES if path.name.startswith("plot_") and "\n# %%\n" in path.read_text()]
OTHERS = [path for path in EXAMPLES if path not in GALLERY]
in_gallery = pytest.mark.parametrize("script", GALLERY, ids=lambda path: path.stem)


def run(script, *args):
    """Run a script of the checkout and return what it prints; a warning is a failure."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, str(script), *args], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return done.stdout


def calls(tree, *names):
    """Return the calls of functions and methods of some names."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [node for node in found if getattr(node.func, "attr", getattr(node.func, "id", None)) in names]


def test_there_are_examples():
    assert len(GALLERY) > 9
    assert OTHERS


@pytest.mark.slow
@pytest.mark.parametrize("script", OTHERS, ids=lambda path: path.stem)
def test_example_runs(script):
    assert run(script, "--quick")


@in_gallery
def test_a_script_has_a_title_and_sentences(script):
    title, line, _, *text = (ast.get_docstring(ast.parse(script.read_text())) or "").split("\n")
    assert set(line) == {"="}, script
    assert len(line) == len(title) <= 60, title
    assert not title.endswith(".")
    assert " ".join(text).strip().endswith(".")


@in_gallery
def test_each_cell_begins_with_a_sentence(script):
    _, *cells = re.split(r"^# %%$\n", script.read_text(), flags=re.M)
    assert len(cells) > 1
    for cell in cells:
        comment = re.match(r"(# .*\n)+", cell)
        assert comment, cell
        assert comment[0].strip()[-1] in ".:", cell


@in_gallery
def test_a_script_draws_and_takes_no_arguments(script):
    tree = ast.parse(script.read_text())
    assert calls(tree, "plot", "subplots")
    assert "argparse" not in script.read_text()
    assert not calls(tree, "savefig", "show", "use")


@in_gallery
def test_what_is_printed_is_computed(script):
    for call in calls(ast.parse(script.read_text()), "print", "set_title", "suptitle"):
        parts = [node.value for node in ast.walk(call) if isinstance(node, ast.Constant)]
        assert not any(re.search(r"\d+\.\d+", text) for text in parts if isinstance(text, str)), ast.unparse(call)


@in_gallery
def test_no_value_is_shown_by_chance(script):
    """The gallery shows the last value of a cell: it is given a name, or is one that is worth to be shown."""
    for cell in re.split(r"^# %%$\n", script.read_text(), flags=re.M)[1:]:
        *_, last = ast.parse(cell).body
        if isinstance(last, ast.Expr):
            value = last.value
            assert isinstance(value, ast.Name) or calls(value, "print"), ast.unparse(last)
