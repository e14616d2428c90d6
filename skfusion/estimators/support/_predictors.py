"""The members of a pool, ready to predict, each in the net that it was trained with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from skfusion._rows import Rows, Task
from skfusion.nets import Predictors, Runner
from skfusion.pool import Member


def runners_of(members: Iterable[Member], task: Task, rows: Rows, net: Any = None) -> list[Runner]:
    """Return the runner of each member, one for each net; members that carry none run in ``net``."""
    by_net: dict[int, Runner] = {}
    runners = []
    for member in members:
        used = member.net or net
        if id(used) not in by_net:
            by_net[id(used)] = Runner(used, task, rows)
        by_net[id(used)].place(member.state)  # raises where they do not fit
        runners.append(by_net[id(used)])
    return runners


def predictors(members: Iterable[Member], runners: Sequence[Runner]) -> Predictors:
    """Return the members as one object that predicts with all of them."""
    return Predictors(runners, [r.on_device(m.state) for r, m in zip(runners, members, strict=True)])
