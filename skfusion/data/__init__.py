"""Data of a fit, once for estimators, forests, searches and comparisons: validation, encoding, splits and scores.

``_inputs`` makes arrays of what users pass (or leaves tables as they are, for estimators of any kind), ``_targets``
encodes targets, weights and groups, ``_splits`` holds rows out and makes folds, ``_scoring`` has scikit-learn's scorers
as functions of predictions. All of them end in, or take, :class:`skfusion._rows.Rows`.

This room imports scikit-learn and stands below ``nets``: what needs a network stands in ``estimators.support``. Other
rooms import from here and not from its files; there is no ``__all__``, as users need none of it. To add something,
write it into the file of its kind, and add it below.
"""

from skfusion.data._inputs import check_inputs, columns_of, table, table_inputs
from skfusion.data._predictions import PredictsClasses, PredictsValues, logarithms
from skfusion.data._scoring import Score, default_score, score_by, score_function, scorer_named, scorer_of
from skfusion.data._splits import Fold, Original, crossfit_folds, folds, held_positions, hold_out
from skfusion.data._targets import (
    check_table,
    check_weight,
    encode_classes,
    encode_values,
    groups_of,
    positive,
    warn_of_unlabelled,
)
