"""The server of a federation: what it fuses clients to, and how it asks them to judge that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from skfusion import nets
from skfusion._rows import Rows, Task
from skfusion.align import Aligner
from skfusion.estimators._soup import Repaired
from skfusion.estimators.federated._clients import Client, joined
from skfusion.estimators.federated._training import Training
from skfusion.estimators.support._alignment import align_members
from skfusion.merge import PFNM, FedMA, Merger, ServerStep, Uniform
from skfusion.nets import Judge, Runner
from skfusion.pool import Member, ModelPool
from skfusion.repair import Repairer, batch_norms
from skfusion.state import Fused, State

Score = Callable[[np.ndarray, Rows], float]


@dataclass(frozen=True, eq=False)
class Parts:
    """How clients are fused; ``merge`` is None for the mean by their rows."""

    align: Aligner | None
    merge: Merger | None
    repair: Repairer


class Server:
    """Fuses the members of a round, in a net that may change its width.

    ``score_of`` makes the score of predictions of the rows that one client holds out.
    """

    def __init__(self, net: Any, task: Task, parts: Parts, training: Training, score_of: Callable[[Rows], Score]):
        self.task, self.parts, self.training, self.score_of = task, parts, training, score_of
        self.reported: dict[str, Any] = {}
        self.resized = False
        self.use(net)

    def use(self, net: Any) -> None:
        """Go on with a net of another architecture."""
        self.net, self.runner = net, Runner(net, self.task, self.training.rows)
        self._judged: tuple[Sequence[int], Judge] | None = None  # kept, as most rounds have all clients

    def check(self) -> None:
        """Raise, before anything is trained, where a client cannot train the net, or its units cannot be matched."""
        single = [client.name for client in self.clients if len(client.fit_rows) == 1]
        if single and batch_norms(self.runner.module):
            raise ValueError(
                f"BatchNorm cannot train on one row, and the clients {single} have no more to train on. Leave them "
                "out, or take a net without BatchNorm."
            )
        if isinstance(self.parts.merge, (PFNM, FedMA)):
            state = self.runner.place(self.runner.module.state_dict())
            self.parts.merge([state], None, self._judge([*range(len(self.clients))]))

    @property
    def clients(self) -> Sequence[Client]:
        """All clients."""
        return self.training.clients

    def fused(
        self, members: Mapping[int, Member], start: State | None, seeds: Mapping[int, int], step: ServerStep | None
    ) -> State:
        """Return one state of the members of a round, which began with ``start`` or each with weights of its own.

        With ``step`` it is what an optimiser makes of the two. Statistics are those of the weights that it has then.
        """
        who = [*members]
        judge = self._judge(who)
        placed = [m.replace(state=self.runner.place(m.state)) for m in members.values()]
        base = None if start is None else self.runner.place(start)
        pool = self._aligned(ModelPool(placed, base), judge)
        objective = Repaired(judge, self.parts.repair, pool.states, self.reported)
        merged = self._merged(pool, objective, who, seeds)
        state, module = merged if isinstance(merged, Fused) else Fused(merged)
        others: Sequence[State] = pool.states
        if module is not None:
            self.use(nets.with_module(self.net, module))
            self.resized = True
            others, judge = [], self._judge(who)
        state = self.runner.place(state)
        if step is not None and start is not None:
            state = step(start, state)
        return self.parts.repair(state, others, judge)

    def _aligned(self, pool: ModelPool, judge: Judge) -> ModelPool:
        """Return the members with their units matched: to what they began with, or else to the first of them."""
        if self.parts.align is None:
            return pool
        whole = pool if pool.base is None else ModelPool([Member("the server", pool.base), *pool], pool.base)
        aligned, _, _ = align_members(self.parts.align, whole, self.training.rows, self.runner, judge)
        return aligned if pool.base is None else aligned[1:]

    def _merged(
        self, pool: ModelPool, objective: Repaired, who: Sequence[int], seeds: Mapping[int, int]
    ) -> State | Fused:
        merge = self.parts.merge
        metas = [self.training.metas[k] for k in who]
        if merge is None:
            return Uniform([meta["n_rows"] for meta in metas])(pool.states)
        merge = merge.for_members([{**m.meta, **meta} for m, meta in zip(pool, metas, strict=True)])
        if isinstance(merge, FedMA):
            return merge.by_layers(pool.states, objective, _Retraining(self, who, seeds))
        return merge(pool.states, pool.base, objective)

    def _judge(self, who: Sequence[int]) -> Judge:
        """Return what runs states on the rows of clients, of which sums and means leave them."""
        if self._judged is None or self._judged[0] != who:
            self._judged = who, self._new_judge(who)
        return self._judged[1]

    def _new_judge(self, who: Sequence[int]) -> Judge:
        fit_rows, places = joined([self.clients[k].fit_rows for k in who])
        holding = [self.clients[k] for k in who if self.clients[k].held_out is not None]
        if not holding:
            return Judge(self.runner, fit_rows, fit_rows).with_rows_of_members(places)
        held, bounds = joined([client.held_out for client in holding])
        scores = [self.score_of(client.held_out) for client in holding]
        shares = [_size(client.held_out) for client in holding]

        def score(P: np.ndarray, rows: Rows) -> float:
            each = [s(P[at], c.held_out) for s, at, c in zip(scores, bounds, holding, strict=True)]
            return float(np.average(each, weights=shares))

        return Judge(self.runner, fit_rows, held, score).with_rows_of_members(places)

    def scores(self, state: State) -> dict[str, Any]:
        """Return the score of a state on the rows that each client holds out, and their mean by rows."""
        holding = [client for client in self.clients if client.held_out is not None]
        if not holding:
            return {}
        each = {}
        for client in holding:
            each[client.name] = self.score_of(client.held_out)(
                self.runner.predict(state, client.held_out.X), client.held_out
            )
        shares = [_size(client.held_out) for client in holding]
        return {"score": float(np.average([*each.values()], weights=shares)), "scores": each}


class _Retraining:
    """Lets clients train what is not frozen, for :meth:`FedMA.by_layers`."""

    def __init__(self, server: Server, who: Sequence[int], seeds: Mapping[int, int]):
        self.server, self.who = server, [*who]
        self.draws = {k: np.random.RandomState(seeds[k] % 2**32) for k in who}

    def __call__(self, states: list[State], module: nn.Module, frozen: Sequence[str]) -> list[State]:
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and name not in frozen)
        net = nets.with_module(self.server.net, module)
        seeds = [int(self.draws[k].randint(np.iinfo(np.int32).max)) for k in self.who]
        trained = self.server.training(net, self.who, states, seeds)
        return [trained[k].state if k in trained else state for k, state in zip(self.who, states, strict=True)]


def _size(rows: Rows) -> float:
    return float(len(rows) if rows.weight is None else rows.weight.sum())
