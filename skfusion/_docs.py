"""Docstrings that many classes share, written once: paragraphs of parameters and attributes, and templates of pairs.

``@doc(...)`` replaces each ``{name}`` in the docstring of a class by a word that the decorator gets or by a paragraph
of this file. A class without a docstring takes that of its base with ``@template``, so that a classifier and a
regressor share one: ``@doc(CLASSIFIER)`` and ``@doc(REGRESSOR)``. This module imports nothing of the package.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])


def template(cls: T) -> T:
    """Keep the docstring of a class for its subclasses alone, so that the examples of a template are not run."""
    cls._template, cls.__doc__ = cls.__doc__, None  # type: ignore[attr-defined]
    return cls


def doc(*words: Mapping[str, str], **more: str) -> Callable[[T], T]:
    """Return a decorator that fills the docstring of a class or method from ``more``, ``words`` and PARAGRAPHS.

    The first of these that has a name counts. ``{name}`` is the name of the class. A name that has no text is an error
    at import. A line that has nothing but a name whose text is empty is left out.
    """

    def fill(cls: T) -> T:
        text = cls.__doc__ or getattr(cls, "_template", None)
        if text is not None:  # as it is under `python -OO`
            texts = {name: textwrap.dedent(value).strip() for name, value in more.items()}
            known = ChainMap({"name": cls.__name__}, texts, *map(dict, words), PARAGRAPHS)
            cls.__doc__ = _filled(inspect.cleandoc(text), known)
        return cls

    return fill


def _filled(text: str, words: Mapping[str, str]) -> str:
    def line(match: re.Match[str]) -> str:
        value = _filled(words[match[2]], words)
        return f"{textwrap.indent(value, match[1])}\n" if value else ""

    text = re.sub(r"^( *)\{(\w+)\}(?:\n|\Z)", line, text, flags=re.MULTILINE)
    # A brace after a letter, a brace or ^ is one of a formula: \mathrm{KL}.
    return re.sub(r"(?<![\w}^])\{(\w+)\}", lambda match: _filled(words[match[1]], words), text).strip()


def paragraphs(text: str) -> dict[str, str]:
    """Return the entries of a numpydoc section, each under the first name in it."""
    entries = re.split(r"\n(?=\S)", text.strip())
    return {re.split(r"[ ,]", entry, maxsplit=1)[0]: entry for entry in entries}


CLASSIFIER = {
    "Predict": "Classify",
    "Soup": "SoupClassifier",
    "Ensemble": "EnsembleClassifier",
    "score": "accuracy",
    "load": "load_iris",
    "least": "0.9",
}
"""Words of a classifier in a template, and of its example."""
REGRESSOR = {
    "Predict": "Predict values",
    "Soup": "SoupRegressor",
    "Ensemble": "EnsembleRegressor",
    "score": "R2",
    "load": "load_diabetes",
    "least": "0.5",
    "classes_": "",
    "class_weight": "",
}
"""The same of a regressor."""
AS_THE_NET = {
    "score": "accuracy or R2",
    "classes_": "classes_ : ndarray of shape (n_classes,)\n    The labels, in classification.",
    "in_classification": "in classification, ",
}
"""The same of an estimator that classifies or predicts values as its net does."""

EXAMPLE = """\
>>> from sklearn.datasets import {load}
>>> from skfusion import {name}
>>> X, y = {load}(return_X_y=True)
>>> {name}({arguments}random_state=0).fit(X, y).score(X, y) > {least}
True"""

GROUPS = {
    "training": "{memory}\n{random_state}\n{verbose}",
    "parallel_training": "{memory}\n{n_jobs}\n{random_state}\n{verbose}",
    "fitted_ensemble": "{pool_}\n{estimators_}\n{classes_}",
    "alignment_": "{symmetry_}\n{alignments_}",
    "features_": "{n_features_in_}\n{feature_names_in_}",
    "data_of_fit": "{X}\n{y}\n{sample_weight}\n{groups}",
    "fitted": "Returns\n-------\nestimator\n    The fitted estimator.",
}
"""Entries that stand together in many docstrings."""

PARAGRAPHS = {"example": EXAMPLE, "arguments": "", "in_classification": "", **GROUPS} | paragraphs(
    """
