"""scikit-learn's own checks as test cases: all of them for one instance of each driver, some for every other estimator.

The rest is marked slow, and is run by ``make test-slow``: recipes and further instances share the code of their driver,
so what they can break by themselves is their signature, and what they keep of a fit.
"""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

SMOKE = {
    "check_do_not_raise_errors_in_init_or_set_param",
    "check_dont_overwrite_attributes",
    "check_estimator_cloneable",
    "check_estimators_pickle",
    "check_fit_score_takes_y",
    "check_no_attributes_set_in_init",
}


def cases(estimators, drivers):
    """Yield every check of every estimator, under names that are the same in every process.

    ``estimators`` maps names to instances; those of ``drivers`` are checked in full by the ordinary tests.
    """
    for name, estimator in estimators.items():
        for instance, check in estimator_checks_generator(estimator):
            check_name = getattr(check, "func", check).__name__
            marks = [] if name in drivers or check_name in SMOKE else [pytest.mark.slow]
            yield pytest.param(instance, check, id=f"{name}-{check_name}", marks=marks)
