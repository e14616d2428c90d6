"""Compare fusions by cross-validation, on pools of members that they share."""

from skfusion.compare._calibration import expected_calibration_error
from skfusion.compare._compare import compare_fusions

__all__ = ["compare_fusions", "expected_calibration_error"]
