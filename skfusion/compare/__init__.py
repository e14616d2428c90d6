"""Compare fusions by cross-validation, on pools of members that they share.

``_compare`` is the function; ``_fusions`` reads what is to be compared, ``_splits`` makes the folds, ``_fold`` fits and
scores all fusions on one of them, ``_table`` has what is measured beside the scores, and the means with their
intervals, ``_differences`` the paired tests, ``_bar`` how
far it is, and ``_baselines`` scikit-learn's estimators to be beaten. This room may
import ``evaluate``, ``estimators`` and all that is below them. To add a column, write a function in ``_table``, and
name its column there.
"""

from skfusion.compare._bar import ComparisonBar
from skfusion.compare._compare import compare_fusions
from skfusion.compare._differences import of_few_folds, simultaneous
from skfusion.data import expected_calibration_error, get_scorer

__all__ = ["compare_fusions", "expected_calibration_error", "get_scorer"]
