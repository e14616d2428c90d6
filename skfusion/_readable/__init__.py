"""What estimators print, and how notebooks show them: themselves with their parts, and nets by what was chosen of them.

Estimators inherit the mixins of `_printed`, which need `_diagram` for the picture of a notebook and `_shown` for
objects that show as others do. Nothing here imports scikit-learn or skorch; it may import components and what is below.
"""

from skfusion._readable._printed import HasParts, Readable

__all__ = ["HasParts", "Readable"]
