"""Data of a fit, once for estimators, forests, searches and comparisons: validation, encoding, splits and scores.

``_validation`` makes arrays of what users pass (or leaves tables as they are, for estimators of any kind) and encodes
targets, weights and groups; ``_not_numbers`` says which inputs are text or dates, ``_not_finite`` which targets are
missing and what is infinite, and ``_class_weight`` what rows of a class count for in losses. ``_held_out`` holds rows
out, ``_folds`` makes folds, ``_scores`` has scikit-learn's scorers as functions of predictions, ``_scorers`` and
``_calibration`` what these lack for probabilities, and ``_table_columns`` prepares tables of mixed columns. ``_seeded``
seeds estimators of any library, ``_outputs`` has their predictions for all classes, and ``_both_inputs`` what such
estimators and networks are given of the same rows. All of them end in, or take, :class:`skfusion._rows.Rows`.

This room imports scikit-learn and stands below ``nets``: what needs a network stands in ``estimators.support``. Other
rooms import from here and not from its files; there is no ``__all__``, as users need none of it. To add something,
write it into the file of its kind, and add it below.
"""

from skfusion.data._both_inputs import (
    are_known_by_numbers,
    check_both_inputs,
    for_estimator,
    for_networks,
    rows_as_given,
    rows_for_networks,
    rows_to_judge,
)
from skfusion.data._calibration import brier_score, codes_and_columns, expected_calibration_error
from skfusion.data._class_weight import class_weights
from skfusion.data._folds import ALWAYS_SO, Original, crossfit_folds, folds
from skfusion.data._held_out import Fold, held_positions, hold_out
from skfusion.data._not_finite import check_columns_finite, check_targets_known
from skfusion.data._outputs import class_columns, classes_of_members, outputs_of
from skfusion.data._predictions import PredictsClasses, PredictsValues, logarithms
from skfusion.data._scorers import get_scorer, scorer_named, scorer_names
from skfusion.data._scores import (
    Score,
    default_score,
    held_out_score,
    score_by,
    score_function,
    scorer_of,
    unseen_classes,
)
from skfusion.data._seeded import seeded
from skfusion.data._table_columns import EmptyAsZero, TableColumns, as_numbers, as_text
from skfusion.data._validation import (
    check_given,
    check_inputs,
    check_table,
    check_targets,
    check_weight,
    columns_of,
    encode_classes,
    encode_values,
    encoded_rows,
    groups_of,
    positive,
    table,
    table_inputs,
    warn_of_unlabelled,
)
