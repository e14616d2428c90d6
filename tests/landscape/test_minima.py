"""Graphs of minima: the lowest passes, groups that are not joined, and which pairs are tried."""

import itertools
import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from reference import neb as reference

from skfusion.connect import AutoNEB, Connector, Line, Path
from skfusion.landscape import MinimaGraph, Profile, join_minima
from skfusion.objective import ModuleObjective
from skfusion.testing import _problems as problems

T = np.array([0.0, 0.5, 1.0])


def graph_of(saddles, losses):
    profiles = {(a, b): Profile(T, np.array([losses[a], s, losses[b]]), T) for (a, b), s in saddles.items()}
    return MinimaGraph(losses, profiles)


def random_graph(rng, n):
    names = [f"m{i}" for i in range(n)]
    losses = {name: float(rng.uniform(0, 1)) for name in names}
    pairs = [pair for pair in itertools.combinations(names, 2) if rng.uniform() < 0.7]
    return graph_of({(a, b): max(losses[a], losses[b]) + float(rng.randint(0, 5)) for a, b in pairs}, losses)


def test_the_highest_loss_on_the_way_is_the_least_of_all_ways():
    rng = np.random.RandomState(0)
    n_joined = 0
    for _ in range(40):
        graph = random_graph(rng, rng.randint(2, 7))
        for a, b in itertools.permutations(graph.losses, 2):
            expected = reference.minimax(graph.saddles, a, b)
            if math.isinf(expected):
                with pytest.raises(ValueError, match="No paths join"):
                    graph.saddle(a, b)
                continue
            n_joined += 1
            assert graph.saddle(a, b) == expected
            assert graph.saddle(a, b) == graph.saddle(b, a)
            assert graph.saddle(a, b) <= graph.saddles.get((a, b), graph.saddles.get((b, a), math.inf))
            way = graph.route(a, b)
            assert (way[0], way[-1]) == (a, b)
            assert all({*step} in [{*edge} for edge in graph.tree] for step in itertools.pairwise(way))
    assert n_joined > 200


def test_a_network_is_joined_to_itself_at_its_own_loss():
    graph = graph_of({("a", "b"): 2.0}, {"a": 0.5, "b": 1.0})
    assert graph.route("a", "a") == ["a"]
    assert graph.saddle("a", "a") == 0.5


def test_groups_that_no_path_joins_are_reported():
    losses = dict.fromkeys("abcde", 0.0)
    graph = graph_of({("a", "b"): 1.0, ("c", "d"): 2.0}, losses)
    assert graph.components() == [["a", "b"], ["c", "d"], ["e"]]
    assert graph.components(level=1.5) == [["a", "b"], ["c"], ["d"], ["e"]]
    assert graph.tree == [("a", "b"), ("c", "d")]
    with pytest.raises(ValueError, match=r"No paths join 'a' and 'c'.*\[\['a', 'b'\], \['c', 'd'\], \['e'\]\]"):
        graph.route("a", "c")
    with pytest.raises(ValueError, match=r"There is no network 'z'; there are \['a', 'b', 'c', 'd', 'e'\]"):
        graph.saddle("a", "z")


# ---- the search ----------------------------------------------------------------------------------------------------


def at(x, y):
    return {"weight": torch.tensor([[float(x), float(y)]], dtype=torch.float64)}


def data_of(loss):
    def of_state(state):
        return float(loss(state["weight"][0]))

    module = torch.nn.Linear(2, 1, bias=False).double()
    return ModuleObjective(module, lambda: [], of_state, lambda state: -of_state(state))


class Watched(Line):
    """A straight line that keeps which states it is asked to join, and refuses some."""

    tried: ClassVar[list] = []

    def __call__(self, states, objective=None):
        pair = tuple(s["weight"][0, 0].item() for s in states)
        self.tried.append(pair)
        if -1.0 in pair:
            raise ValueError("The training diverged.")
        return super().__call__(states, objective)


@pytest.fixture
def watched():
    Watched.tried = []
    return Watched()


def ridge(w):
    """Low at whole numbers of the first weight, with a ridge between each two that gets higher from 0 on."""
    return torch.sin(math.pi * w[0]) ** 2 * (1 + w[0]) + 0.01 * w[0]


