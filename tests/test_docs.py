"""Paragraphs that docstrings share."""

import inspect

import pytest
from numpydoc.docscrape import ClassDoc

from skfusion._docs import fill
from skfusion.connect import Bezier, Fourier, PolyChain

LR = """
lr : float, default=0.1
    The learning rate.

    A larger one is faster.
"""


def test_a_line_of_a_name_becomes_the_paragraph_at_its_indentation():
    @fill(lr=LR)
    class Some:
        r"""Do something with :math:`\frac{a}{b}` and {lr} in a line.

        Parameters
        ----------
        {lr}
        n : int
            How many.
        """

    text = inspect.getdoc(Some)
    assert r"\frac{a}{b}` and {lr} in a line." in text
    assert "----\nlr : float, default=0.1\n    The learning rate.\n\n    A larger one is faster.\nn : int" in text


def test_paragraphs_that_are_not_given_or_not_asked_for_are_errors():
    asking = type("Asking", (), {"__doc__": "Do.\n\n{lr}\n"})
    with pytest.raises(KeyError, match="Asking asks for the paragraph 'lr', which is not given"):
        fill()(asking)
    with pytest.raises(KeyError, match=r"Asking has no line for the paragraphs \['momentum'\]"):
        fill(lr=LR, momentum="")(asking)


def test_a_class_without_a_docstring_stays_as_it_is():
    bare = type("Bare", (), {"__doc__": None})
    assert fill(lr=LR)(bare).__doc__ is None


@pytest.mark.parametrize("kind", [Bezier, Fourier, PolyChain])
def test_numpydoc_sees_the_parameters_of_trained_curves(kind):
    names = [parameter.name for parameter in ClassDoc(kind)["Parameters"]]
    assert names == [*inspect.signature(kind).parameters]
