"""The members of a pool, each in the net that it was trained with."""

from __future__ import annotations

from typing import Any

from skfusion._rows import Rows, Task
from skfusion.nets import Predictors, Runner
from skfusion.pool import ModelPool


def lineups_of(pool: ModelPool, net: Any, task: Task, rows: Rows) -> Predictors:
    """Return the members of a pool, ready to predict; those that carry no net run in the one that is given."""
    used = {id(m.net): m.net or net for m in pool}
    made = {key: Runner(its, task, rows) for key, its in used.items()}
    runners = [made[id(m.net)] for m in pool]
    return Predictors(runners, [runner.on_device(m.state) for runner, m in zip(runners, pool, strict=True)])
