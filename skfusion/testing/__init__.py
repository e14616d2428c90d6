"""The laws that components, stores and estimators keep, as checks that anyone can run on their own.

A component of another package is checked by ``check_component(MyMerger)``. Its class gives the instances to check by
``_test_params``, and may be exempt from a law by ``_test_skips``, which maps the law's name to the reason.
"""

from skfusion.testing._check import check_component, check_estimator, check_store, checks_for, instances, laws
from skfusion.testing._discover import discover

__all__ = ["check_component", "check_estimator", "check_store", "checks_for", "discover", "instances", "laws"]
