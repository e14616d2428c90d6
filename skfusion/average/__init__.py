"""Averages: which states of one run become one, while it trains, in a bounded number of copies.

``_mean`` has equal weights after a burn-in (SWA, tail averaging, Polyak averaging), ``_ema`` exponential ones,
``_latest`` the latest states (LAWA), ``_power_ema`` a power of time (post-hoc EMA), ``_dense`` every step of a valley
of the validation loss (SWAD), and ``_low_precision`` late states of weights of few bits (SWALP). A collector,
:class:`skfusion.collect.Averages`, and a callback for skorch feed them. This room imports torch, NumPy and ``state``.
To add an average, write one file with a subclass of :class:`Average` and one of :class:`Running`, and its test, and
export it here; a law asks that the average of a run is that of its stored trajectory.
"""

from skfusion._power_profile import exponent_of
from skfusion.average._base import Accumulator, Average, Running
from skfusion.average._dense import Dense
from skfusion.average._ema import EMA
from skfusion.average._latest import Latest
from skfusion.average._low_precision import LowPrecision
from skfusion.average._mean import Mean, burn_in_of, check_burn_in
from skfusion.average._power_ema import PowerEMA

__all__ = ["EMA", "Average", "Dense", "Latest", "LowPrecision", "Mean", "PowerEMA", "Running"]