def test_all_are_joined_to_the_lowest_one_and_then_around_the_worst_path(watched):
    states = {name: at(x, 0) for name, x in zip("abcd", (2, 0, 1, 3), strict=True)}
    graph = join_minima(states, data_of(ridge), watched)
    assert watched.tried[:3] == [(0.0, 1.0), (2.0, 0.0), (0.0, 3.0)]  # from the lowest of those that are left
    assert [*graph.profiles] == [pair for pair in itertools.combinations("abcd", 2) if pair in graph.profiles]
    assert graph.components() == [["a", "b", "c", "d"]]
    assert [*graph.losses] == [*"abcd"]
    every = {pair: join_minima({k: states[k] for k in pair}, data_of(ridge), Line()).saddle(*pair)
             for pair in itertools.combinations("abcd", 2)}  # fmt: skip
    worst = max(graph.saddles[edge] for edge in graph.tree)
    assert worst == max(reference.minimax(every, a, b) for a, b in every)
    assert len(watched.tried) == len({*watched.tried}) <= 6
    assert all(isinstance(path, Path) for path in graph.paths.values())


def test_the_worst_path_is_replaced_where_a_way_around_it_is_lower(watched):
    """Three networks at the corners of a triangle, with a hill on the direct line from the lowest one to the third."""

    def hill(w):
        return torch.exp(-9 * ((w[0] - 1) ** 2 + w[1] ** 2)) + 0.001 * w[0] + 0.01 * w[1]

    states = {"low": at(0, 0), "aside": at(1, 2), "far": at(2, 0)}
    graph = join_minima(states, data_of(hill), watched)
    assert {*graph.profiles} == {("low", "aside"), ("low", "far"), ("aside", "far")}
    assert graph.tree == [("low", "aside"), ("aside", "far")]
    assert graph.route("low", "far") == ["low", "aside", "far"]
    assert graph.saddle("low", "far") < 0.1 < graph.saddles["low", "far"]
    few = join_minima(states, data_of(hill), Line(), n_paths=2)
    assert few.tree == [("low", "aside"), ("low", "far")]


def test_a_pair_that_fails_is_named_and_left_apart(watched):
    states = {"a": at(0, 0), "b": at(1, 0), "bad": at(-1, 0)}
    with pytest.warns(UserWarning, match="no path between .*'bad'.*: The training diverged") as caught:
        graph = join_minima(states, data_of(lambda w: 0 * w[0]), watched)
    assert len(caught) == 2
    assert {*graph.failed} == {("a", "bad"), ("b", "bad")}
    assert graph.components() == [["a", "b"], ["bad"]]
    assert graph.tree == [("a", "b")]


@pytest.mark.parametrize("place", [0.5, 1.0])
def test_a_line_that_overflows_and_a_network_that_does_are_left_apart(place):
    """The loss is NaN in the middle of one line, or at one network; the others are joined."""

    def broken(w):
        return w[1] + (math.nan if abs(w[0] - place) < 0.1 and w[1] < 0.4 else 0.0)

    states = {"bad": at(1, 0), "a": at(0, 0), "b": at(0, 1)}
    with pytest.warns(UserWarning, match="no path between 'bad'"):
        graph = join_minima(states, data_of(broken), Line(), n_points=9)
    assert ("bad", "a") in graph.failed
    assert ("a", "b") in graph.tree
    assert graph.components() == ([["bad", "a", "b"]] if place == 0.5 else [["bad"], ["a", "b"]])


def test_where_all_fail_the_reason_is_raised(watched):
    with pytest.raises(ValueError, match="The training diverged"):
        join_minima({"a": at(0, 0), "bad": at(-1, 0)}, data_of(lambda w: 0 * w[0]), watched)


def test_networks_are_joined_by_bands():
    states = dict(zip("ab", problems.ends(), strict=True))
    connect = AutoNEB(n_cycles=2, n_epochs=5, n_points=3)
    graph = join_minima(states, problems.to_train(), connect, n_points=21)
    line = join_minima(states, problems.to_train(), Line(), n_points=21)
    assert graph.saddle("a", "b") < line.saddle("a", "b")
    assert graph.losses == pytest.approx(line.losses)


def test_what_cannot_be_joined_is_refused():
    data = data_of(ridge)
    with pytest.raises(ValueError, match=r"joins two networks or more; got 1: \['a'\]"):
        join_minima({"a": at(0, 0)}, data)
    with pytest.raises(ValueError, match="n_paths must be at least 1, or None; got 0"):
        join_minima({"a": at(0, 0), "b": at(1, 0)}, data, n_paths=0)
    other = {"weight": torch.zeros(1, 3)}
    with pytest.raises(ValueError, match="weight.*a.*b"):
        join_minima({"a": at(0, 0), "b": other}, data, Line())
    with pytest.raises(ValueError, match="n_cycles must be"):
        join_minima({"a": at(0, 0), "b": at(1, 0)}, data, AutoNEB(n_cycles=0))

    class Odd(Connector):
        def __call__(self, states, objective=None):
            return None

    with pytest.raises(TypeError, match="gives a NoneType; a spanning tree is made of paths"):
        join_minima({"a": at(0, 0), "b": at(1, 0)}, data, Odd())
