"""Fusions at the end of pipelines."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline


def split_pipeline(estimator: Any) -> tuple[Any, Any]:
    """Return the steps before the last one as a pipeline (None where there are none), and the last one."""
    if not isinstance(estimator, Pipeline):
        return None, estimator
    return (estimator[:-1] if len(estimator.steps) > 1 else None), estimator.steps[-1][1]
