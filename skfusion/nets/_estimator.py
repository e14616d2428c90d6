"""How estimators that keep networks are pickled."""

from __future__ import annotations

from typing import Any

from skfusion._arrays import to_numpy, to_torch
from skfusion._component import HasParts


class KeepsNetworks(HasParts):
    """A mixin for estimators, before their base: ``state_`` is pickled as arrays, and ``_runner`` is made again."""

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {k: to_numpy(v) if k == "state_" else v for k, v in state.items() if k != "_runner"}

    def __setstate__(self, stored: dict[str, Any]) -> None:
        super().__setstate__({k: to_torch(v) if k == "state_" else v for k, v in stored.items()})
