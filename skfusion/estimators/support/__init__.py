"""Parts that several estimators share: members and their outputs, out-of-fold predictions, caching, progress.

A file here may import ``nets`` and all that is below, and the drivers in ``estimators``; what needs no network belongs
in ``skfusion.data``. The names below, of files that import no driver, are offered to ``tuning`` and ``compare``, which
fit estimators of any kind on the folds of a search or a comparison, and to ``evaluate``; users need none of them.
"""

from skfusion.estimators.support._alignment import align_members
from skfusion.estimators.support._any_estimator import repeats, split_pipeline, stream, taken, transformed
from skfusion.estimators.support._any_kind import all_networks, predicts_values
from skfusion.estimators.support._cache import SharedPools, fit_on_shared
from skfusion.estimators.support._curve_segment import InUnit, in_loss_units
from skfusion.estimators.support._progress import asks_for_bar, begin_fit
