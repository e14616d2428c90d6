"""Train the clients of a round, each on its own rows: those of equally many rows as one program, others in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skfusion._caller import warn_caller
from skfusion._rows import Rows
from skfusion.collect import Run, train
from skfusion.estimators.federated._clients import Client, joined
from skfusion.nets import DivergedError
from skfusion.pool import Member
from skfusion.state import State


class Training:
    """Trains clients from states that a server gives them.

    The rows of all clients stand in one array, as a program for many networks takes them; no run sees rows of another.
    """

    def __init__(self, clients: Sequence[Client], n_outputs: int, vectorize: Any, n_jobs: int | None):
        self.clients, self.vectorize, self.n_jobs = clients, vectorize, n_jobs
        self.rows: Rows
        self.rows, self.places = joined([client.fit_rows for client in clients])
        self.metas = [{"n_rows": c.weight, "class_counts": c.class_counts(n_outputs)} for c in clients]

    def __call__(
        self, net: Any, who: Sequence[int], states: Sequence[State | None], seeds: Sequence[int]
    ) -> dict[int, Member]:
        """Return the trained member of each client; one that has diverged is left out, with a warning."""
        runs: dict[int, list[tuple[int, Run]]] = {}
        for k, state, seed in zip(who, states, seeds, strict=True):
            run = Run(str(self.clients[k].name), seed, self.places[k], state=state, meta=self.metas[k])
            runs.setdefault(len(self.places[k]), []).append((k, run))
        trained: dict[int, Member] = {}
        failures: list[DivergedError] = []
        for alike in runs.values():
            try:
                pool = train(net, self.rows, [run for _, run in alike], n_jobs=self.n_jobs, vectorize=self.vectorize)
            except DivergedError as error:
                failures.append(error)
                pool = error.pool or ()
            by_name = {member.name: member for member in pool}
            trained |= {k: by_name[run.name] for k, run in alike if run.name in by_name}
        if failures and not trained:
            raise failures[0]
        for error in failures:
            warn_caller(f"A client is left out of a round: {str(error).partition(' The ')[0]}")
        return {k: trained[k] for k in who if k in trained}
