"""Importers make members of networks that were trained elsewhere.

One file for each origin: fitted nets and estimators (`_from_estimators`), checkpoints (`_from_files`, and
`_from_checkpoints` for those of other libraries), searches of scikit-learn (`_from_search`) and studies of Optuna
(`_from_study`), whose fits were kept while they ran (`_kept`, `_member_of`). They return the parts of a pool (members,
base, classes), for `ModelPool` stands above this room; they may import `checkpoints` and what is below, and neither
scikit-learn nor skorch nor Optuna. A new origin is a file here and a class method in `_sources`.
"""

from skfusion.pool._marks import marks_of
from skfusion.pool.importers._from_checkpoints import from_checkpoints
from skfusion.pool.importers._from_estimators import from_estimators
from skfusion.pool.importers._from_files import from_files
from skfusion.pool.importers._from_search import from_search
from skfusion.pool.importers._from_study import from_study, name_of_trial
from skfusion.pool.importers._kept import opened
from skfusion.pool.importers._member_of import digest_of_state, labels_of, member_of, part_of, plain, start_of

__all__ = ["from_checkpoints", "from_estimators", "from_files", "from_search", "from_study"]
