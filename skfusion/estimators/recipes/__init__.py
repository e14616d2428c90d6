"""Recipes: well-known fusions under the names that users look for, each a sentence made of components.

A recipe is a dataclass: its fields are flat parameters, of which the ``__init__`` is made that scikit-learn reads, and
its properties are the components that they stand for. A classifier and a regressor share it, and ``@doc`` fills their
docstrings. It may import the drivers of `skfusion.estimators` and what those may import. To add one, copy
``_snapshot_ensemble.py``, and list its names in ``skfusion/estimators/__init__.py``. A new method is a component; it is
a recipe as well only where users would look for a class of its name.
"""
