"""Every block of Python in the guide and in CONTRIBUTING runs, page by page, from top to bottom."""

import re
import sys
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs" / "guide").glob("*.md")), ROOT / "CONTRIBUTING.md"]
NEEDS = {"trackers": ("mlflow", "mlflow.pyfunc", "mlflow.sklearn")}
"""Libraries that pages need beside those of the package, and that may not be installed."""
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def code_of(page):
    """Return the blocks of a page as one program, each on its own lines of the page."""
    text, program = page.read_text(encoding="utf-8"), ""
    for block in BLOCK.finditer(text):
        program += "\n" * (text.count("\n", 0, block.start(1)) - program.count("\n")) + block[1]
    return program


def test_there_are_pages():
    assert any(code_of(page) for page in PAGES)


@pytest.mark.parametrize("page", [p for p in PAGES if code_of(p)], ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of these libraries, about their own code
        for name in NEEDS.get(page.stem, ()):
            pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    module = ModuleType(f"guide_{page.stem}")  # a module of its own, so that its classes can be pickled
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code_of(page), str(page), "exec"), vars(module))


SENTENCE = re.compile(r"`(\w+(?:Classifier|Regressor)\([^`]*\))`")


@pytest.mark.parametrize("name", ["concepts", "subspaces"])
def test_the_sentences_of_papers_can_be_written(name):
    """Each estimator in a table, as it is printed, is one: the parts that it needs are there."""
    names: dict[str, object] = {"net": None, "pool": None}
    for room in ("", ".average", ".collect", ".connect", ".merge"):
        module = import_module(f"skfusion{room}")
        names |= {public: getattr(module, public) for public in module.__all__}
    text = (ROOT / "docs" / "guide" / f"{name}.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    sentences = [found for row in rows for found in SENTENCE.findall(row)]
    assert len(sentences) > 5
    for sentence in sentences:
        connect = getattr(eval(sentence, names), "connect", None)
        if connect is not None:
            connect.check()
