"""Docstrings that are put together from shared paragraphs."""

import inspect
import pickle
import re
import subprocess
import sys

import pytest
from numpydoc.docscrape import ClassDoc
from sklearn.base import clone

import skfusion
from skfusion._docs import CLASSIFIER, PARAGRAPHS, REGRESSOR, doc, template
from skfusion.connect import Bezier, Fourier, PolyChain


@template
class _Pair:
    r"""{Predict} by {what}.

    .. math:: \mathrm{KL} + e^{x}

    Parameters
    ----------
    {memory}

    Attributes
    ----------
    {classes_}
    {held_out_}
    """


def test_a_pair_shares_its_template():
    @doc(CLASSIFIER, what="the {score} of a net")
    class OfClasses(_Pair): ...

    @doc(REGRESSOR, what="a net")
    class OfValues(_Pair): ...

    first, second = inspect.getdoc(OfClasses), inspect.getdoc(OfValues)
    assert first.startswith("Classify by the accuracy of a net.\n")
    assert second.startswith("Predict values by a net.\n")
    assert r"\mathrm{KL} + e^{x}" in first
    assert f"{PARAGRAPHS['memory']}\n\nAttributes" in first
    assert f"{PARAGRAPHS['classes_']}\n{PARAGRAPHS['held_out_']}" in first
    assert f"----------\n{PARAGRAPHS['held_out_']}" in second
    assert _Pair.__doc__ is None  # whose examples would be run


def test_what_the_decorator_is_given_goes_first():
    @doc(CLASSIFIER, what="{name}", memory="memory : str\n    Where.")
    class Given(_Pair): ...

    assert "Classify by Given.\n" in Given.__doc__
    assert "memory : str\n    Where.\n" in Given.__doc__


def test_a_name_without_a_text_is_an_error():
    with pytest.raises(KeyError, match="what"):

        @doc(CLASSIFIER)
        class Forgotten(_Pair): ...


@pytest.mark.parametrize("name", skfusion.__all__)
def test_no_public_docstring_has_a_name_left(name):
    assert not re.search(r"^ *\{\w+\}$", getattr(skfusion, name).__doc__, re.MULTILINE)


def test_recipes_are_cloned_and_pickled():
    recipe = skfusion.WeightAveragingClassifier(burn_in=0.5)
    assert pickle.loads(pickle.dumps(recipe)).get_params() == clone(recipe).get_params() == recipe.get_params()
    assert recipe != clone(recipe)  # as any two estimators
    assert str(inspect.signature(type(recipe))).startswith("(estimator: 'Any' = None, *, burn_in: 'float' = 0.75,")


def test_python_may_drop_docstrings():
    code = "from skfusion._docs import doc\n@doc()\nclass A:\n    '{unknown}'\nprint(A.__doc__)"
    assert subprocess.run([sys.executable, "-OO", "-c", code], check=True, capture_output=True).stdout == b"None\n"


@pytest.mark.parametrize("kind", [Bezier, Fourier, PolyChain])
def test_numpydoc_sees_the_parameters_of_trained_curves(kind):
    names = [parameter.name for parameter in ClassDoc(kind)["Parameters"]]
    assert names == [*inspect.signature(kind).parameters]
