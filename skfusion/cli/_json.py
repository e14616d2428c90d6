"""A comparison as values for JSON, for programs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from skfusion.cli._report import versions
from skfusion.cli._table import Data

ELSEWHERE = ("data", "target", "as_json", "quiet", "out")
"""Options that a record names elsewhere, or that do not change the result."""


def record(
    table: pd.DataFrame,
    dataset: Data,
    baselines: Collection[str],
    notes: Sequence[str],
    warnings: Sequence[str],
    best_fusion: str | None,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Return the result of ``compare_fusions`` with all that it depends on.

    ``best`` is the row with the largest mean of the first score, which may be a baseline; ``best_fusion`` never is.
    """
    means = table[f"{table.attrs['scores'][0]}_mean"]
    attrs = {name: value for name, value in table.attrs.items() if name not in ("folds", "random_state")}
    return {
        "data": {"name": dataset.name, "task": dataset.task, "target": options["target"]},
        "options": {name: value for name, value in options.items() if name not in ELSEWHERE},
        "seed": table.attrs["random_state"],
        **attrs,
        "best": None if means.isna().all() else means.idxmax(),
        "best_fusion": best_fusion,
        "fusions": [
            {**row, "is_baseline": row["fusion"] in baselines} for row in table.reset_index().to_dict("records")
        ],
        "folds": table.attrs["folds"].to_dict("records"),
        "notes": list(notes),
        "warnings": list(warnings),
        "versions": versions(),
    }
