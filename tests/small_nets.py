"""Networks that train in a moment: functions that make them, with the defaults that a test file shares."""

from functools import partial

from skfusion.nets import mlp_classifier, mlp_regressor


def small_nets(**params):
    """Return functions that make a classifier and a regressor of these parameters, which a call may replace."""
    return partial(mlp_classifier, **params), partial(mlp_regressor, **params)