estimator : skorch net, optional
    The network; the one for tables, as :func:`skfusion.nets.default_net` gives it, when omitted. Module classes that
    take ``n_in`` and ``n_out`` get the sizes of the data.
collect : Collector or ModelPool, optional
    Where members come from; ``Seeds(5)`` when omitted. With a pool nothing is trained, and the data given to ``fit``
    judge its members.
select : Selector, optional
    Which members to use; all when omitted.
align : Aligner, optional
    How to match the units of the members; they stay as they are when omitted. The guide says when alignment pays.
merge : Merger, optional
    How to merge the weights; ``Greedy()`` when omitted, which is never worse on the held-out rows than the best member.
repair : Repairer, optional
    How to re-estimate the statistics, such as BatchNorm's, of networks that were not trained; ``Recalibrate()`` when
    omitted.
combine : Combiner, optional
    How to combine predictions; ``Average()`` when omitted.
validation_fraction : float, default=0.2
    Share of the rows that is held out where a component scores; otherwise all rows are trained on.
cv : int, splitter or iterable, default=5
    Folds for combiners that learn from out-of-fold predictions, such as ``Stack()``; a number shuffles.
scoring : str or callable, optional
    The held-out score; {score} when omitted.
refit : bool, default=False
    Whether members are trained again on all rows once some are chosen, or weighed, on held-out ones: those of the same
    names, with the same seeds, are fused by the same weights. It costs one more training of the members. Scores, and
    ``held_out_``, stay those of the choice. A pool as ``collect`` cannot be trained again.
memory : str or joblib.Memory, optional
    Where to cache members, so that a search over fusions trains each fold once. Needs an integer ``random_state``.
n_jobs : int, optional
    Members trained at a time; the result does not depend on it.
random_state : int or RandomState, optional
    Seed of all that is random: splits and samples of rows, initial weights, and training.
verbose : int, default=0
    1 shows how far it is, and the time left: a bar in a terminal, one output in a notebook, lines in a file.
class_weight : dict or "balanced", optional
    What a row of each class counts for in losses, {in_classification}by label, 1 for those that are not named;
    ``"balanced"`` makes all classes count alike. Only ratios matter. It weighs the losses of networks and of combiners,
    and neither scores nor statistics, and makes no repetitions. All rows count alike when omitted.
pool_ : ModelPool
    The members, as they were trained.
members_ : list of Member
    Those that predict: the selected members, without those to which the combiner has learned to give no weight.
estimator_ : skorch net
    A fitted copy of the net with the weights ``state_``.
estimators_ : list of skorch nets
    Fitted copies of the net, one for each member that predicts.
state_ : dict of Tensor
    The weights that predict.
history_ : list of dict
    The losses of the training, one dict an epoch.
symmetry_ : Symmetry or None
    The units that may change places, where members were aligned.
alignments_ : dict of Alignment or None
    How each member was aligned, by name, where members were aligned.
held_out_ : ndarray of int or None
    Positions of the held-out rows among the rows of positive weight.
classes_ : ndarray of shape (n_classes,)
    The labels.
n_features_in_ : int
    Features in ``fit``.
feature_names_in_ : ndarray of str
    Names of the features, where X had some.
X : array-like of shape (n_samples, ...), or dict of array-like
    Inputs. A dict names the arguments of the module's ``forward``; its integer arrays stay integers.
y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    Targets.
sample_weight : array-like of shape (n_samples,), optional
    Non-negative weights. Whole numbers are repetitions of the row.
groups : array-like of shape (n_samples,), optional
    Rows of one group are trained on or held out together.
"""
)
