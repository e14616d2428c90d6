"""The laws that components, stores and estimators keep, as checks that anyone can run, also for other packages.

``check_component(MyMerger)`` checks a component. Its class gives the instances to check by ``_test_params``, and may be
exempt from a law by ``_test_skips``, which maps the law's name to the reason. The laws of a family are in one file,
those of several families in ``_laws_all`` and ``_laws_states``: each function whose name starts with ``check_`` is one,
and raises ``AssertionError``. To add one, write it there, and show in ``tests/testing/test_laws_bite.py`` that a broken
component breaks it. This room may import all but the command line.
"""

from skfusion.testing._check import check_component, check_estimator, check_store, checks_for, discover, instances, laws

__all__ = ["check_component", "check_estimator", "check_store", "checks_for", "discover", "instances", "laws"]
