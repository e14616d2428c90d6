"""The meaning of the outputs of networks: the order of classes, and the scale of values."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skfusion._rows import Rows
from skfusion.nets import standardising
from skfusion.pool import ModelPool

_KEY = "target_scale"


@dataclass(frozen=True, eq=False)
class Outputs:
    """How outputs of networks are read: columns in the order of sorted classes, values in the units of y.

    Networks, pools and rows within an estimator have the order of columns and the scale that networks are trained with.
    What users see, scores and combiners included, goes through here.

    Parameters
    ----------
    order : ndarray of int, shape (n_classes,), optional
        The column of each class, classes being sorted; None where columns stand in this order.
    shift, scale : ndarray of shape (n_outputs,), optional
        A value is the output times ``scale`` plus ``shift``, in float64; None where outputs are values.
    """

    order: np.ndarray | None = None
    shift: np.ndarray | None = None
    scale: np.ndarray | None = None

    @classmethod
    def of_classes(cls, columns: np.ndarray) -> Outputs:
        """Return how columns are read, of which the classes are given in the order of the columns."""
        order = np.argsort(columns, kind="stable")
        return cls(None if np.array_equal(order, np.arange(len(order))) else order)

    @classmethod
    def of_values(cls, y: np.ndarray, weight: np.ndarray | None, pool: ModelPool | None = None) -> Outputs:
        """Return the scale of networks that are to be trained on targets, by ``nets.standardising``, or that of a pool.

        Targets are float64, of shape (n_samples, n_outputs). Members of a pool are trained already, and have their
        scale.
        """
        scaling = standardising(y, weight)
        if pool is None:
            return cls() if scaling is None else cls(None, *scaling)
        outputs = cls._of_pool(pool)
        if outputs.scale is None and scaling is not None:
            warnings.warn(
                "The mean of the targets is so far from zero for their spread, or they are so large or small, that "
                "networks in float32 cannot tell them well apart, and the members of the pool were trained on them as "
                "they are. Members that EnsembleRegressor trains on such targets learn standardised ones.",
                stacklevel=2,
            )
        return outputs

    @classmethod
    def _of_pool(cls, pool: ModelPool) -> Outputs:
        first, *others = (m.meta.get(_KEY) for m in pool)
        for name, other in zip(pool.names[1:], others, strict=True):
            if other != first:
                raise ValueError(
                    f"Members {pool.names[0]!r} and {name!r} were trained on targets that were standardised in "
                    f"different ways: {first} and {other}. Fuse members of one fit, or combine the predictions of "
                    "these: StackingFusion(net).fuse(pool, X, y)."
                )
        if first is None:
            return cls()
        return cls(shift=np.asarray(first["shift"], np.float64), scale=np.asarray(first["scale"], np.float64))

    @property
    def scaling(self) -> tuple[list[float], list[float]] | None:
        """Shift and scale of values, where there are some."""
        return None if self.shift is None or self.scale is None else (self.shift.tolist(), self.scale.tolist())

    def columns(self, classes: np.ndarray) -> np.ndarray:
        """Return the class of each column, given the sorted classes."""
        return classes if self.order is None else classes[np.argsort(self.order)]

    def predictions(self, P: np.ndarray) -> np.ndarray:
        """Return outputs of networks, shape (..., n_outputs), as users see them."""
        if self.order is not None:
            P = P[..., self.order]
        return P if self.scale is None else P.astype(np.float64) * self.scale + self.shift

    def encoded(self, y: np.ndarray) -> np.ndarray:
        """Return codes of sorted classes, or values, as networks learn them."""
        if self.order is not None:
            return self.order[y]
        return y if self.scale is None else (y - self.shift) / self.scale

    def rows(self, rows: Rows) -> Rows:
        """Return rows with codes of sorted classes, or with values."""
        if self.order is not None:
            return replace(rows, y=np.argsort(self.order)[rows.y])
        return rows if self.scale is None else replace(rows, y=rows.y * self.scale + self.shift)

    def scored(self, score: Callable[[np.ndarray, Rows], float]) -> Callable[[np.ndarray, Rows], float]:
        """Return a score of outputs and rows as networks have them, from one of what users see."""
        if self.order is None and self.scale is None:
            return score
        return lambda P, rows: score(self.predictions(P), self.rows(rows))

    def marked(self, pool: ModelPool) -> ModelPool:
        """Return a pool whose members have the scale in their ``meta``."""
        if (scaling := self.scaling) is None:
            return pool
        meta: Mapping[str, Any] = {_KEY: dict(zip(("shift", "scale"), scaling, strict=True))}
        return pool.replace([m.replace(meta={**m.meta, **meta}) for m in pool])
