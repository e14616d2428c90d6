"""Model reuse: pools of models with specifications of what they were trained on, and the search for those that fit.

A provider publishes a model with a :class:`Specification`, a few weighted points in the place of the training inputs;
`_kernel`, `_reduce` and `_simplex_program` make it. A :class:`ReusePool` (`_pool`) holds such offers (`_offer`,
`_offered`, `_features`, `_estimator_outputs`, `_storage`), and a :class:`Search` (`_base`) finds those that fit a new
task: by distance, `_single_mmd`, `_mixture_mmd` and `_all_mixture_mmd`, or on labelled rows, by the scores in
`transferability`. A :class:`Reuser` (`_reuser`) makes one predictor of them: `_route` with `_herding`,
`_average_found`, `_on_outputs`, `_fine_tune`, or `_as_found`, which does as the search says. The room may import
`nets`, `data` and what is below them. A new search is a subclass of :class:`Search`, and a new way to reuse models one
of :class:`Reuser`, each in a file of its own.
"""

from skfusion.reuse._all_mixture_mmd import AllMixtureMMD
from skfusion.reuse._as_found import AsFound
from skfusion.reuse._average_found import AverageFound
from skfusion.reuse._base import Found, Search
from skfusion.reuse._estimator_outputs import for_classes as for_classes
from skfusion.reuse._estimator_outputs import task_outputs as task_outputs
from skfusion.reuse._fine_tune import FineTune
from skfusion.reuse._herding import herd
from skfusion.reuse._mixture_mmd import MixtureMMD
from skfusion.reuse._offer import Offer
from skfusion.reuse._on_outputs import Probe, StackFound
from skfusion.reuse._pool import ReusePool
from skfusion.reuse._reuser import Reuser
from skfusion.reuse._route import Route
from skfusion.reuse._single_mmd import SingleMMD
from skfusion.reuse._specification import Specification
from skfusion.reuse.transferability import LEEP, NCE, HScore, LogME, RegularizedHScore, TransRate

__all__ = [
    "LEEP",
    "NCE",
    "AllMixtureMMD",
    "AsFound",
    "AverageFound",
    "FineTune",
    "Found",
    "HScore",
    "LogME",
    "MixtureMMD",
    "Offer",
    "Probe",
    "RegularizedHScore",
    "ReusePool",
    "Reuser",
    "Route",
    "Search",
    "SingleMMD",
    "Specification",
    "StackFound",
    "TransRate",
    "herd",
]
