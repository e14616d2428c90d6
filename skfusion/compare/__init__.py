"""Compare fusions by cross-validation, on pools of members that they share.

This room may import ``estimators`` and all that is below it. ``_fold`` fits and scores all fusions on one fold,
``_measures`` has what is measured beside the scores (add a measure there, and its column to ``_table``), ``_splits``
makes the folds.
"""

from skfusion.compare._calibration import expected_calibration_error
from skfusion.compare._compare import compare_fusions

__all__ = ["compare_fusions", "expected_calibration_error"]
