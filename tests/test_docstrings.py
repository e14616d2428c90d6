"""Every public docstring is valid; those of the methods name their source and run an example.

The checks of numpydoc that must pass are listed, each with its meaning, under ``[tool.numpydoc_validation]`` in
``pyproject.toml``. The examples themselves are run by ``--doctest-modules``.
"""

import importlib
import inspect
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import validate

import skfusion
from skfusion.testing import discover

PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
CHECKS = set(PYPROJECT["tool"]["numpydoc_validation"]["checks"])


def public_objects():
    """Yield what the package and its public modules list in ``__all__``: functions, classes and their methods."""
    modules = [skfusion]
    for info in pkgutil.iter_modules(skfusion.__path__, "skfusion."):
        if not info.name.startswith("skfusion._"):
            modules.append(importlib.import_module(info.name))
    seen = set()
    for module in modules:
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if (inspect.isclass(thing) or inspect.isfunction(thing)) and thing not in seen:
                seen.add(thing)
                yield f"{module.__name__}.{name}", thing
                if inspect.isclass(thing):
                    yield from public_methods(f"{module.__name__}.{name}", thing)


def public_methods(path, cls):
    """Yield the public methods and properties that a class defines itself or inherits from within the package."""
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        thing = member if isinstance(member, property) else getattr(cls, name)
        function = getattr(thing, "fget", thing)
        if name.startswith("_") or not inspect.isroutine(function):
            continue
        origin = getattr(function, "__module__", None) or ""
        if origin.startswith("skfusion"):  # neither inherited from scikit-learn nor added by it
            yield f"{path}.{name}", thing


def faults(thing):
    """Messages of the checks that a docstring fails, one a line.

    An override that sends the reader to the method of its family's base need not repeat parameters and results.
    """
    refers = re.search(r"; see :meth:`[\w.]+`\.", inspect.getdoc(thing) or "")
    errors = validate(get_doc_object(thing))["errors"]
    skipped = ("PR01", "RT01") if refers else ("PR01",) if getattr(thing, "_is_protocol", False) else ()
    return [f"{code}: {message}" for code, message in errors if code in CHECKS and code not in skipped]


OBJECTS = dict(public_objects())
COMPONENTS = list(discover())


@pytest.mark.parametrize("path", OBJECTS)
def test_docstring_is_valid(path):
    assert not faults(OBJECTS[path]), "\n".join([path, *faults(OBJECTS[path])])


@pytest.mark.parametrize("cls", COMPONENTS, ids=lambda cls: cls.__name__)
def test_a_method_names_its_source(cls):
    assert get_doc_object(cls)["References"], f"{cls.__name__} needs References, with a DOI or an arXiv number"


@pytest.mark.parametrize("cls", COMPONENTS, ids=lambda cls: cls.__name__)
def test_a_method_runs_an_example(cls):
    examples = "\n".join(get_doc_object(cls)["Examples"])
    assert ">>> " in examples, f"{cls.__name__} needs an Examples section with a doctest that ends in a number"


# The checks themselves fail on a broken docstring.


def undocumented(x):
    return x


def documents_another_parameter(x):
    """Return the input.

    Parameters
    ----------
    y : float
        The input.

    Returns
    -------
    float
        The input.
    """
    return x


@pytest.mark.parametrize(("thing", "code"), [(undocumented, "GL08"), (documents_another_parameter, "PR02")])
def test_a_broken_docstring_is_found(thing, code):
    assert any(fault.startswith(code) for fault in faults(thing))
