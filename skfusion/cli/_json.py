"""A comparison as JSON, for programs."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from skfusion.cli._plain import plain
from skfusion.cli._report import versions
from skfusion.cli._table import Data


def as_json(
    table: pd.DataFrame,
    dataset: Data,
    baselines: Collection[str],
    notes: Sequence[str],
    warnings: Sequence[str],
    best_fusion: str | None,
    options: dict[str, Any],
) -> str:
    """Return the result of ``compare_fusions`` with all that it depends on; what is no finite number is null.

    ``best`` is the row with the largest mean of the first score, which may be a baseline; ``best_fusion`` never is.
    """
    means = table[f"{table.attrs['scores'][0]}_mean"]
    attrs = {name: value for name, value in table.attrs.items() if name not in ("folds", "random_state")}
    result = {
        "data": {"name": dataset.name, "task": dataset.task, "target": options["target"]},
        "options": {name: value for name, value in options.items() if name not in ("data", "target", "as_json", "out")},
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
    return json.dumps(plain(result), indent=2, allow_nan=False, ensure_ascii=False)
