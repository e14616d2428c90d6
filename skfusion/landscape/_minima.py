"""Paths of low loss between many networks, and the passes between them (Draxler et al., 2018)."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import combinations, pairwise

import numpy as np

from skfusion._caller import warn_caller
from skfusion.connect import AutoNEB, Connector, Path
from skfusion.landscape._losses import loss_at
from skfusion.landscape._profile import Profile, loss_along, segment
from skfusion.landscape._spanning_tree import Edge, reached, spanning_tree
from skfusion.objective import Objective
from skfusion.repair import Repairer
from skfusion.state import State, check_compatible


@dataclass(frozen=True, eq=False)
class MinimaGraph:
    """Networks, and paths of low loss between some of them.

    The saddle of a path is the highest loss on it. Between any two networks, the way with the lowest highest saddle
    runs along the minimum spanning tree of the saddles.

    Parameters
    ----------
    losses : dict of float
        The loss of each network.
    profiles : dict of Profile
        Loss and score along each path that was found, by the names of the two networks.
    paths : dict of Path, optional
        The paths themselves.
    failed : dict of str, optional
        Why there is no path between other two that were tried.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.landscape import MinimaGraph, Profile
    >>> t = np.array([0.0, 0.5, 1.0])
    >>> saddles = {("a", "b"): 1.0, ("b", "c"): 2.0, ("a", "c"): 3.0}
    >>> profiles = {edge: Profile(t, np.array([0.0, s, 0.0]), t) for edge, s in saddles.items()}
    >>> graph = MinimaGraph(dict.fromkeys("abc", 0.0), profiles)
    >>> graph.route("a", "c"), graph.saddle("a", "c")
    (['a', 'b', 'c'], 2.0)
    """

    losses: Mapping[str, float]
    profiles: Mapping[Edge, Profile]
    paths: Mapping[Edge, Path] = field(default_factory=dict)
    failed: Mapping[Edge, str] = field(default_factory=dict)

    @property
    def saddles(self) -> dict[Edge, float]:
        """The highest loss on each path."""
        return {edge: float(profile.loss.max()) for edge, profile in self.profiles.items()}

    @property
    def tree(self) -> list[Edge]:
        """The paths of the minimum spanning tree of the saddles, or of one tree for each group that paths join."""
        return spanning_tree(self.saddles)

    def route(self, first: str, second: str) -> list[str]:
        """Return the networks on the way between two along which the highest saddle is lowest.

        Parameters
        ----------
        first, second : str
            Names of networks.

        Returns
        -------
        list of str
            Both ends included.

        Raises
        ------
        ValueError
            If paths do not join them.
        """
        for name in (first, second):
            if name not in self.losses:
                raise ValueError(f"There is no network {name!r}; there are {[*self.losses]}.")
        before = reached(second, self.tree)
        if first not in before:
            raise ValueError(f"No paths join {first!r} and {second!r}; the groups that they join: {self.components()}.")
        way = [first]
        while (ahead := before[way[-1]]) is not None:
            way.append(ahead)
        return way

    def saddle(self, first: str, second: str) -> float:
        """Return the highest loss on the way between two networks; see :meth:`MinimaGraph.route`.

        It is the lowest that any way along the paths has: the minimax loss.
        """
        way = self.route(first, second)
        saddles = self.saddles
        passed = [saddles[(a, b) if (a, b) in saddles else (b, a)] for a, b in pairwise(way)]
        return max([*passed, *(self.losses[name] for name in way)])

    def components(self, level: float = math.inf) -> list[list[str]]:
        """Return the groups of networks that paths join.

        Parameters
        ----------
        level : float, default=inf
            Only paths on which the loss does not rise above it count.

        Returns
        -------
        list of list of str
            One group where all are joined.
        """
        edges = [edge for edge, saddle in self.saddles.items() if saddle <= level]
        groups = dict.fromkeys(tuple(sorted(reached(name, edges), key=[*self.losses].index)) for name in self.losses)
        return [[*group] for group in groups]


def join_minima(
    states: Mapping[str, State],
    objective: Objective,
    connect: Connector | None = None,
    *,
    n_paths: int | None = None,
    n_points: int = 61,
    repair: Repairer | None = None,
) -> MinimaGraph:
    """Join networks by paths of low loss, until the highest pass of their spanning tree cannot be lowered.

    First all are joined: the lowest that is not yet joined is joined to the lowest of all. Then the worst path of the
    minimum spanning tree of saddles is taken away, and one more pair is tried across the gap, of those that are not
    tried yet the one with the lowest highest loss on the straight line; until none is left across the gap of the worst
    path.

    Parameters
    ----------
    states : dict of State
        Networks of one architecture by name, two or more.
    objective : Objective
        Architecture, data to train paths on, and what states are judged by.
    connect : Connector, optional
        How to join two networks; ``AutoNEB()`` when omitted.
    n_paths : int, optional
        Most paths to train. The last ones improve the tree; K networks need K - 1.
    n_points : int, default=61
        Positions of each path at which the loss is taken. More find narrower passes.
    repair : Repairer, optional
        Applied to every inner point; BatchNorm statistics are recalibrated when omitted.

    Returns
    -------
    MinimaGraph
        All paths that were trained. Pairs that could not be joined are named in a warning, and in ``failed``.

    Raises
    ------
    ValueError
        If no two networks could be joined.

    Notes
    -----
    Between K - 1 and K (K - 1) / 2 paths are trained, most often about 2 K, and all K (K - 1) / 2 straight lines are
    evaluated. Connectors train the points between the networks, which may come to be lower than networks that are not
    trained to the end are; then the higher network is the highest point of the path.

    References
    ----------
    Draxler et al., "Essentially no barriers in neural network energy landscape", ICML 2018, arXiv:1803.00885.

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import Line
    >>> from skfusion.landscape import join_minima
    >>> from skfusion.objective import ModuleObjective
    >>> def loss(state):
    ...     return torch.cos(3.14159265 * state["weight"]).item() + 1
    >>> data = ModuleObjective(torch.nn.Linear(1, 1, bias=False), lambda: [], loss, lambda s: -loss(s))
    >>> states = {str(w): {"weight": torch.tensor([[w]])} for w in (1.0, 3.0, 5.0)}
    >>> graph = join_minima(states, data, Line())
    >>> graph.tree, round(graph.saddle("1.0", "5.0"), 3)
    ([('1.0', '3.0'), ('1.0', '5.0')], 2.0)
    """
    if len(states) < 2:
        raise ValueError(f"A spanning tree joins two networks or more; got {len(states)}: {[*states]}.")
    if n_paths is not None and n_paths < 1:
        raise ValueError(f"n_paths must be at least 1, or None; got {n_paths!r}.")
    connect = AutoNEB() if connect is None else connect
    connect.check()
    check_compatible([*states.values()], [*states])
    search = _Search(states, objective, n_points, repair)
    while len(search.tried) < (math.inf if n_paths is None else n_paths) and (pair := search.next_pair()):
        search.join(pair, connect)
    return search.graph()


class _Search:
    """What is known of the paths between some networks, and which pair is tried next."""

    def __init__(self, states: Mapping[str, State], objective: Objective, n_points: int, repair: Repairer | None):
        self.states, self.objective, self.how = states, objective, (n_points, repair)
        places = np.linspace(0.0, 1.0, n_points).tolist()
        lines = {e: loss_at(self._line(e), places, objective, repair).loss for e in combinations(states, 2)}
        self.guess = {edge: float(np.nan_to_num(loss, nan=math.inf).max()) for edge, loss in lines.items()}
        ends = {name: float(loss[k]) for edge, loss in lines.items() for name, k in zip(edge, (0, -1), strict=True)}
        self.losses = {name: ends[name] for name in states}
        self.profiles: dict[Edge, Profile] = {}
        self.paths: dict[Edge, Path] = {}
        self.failed: dict[Edge, str] = {}

    @property
    def tried(self) -> list[Edge]:
        """The pairs between which a path was looked for."""
        return [*self.profiles, *self.failed]

    def graph(self) -> MinimaGraph:
        """Return what is known, in the order of the networks."""
        order = [edge for edge in self.guess if edge in self.profiles]
        profiles, paths = {e: self.profiles[e] for e in order}, {e: self.paths[e] for e in order}
        return MinimaGraph(self.losses, profiles, paths, self.failed)

    def join(self, edge: Edge, connect: Connector) -> None:
        """Look for a path between two networks; where that fails, keep why, unless all has failed."""
        try:
            path = connect([self.states[name] for name in edge], self.objective)
            if not isinstance(path, Path):
                raise TypeError(f"{connect!r} gives a {type(path).__name__}; a spanning tree is made of paths.")
            self.profiles[edge] = loss_along(path, self.objective, *self.how)
            self.paths[edge] = path
        except ValueError as error:
            self.failed[edge] = str(error)
            if len(self.failed) == len(self.guess):
                raise
            warn_caller(f"There is no path between {edge[0]!r} and {edge[1]!r}, which are left apart: {error}")

    def next_pair(self) -> Edge | None:
        """Return the pair to try next, if one is left that may lower the highest pass."""
        groups = self.graph().components()
        if len(groups) > 1:
            best = min(self.losses, key=self._height)
            group = next(g for g in groups if best in g)
            outside = sorted((name for name in self.losses if name not in group), key=self._height)
            for name in outside:
                if pair := self._cheapest([best], [name]) or self._cheapest(group, [name]):
                    return pair
        graph = self.graph()
        tree, saddles = graph.tree, graph.saddles
        if not tree:
            return self._cheapest([*self.losses], [*self.losses])
        worst = max(tree, key=saddles.__getitem__)
        rest = [edge for edge in tree if edge != worst]
        return self._cheapest(reached(worst[0], rest), reached(worst[1], rest))

    def _height(self, name: str) -> float:
        return math.inf if math.isnan(self.losses[name]) else self.losses[name]

    def _cheapest(self, some: Collection[str], others: Collection[str]) -> Edge | None:
        """Return the untried pair across a gap that has the lowest straight line."""
        across = [e for e in self.guess if (e[0] in some and e[1] in others) or (e[1] in some and e[0] in others)]
        left = [edge for edge in across if edge not in self.profiles and edge not in self.failed]
        return min(left, key=self.guess.__getitem__, default=None)

    def _line(self, edge: Edge) -> Path:
        return segment(*(self.states[name] for name in edge))
