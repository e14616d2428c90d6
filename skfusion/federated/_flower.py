"""A strategy for Flower: the server of a federation that fuses its clients by aligners and mergers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from skfusion._numbers import is_finite
from skfusion.align import Aligner
from skfusion.merge import Merger, ServerOptimizer, ServerStep, Uniform
from skfusion.objective import Batch, ModuleObjective, Objective
from skfusion.repair import Repairer
from skfusion.state import Fused, State
from skfusion.symmetry import Symmetry
from skfusion.tracing import symmetry_of

try:
    from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
    from flwr.serverapp import Grid
    from flwr.serverapp.strategy import FedAvg
except ModuleNotFoundError as error:  # the class is there to be read about, and says what is missing when it is made
    if error.name != "flwr":
        raise
    FedAvg = object


class FusionStrategy(FedAvg):
    """Fuse the clients of a Flower federation: a strategy for ``flwr``, with any aligner and any merger.

    It samples clients, and averages their metrics, as Flower's ``FedAvg`` does. What clients return as arrays, the
    ``state_dict`` of a module, is aligned with what the server has sent, and fused.

    Parameters
    ----------
    module : nn.Module
        The architecture that clients train. It is not changed, and its weights are not read.
    example_inputs : Tensor or dict of Tensor
        Inputs of at least one row, such as zeros of the right shape; only their shape counts.
    align : Aligner, optional
        How to match the units of clients, such as :class:`~skfusion.align.WeightMatching`; they stay as they are when
        omitted.
    merge : Merger, optional
        How to merge; the mean by ``num-examples`` when omitted.
    server : ServerOptimizer, optional
        How the server goes on from round to round, such as :class:`~skfusion.merge.FedAdam`.
    objective : Objective, optional
        Data of the server, for methods that compare activations, or choose. Without, they have ``example_inputs``.
    repair : Repairer, optional
        How to re-estimate statistics, such as BatchNorm's, on the rows of ``objective``. When omitted they are merged,
        as other tensors are: the mean of those of the clients for most mergers.
    **options : dict
        Passed on to ``flwr.serverapp.strategy.FedAvg``: ``fraction_train``, ``min_train_nodes``,
        ``weighted_by_key``, ...

    Attributes
    ----------
    module_ : nn.Module
        The architecture of the present arrays, which a merger such as :class:`~skfusion.merge.PFNM` may have made
        wider.

    Notes
    -----
    A client that may be sent a wider network loads it by ``module = skfusion.widths.resized_as(module, state)`` in
    place of ``module.load_state_dict(state)``. Replies may have ``class-counts`` among their metrics, a list with the
    rows of each class, by which PFNM and FedMA weigh the last layer; of FedMA there is no retraining between layers.
    Replies that are errors are left out, as Flower does, and with a warning those whose weights are not finite. It
    needs ``flwr``: ``pip install 'skfusion[flower]'``.

    References
    ----------
    Beutel et al., "Flower: a friendly federated learning research framework", 2020, arXiv:2007.14390.

    Examples
    --------
    In a server app, ``main`` of which Flower calls with a grid::

        def main(grid, context):
            strategy = FusionStrategy(Net(), torch.zeros(1, 1, 28, 28), align=WeightMatching())
            strategy.start(grid, ArrayRecord(Net().state_dict()), num_rounds=3)
    """

    def __init__(
        self,
        module: nn.Module,
        example_inputs: Any,
        align: Aligner | None = None,
        merge: Merger | None = None,
        server: ServerOptimizer | None = None,
        objective: Objective | None = None,
        repair: Repairer | None = None,
        **options: Any,
    ):
        if FedAvg is object:
            raise ModuleNotFoundError("FusionStrategy needs flwr: pip install 'skfusion[flower]'.", name="flwr")
        super().__init__(**options)
        for name, part, kind in (
            ("align", align, Aligner),
            ("merge", merge, Merger),
            ("server", server, ServerOptimizer),
            ("repair", repair, Repairer),
        ):
            if part is not None and not isinstance(part, kind):
                raise TypeError(f"{name} must be of the class {kind.__name__}; got {part!r}.")
        if repair is not None and objective is None:
            raise ValueError(f"{repair!r} re-estimates statistics on rows of the server: give objective=.")
        self.module_, self.example_inputs = module, example_inputs
        self.align, self.merge, self.server, self.objective = align, merge, server, objective
        self.repair = repair
        self._symmetry: Symmetry | None = None
        self._step: ServerStep | None = None
        self._sent: State | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return the messages to the clients of a round, and remember what is sent to them.

        Parameters
        ----------
        server_round : int
            The number of the round, from 1.
        arrays : flwr.app.ArrayRecord
            What the server has.
        config : flwr.app.ConfigRecord
            Sent along.
        grid : flwr.serverapp.Grid
            Of the nodes.

        Returns
        -------
        iterable of flwr.app.Message
            One for each client that is drawn.
        """
        self._sent = dict(arrays.to_torch_state_dict())
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Return what the clients of a round are fused to, and their mean metrics.

        Parameters
        ----------
        server_round : int
            The number of the round, from 1.
        replies : iterable of flwr.app.Message
            What clients answer, each one record of arrays and one of metrics.

        Returns
        -------
        arrays : flwr.app.ArrayRecord or None
            The next state of the server; None where no client has answered.
        metrics : flwr.app.MetricRecord or None
            The mean of the metrics by ``weighted_by_key``.
        """
        contents = [reply.content for reply in replies if not reply.has_error()]
        if not contents:
            return None, None
        metrics = [self._metrics_of(content) for content in contents]
        states = [dict(next(iter(content.array_records.values())).to_torch_state_dict()) for content in contents]
        finite = [k for k, state in enumerate(states) if all(is_finite(t) for t in state.values())]
        if len(finite) < len(states):
            warnings.warn(
                f"{len(states) - len(finite)} of {len(states)} clients return weights that are NaN or infinite, and "
                "are left out of the round.",
                stacklevel=2,
            )
            contents, metrics, states = ([part[k] for k in finite] for part in (contents, metrics, states))
            if not states:
                return None, None
        return ArrayRecord(self._fused(states, metrics)), self.train_metrics_aggr_fn(contents, self.weighted_by_key)

    def _metrics_of(self, content: Any) -> dict[str, Any]:
        """Return what a reply says of the rows of its client, as mergers know it."""
        if len(content.array_records) != 1 or len(content.metric_records) != 1:
            raise ValueError(
                f"A reply must have one ArrayRecord and one MetricRecord; got {len(content.array_records)} and "
                f"{len(content.metric_records)}."
            )
        metrics = next(iter(content.metric_records.values()))
        if self.weighted_by_key not in metrics:
            raise ValueError(
                f"A reply has no metric {self.weighted_by_key!r}, by which clients count; it has {[*metrics]}."
            )
        return {"n_rows": float(metrics[self.weighted_by_key]), "class_counts": metrics.get("class-counts")}

    def _fused(self, states: Sequence[State], metas: Sequence[dict[str, Any]]) -> State:
        objective = self.objective or ModuleObjective(self.module_, self._example)
        if self.align is not None:
            states = self._aligned(states, objective)
        merge = Uniform([m["n_rows"] for m in metas]) if self.merge is None else self.merge.for_members(metas)
        merged = merge(states, self._sent, objective)
        if isinstance(merged, Fused):
            merged, module = merged
            if module is not None:
                self.module_, self._symmetry = module, None
        if self.server is not None and self._sent is not None:
            if self._step is None:
                names = [name for name, _ in self.module_.named_parameters(remove_duplicate=False)]
                self._step = self.server.begin(names)
            merged = self._step(self._sent, merged)
        return merged if self.repair is None else self.repair(merged, [], objective)

    def _aligned(self, states: Sequence[State], objective: Objective) -> list[State]:
        """Return the states with their units matched to those of what was sent."""
        if self._symmetry is None and self.align.needs_symmetry:
            self._symmetry = symmetry_of(self.module_, self.example_inputs)
        before = [] if self._sent is None else [self._sent]
        alignments = self.align.align_all([*before, *states], self._symmetry, objective)[len(before) :]
        return [alignment.apply(state) for alignment, state in zip(alignments, states, strict=True)]

    def _example(self) -> list[Batch]:
        x = self.example_inputs
        n = len(next(iter(x.values())) if isinstance(x, dict) else x)
        return [Batch(x, torch.zeros(n, dtype=torch.long))]
