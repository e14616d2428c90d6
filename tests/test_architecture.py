"""The rules that keep the package simple, read from its source."""

import ast
import inspect
import re
import sys
import tomllib
from pathlib import Path

import pytest

from skfusion._component import Component
from skfusion.testing import discover

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "skfusion").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAX_LINES = 300
VAGUE_NAMES = {"common", "helper", "helpers", "misc", "util", "utils"}
IMPORT_NAMES = {"scikit-learn": "sklearn"}  # distributions whose module has another name


def declared_libraries():
    """Import names of the libraries that pyproject.toml lets users of the package have."""
    extras = PROJECT["project"]["optional-dependencies"]
    optional = [name for extra in ("plots", "dask", "ray", "flower", "skops", "onnx") for name in extras[extra]]
    requirements = PROJECT["project"]["dependencies"] + optional
    names = (re.match(r"[\w-]+", requirement)[0] for requirement in requirements)
    return {IMPORT_NAMES.get(name, name) for name in names}


def importers():
    """Map each library that has a door of its own to the modules that may import it: the contracts of import-linter."""
    return {
        library: {module for module in contract["allowed_importers"] if not module.endswith("**")}
        for contract in PROJECT["tool"]["importlinter"]["contracts"]
        if contract["type"] == "protected"
        for library in contract["protected_modules"]
    }


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def foreign_imports(tree):
    """Yield (library, line, whether inside a function) for each import of another distribution, however deep."""

    def visit(node, inside):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        else:
            names = []
        for name in names:
            library = name.partition(".")[0]
            if library != "skfusion" and library not in sys.stdlib_module_names:
                yield library, node.lineno, inside
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(tree, False)


def misplaced_imports(source, module):
    """Say which foreign imports of a module's source break a rule, one line each."""
    declared, doors = declared_libraries(), importers()
    for library, line, inside in foreign_imports(ast.parse(source)):
        allowed = doors.get(library)
        if library not in declared:
            yield f"line {line}: {library} is no dependency in pyproject.toml"
        elif allowed is not None and not any(f"{module}.".startswith(f"{name}.") for name in allowed):
            yield f"line {line}: {library} may be imported only in {', '.join(sorted(allowed))}"
        elif library == "matplotlib" and not inside:
            yield f"line {line}: import matplotlib inside the function that draws"


def prints(source):
    """Lines at which a source calls print."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


def concrete_bases(cls):
    """Proper bases of a component that are components one could instantiate."""
    components = (base for base in cls.__mro__[1:] if issubclass(base, Component) and base is not Component)
    return [base for base in components if not inspect.isabstract(base)]


def faults(find):
    """Name each file of the package in which ``find(path)`` finds something, with what it finds."""
    found = {str(path.relative_to(ROOT)): find(path) for path in FILES}
    return [f"{name}: {fault}" for name, fault in found.items() if fault]


def test_files_stay_short():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    long = [f"{name} has {lines} lines" for name, lines in lengths.items() if lines > MAX_LINES]
    assert not long, f"at most {MAX_LINES} lines; what is the second thing that these files do? {long}"


def test_names_say_what_a_module_is():
    def vague(path):
        return VAGUE_NAMES.intersection(part.strip("_") for part in path.with_suffix("").relative_to(ROOT).parts)

    assert not faults(vague), "name a module after what it holds"


def test_foreign_libraries_come_in_by_their_door():
    assert not faults(lambda path: list(misplaced_imports(path.read_text(), module_name(path))))


def test_only_the_command_line_prints():
    found = faults(lambda path: [] if module_name(path) == "skfusion.cli" else prints(path.read_text()))
    assert not found, "print() at these lines: return the value, or warn"


@pytest.mark.parametrize("cls", list(discover()), ids=lambda cls: cls.__name__)
def test_a_component_is_abstract_or_final(cls):
    bases = [base.__name__ for base in concrete_bases(cls)]
    assert not bases, f"{cls.__name__} inherits from {bases}: hold such a method as a parameter instead"


# The rules themselves fail on code that breaks them.


@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        ("skfusion.merge.soups._uniform", "import sklearn.base", "may be imported only in"),
        ("skfusion.merge.soups._uniform", "def f():\n    from skorch import NeuralNet", "only in skfusion.nets"),
        ("skfusion.nets_more", "import skorch", "only in skfusion.nets"),
        ("skfusion.collect.independent._seeds", "import requests", "no dependency"),
        ("skfusion.plots._barrier", "import matplotlib.pyplot as plt", "inside the function"),
    ],
)
def test_a_misplaced_import_is_found(module, source, message):
    (problem,) = misplaced_imports(source, module)
    assert message in problem


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("skfusion.merge.soups._uniform", "import torch\nfrom . import _base\nfrom skfusion.state import State"),
        ("skfusion.nets", "import skorch"),
        ("skfusion.plots._barrier", "class Display:\n    def plot(self):\n        import matplotlib.pyplot as plt"),
    ],
)
def test_a_proper_import_is_let_through(module, source):
    assert not list(misplaced_imports(source, module))


def test_a_print_is_found():
    assert prints("def f():\n    print(1)\n    console.print(2)") == [2]


def test_a_concrete_base_is_found():
    class Method(Component):
        pass

    class Variant(Method):
        pass

    assert concrete_bases(Method) == []
    assert concrete_bases(Variant) == [Method]
