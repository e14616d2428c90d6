"""Importers make members of networks that were trained elsewhere.

One file for each origin: fitted nets and estimators (`_from_estimators`), checkpoints (`_from_files`). They return the
parts of a pool (members, base, classes), for `ModelPool` stands above this room; they may import `checkpoints` and what
is below, and neither scikit-learn nor skorch. A new origin is a file here and a class method in `_sources`.
"""

from skfusion.pool.importers._from_estimators import from_estimators
from skfusion.pool.importers._from_files import from_files

__all__ = ["from_estimators", "from_files"]
