"""Federated learning: clients train on rows that stay with them, and a server fuses their networks round by round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from skfusion import nets
from skfusion._component import Component
from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.align import Aligner
from skfusion.data import held_out_score, scorer_named
from skfusion.estimators._base import as_networks_learn
from skfusion.estimators._targets import Classifies, OfNetworks, OneState, Regresses
from skfusion.estimators.federated._clients import Client, clients_of, parts_of, warn_of_copies
from skfusion.estimators.federated._server import Parts, Score, Server
from skfusion.estimators.federated._training import Training
from skfusion.estimators.support._widths import ANY_WIDTH
from skfusion.merge import Merger, ServerOptimizer
from skfusion.pool import ModelPool
from skfusion.repair import Recalibrate, Repairer
from skfusion.state import State, n_parameters

_KINDS: dict[str, tuple[type, str]] = {
    "fuse": (Merger, "a Merger, such as PFNM() or FedMA()"),
    "align": (Aligner, "an Aligner, such as WeightMatching()"),
    "server": (ServerOptimizer, "a ServerOptimizer, such as FedAdam()"),
    "repair": (Repairer, "a Repairer, such as Recalibrate()"),
}


@template
@dataclass(eq=False, repr=False)
class _Federated(OneState, OfNetworks, BaseEstimator):
    """{Predict} with a network that clients train on rows which stay with them (federated learning).

    In each round a server gives its network to clients, each trains it on its own rows, and the server fuses what they
    return: by the mean of their weights, by their rows (FedAvg), unless ``fuse`` says otherwise. The clients are the
    ``groups`` of ``fit``.

    Parameters
    ----------
    estimator : skorch net, optional
        The network; :func:`skfusion.nets.{net}` when omitted. It may hold rows out by its ``train_split``, stop early,
        and so on: each client does so on its own rows, and begins anew in each round.
    fuse : Merger, optional
        How networks are fused; the mean by their rows when omitted, which is FedAvg. :class:`~skfusion.merge.PFNM` and
        :class:`~skfusion.merge.FedMA` match units, and may return a wider network, which the next round goes on with;
        clients retrain after each layer of FedMA. A merger that chooses asks for a ``validation_fraction``.
    align : Aligner, optional
        How to match the units of clients before they are fused, to those of the network that the round began with; they
        stay as they are when omitted.
    server : ServerOptimizer, optional
        How the server goes on from round to round: :class:`~skfusion.merge.FedAvgM`,
        :class:`~skfusion.merge.FedAdam`, :class:`~skfusion.merge.FedYogi`. It takes what clients are fused to when
        omitted.
    repair : Repairer, optional
        How to re-estimate the statistics, such as BatchNorm's; ``Recalibrate()`` when omitted.
    n_rounds : int, default=10
        How often the server asks clients.
    local_epochs : int, default=5
        Epochs that a client trains in a round. More save rounds, and let clients drift apart where their rows differ.
    client_fraction : float, default=1.0
        Share of the clients that are drawn for a round, one at least.
    n_clients : int, default=5
        Clients among which rows are divided at random, where ``fit`` gets no ``groups``; copies of a row stay together.
    common_start : bool, default=True
        Whether all clients begin the first round with the same weights. Without, each draws its own, and units have to
        be matched; with ``n_rounds=1`` that is one-shot fusion.
    validation_fraction : float, optional
        Share of its rows that each client holds out, by which ``history_`` has scores. None are held out when omitted,
        but a fifth where ``fuse`` or ``align`` chooses by a score. A client does not know of copies of its rows at
        others, which make these scores too good; there is a warning.
    {scoring}
    vectorize : {"auto", True, False}, default="auto"
        Train clients that have equally many rows together, as one network with a member axis: the same members to
        rounding, many times sooner where networks are small. True also where it is not sooner.
    {n_jobs}
    {random_state}

    Attributes
    ----------
    clients_ : list
        The name of each client: its value in ``groups``, or its number.
    client_weights_ : dict
        What the rows of a client that it trains on count for, by name.
    pool_ : ModelPool
        The networks of the clients in the last round, as they were trained: of the widths that the server's had before
        this round, where PFNM or FedMA have changed them since.
    history_ : list of dict
        Of each round its number from 1, the ``"clients"`` that took part, the mean ``"train_loss"`` of their last
        epochs, ``"n_parameters"``, and with held-out rows the ``"score"`` and the ``"scores"`` by client.
    {estimator_}
    {state_}
    {classes_}
    {features_}

    Notes
    -----
    Rows stay with their client. What leaves it: the weights of its network after each training; how many rows it has,
    or what they count for, by class in classification; its labels, as all clients have the outputs of all classes; its
    mean loss in training; before the first round the mean and the variance of its inputs, and of its targets where
    these are values, by which a module that takes ``scaling`` standardises for all clients alike (and, of targets far
    from zero, their largest size); sums over its rows where ``align``, ``fuse`` or ``repair`` ask for data, and scores.
    Nothing is encrypted, and no noise is added.

    Logits of classes that a client lacks are not masked: its loss is that of all classes, so that it unlearns those
    until the server averages. Where classes are very uneven, fewer ``local_epochs`` and more rounds help.

    An optimiser begins anew in each round, and so do schedules of its rate. A client that diverges is left out of the
    round, with a warning.

    References
    ----------
    McMahan, Moore, Ramage, Hampson and Agüera y Arcas, "Communication-efficient learning of deep networks from
    decentralized data", AISTATS 2017, arXiv:1602.05629.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import {load}
    >>> from skfusion import {name}
    >>> X, y = {load}(return_X_y=True)
    >>> hospital = np.arange(len(y)) % 3
    >>> federated = {name}(n_rounds=5, random_state=0).fit(X, y, groups=hospital)
    >>> federated.clients_
    [0, 1, 2]
    >>> federated.score(X, y) > {least}
    True
    """

    estimator: Any = None
    _: KW_ONLY
    fuse: Any = None
    align: Any = None
    server: Any = None
    repair: Any = None
    n_rounds: int = 10
    local_epochs: int = 5
    client_fraction: float = 1.0
    n_clients: int = 5
    common_start: bool = True
    validation_fraction: float | None = None
    scoring: Any = None
    vectorize: Any = "auto"
    n_jobs: int | None = None
    random_state: Any = None

    @doc()
    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> _Federated:
        """Let the clients train, and fuse their networks, round by round.

        Parameters
        ----------
        {X}
        {y}
        {sample_weight}
        groups : array-like of shape (n_samples,), optional
            The client of each row.

        {fitted}
        """
        self._check()
        rows = self._rows(X, y, sample_weight, groups)
        rng = check_random_state(self.random_state)
        split_seed, seed = (int(s) for s in rng.randint(np.iinfo(np.int32).max, size=2))
        parts = parts_of(rows, groups, self.n_clients, split_seed)
        unsized = self._unsized()
        clients = clients_of(parts, self._fraction(), split_seed, lambda own: as_networks_learn(unsized, own))
        warn_of_copies(rows, clients)
        net = self._net(unsized, clients, rows)
        training = Training(clients, self._n_outputs(rows), self.vectorize, self.n_jobs)
        fusion = Parts(self.align, self.fuse, Recalibrate() if self.repair is None else self.repair)
        server = Server(net, self._task, fusion, training, self._score_of)
        server.check()
        self.clients_ = [client.name for client in clients]
        self.client_weights_ = {client.name: client.weight for client in clients}
        state = self._rounds(server, clients, seed)
        self.net_, self.state_, self._runner = server.net, {k: v.cpu() for k, v in state.items()}, server.runner
        return self

    def _drawn_parts(self) -> dict[str, Any]:
        return {**super()._drawn_parts(), "repair": Recalibrate() if self.repair is None else self.repair}

    def _rounds(self, server: Server, clients: Sequence[Client], seed: int) -> State:
        """Return the state of the server after the last round."""
        rng, n = np.random.RandomState(seed), len(clients)
        seeds = np.array(draw_seeds(rng, self.n_rounds * n, "n_rounds")).reshape(self.n_rounds, n)
        state: State | None = None
        if self.common_start:
            state = nets.initial_state(server.net, clients[0].fit_rows, int(seeds[0, 0]))
        step = None
        if self.server is not None:
            names = [name for name, _ in server.runner.module.named_parameters(remove_duplicate=False)]
            step = self.server.begin(names)
        self.history_: list[dict[str, Any]] = []
        n_drawn = max(1, round(self.client_fraction * n))
        for number, of_round in enumerate(seeds.tolist(), start=1):
            who = np.sort(rng.permutation(n)[:n_drawn]).tolist()
            members = server.training(server.net, who, [state] * len(who), [of_round[k] for k in who])
            state = server.fused(members, state, dict(enumerate(of_round)), step)
            self.history_.append({"round": number, **_told(members, clients, state), **server.scores(state)})
        meta = {ANY_WIDTH: True} if server.resized else {}
        last = [member.replace(meta={**member.meta, **meta}) for member in members.values()]
        self.pool_ = self._outputs.marked(ModelPool(last, classes=self._labels()))
        return state

    def _unsized(self) -> Any:
        if self.estimator is not None:
            return self.estimator
        made = {"regression": nets.mlp_regressor}.get(self._task, nets.mlp_classifier)
        return made(multilabel=True) if self._task == "multilabel" else made()

    def _net(self, net: Any, clients: Sequence[Client], rows: Rows) -> Any:
        """Return the net, sized to what clients tell of the rows that they train on."""
        fit_rows, weights = [client.fit_rows for client in clients], [client.weight for client in clients]
        net = nets.sized_for_clients(net, fit_rows, weights, self._n_outputs(rows))
        return net.set_params(max_epochs=int(self.local_epochs))

    def _n_outputs(self, rows: Rows) -> int:
        return rows.y.shape[1] if self._task != "classification" else len(self._labels())

    def _fraction(self) -> float | None:
        chooses = any(getattr(part, "needs_labels", False) for part in (self.fuse, self.align))
        return 0.2 if self.validation_fraction is None and chooses else self.validation_fraction

    def _score_of(self, held_out: Rows) -> Score:
        judged = self._outputs.rows(held_out)
        return self._outputs.scored(held_out_score(self.scoring, self._task, judged, self._n_outputs(judged)))

    def _given_pool(self) -> None:
        return None

    def _check(self) -> None:
        """Raise where a parameter is not what it can be, before anything is trained."""
        for name, (kind, example) in _KINDS.items():
            part = getattr(self, name)
            if part is not None and not isinstance(part, kind):
                hint = f" Write {part.__name__}()." if isinstance(part, type) and issubclass(part, Component) else ""
                raise TypeError(f"{name} must be {example}; got {part!r}.{hint}")
        for name in ("n_rounds", "local_epochs", "n_clients"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}.")
        if not isinstance(self.client_fraction, Real) or not 0 < self.client_fraction <= 1:
            raise ValueError(f"client_fraction is a share, above 0 and at most 1; got {self.client_fraction!r}.")
        if not self.common_start and getattr(self.fuse, "needs_base", False):
            raise ValueError(f"{self.fuse!r} needs the common start of the clients: leave common_start at True.")
        if self.scoring is not None:
            scorer_named(self.scoring)


def _told(members: dict[int, Any], clients: Sequence[Client], state: State) -> dict[str, Any]:
    """Return what the history says of a round, beside scores."""
    losses = [member.meta["history"][-1]["train_loss"] for member in members.values()]
    weights = [clients[k].weight for k in members]
    return {
        "clients": [clients[k].name for k in members],
        "train_loss": float(np.average(losses, weights=weights)),
        "n_parameters": n_parameters(state),
    }


@doc(CLASSIFIER, net="mlp_classifier")
class FederatedClassifier(Classifies, _Federated): ...


@doc(REGRESSOR, net="mlp_regressor", least="0.4")
class FederatedRegressor(Regresses, _Federated): ...
