"""Descriptions of values, whatever they are: they are compared without asking the values, and have an end."""

import functools
import threading
import weakref
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from torch import nn

from skfusion._vectorized import (
    NotVectorizableError,
    VectorizedModules,
    attribute_holding_tensor,
    attributes,
    described,
    difference,
)


@dataclass
class Settings:
    mean: np.ndarray


class Scale:
    """An object with a method."""

    def __init__(self, by):
        self.by = by

    def of(self, x):
        return x * self.by


class Node:
    """An object that refers to others."""

    def __init__(self, value):
        self.value = value


def cycle(value):
    a, b = Node(value), Node(value)
    a.child, b.parent = b, a
    return a


def inside(value):
    held = [value]
    held.append(held)
    return held


def chain(n):
    first = last = Node(0)
    for i in range(n):
        last.next = Node(i)
        last = last.next
    return first


class Strange:
    """Has an equality that fails, and a hash that does."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        raise RuntimeError

    __hash__ = None


class Slots:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


MAKE = {
    "table": lambda v: pd.DataFrame({"a": [1.0, v]}),
    "dataclass of arrays": lambda v: Settings(np.full(3, v)),
    "sparse matrix": lambda v: scipy.sparse.eye(3).tocsr() * v,
    "bound method": lambda v: Scale(v).of,
    "partial of a bound method": lambda v: functools.partial(Scale(v).of),
    "method of a list": lambda v: [v].index,
    "equality that fails": Strange,
    "slots": Slots,
    "array of objects": lambda v: np.array([v, None, "a"], dtype=object),
    "generator of numbers": lambda v: np.random.RandomState(int(v)),
    "stream": lambda v: torch.Generator().manual_seed(int(v)),
    "sets": lambda v: {"a", frozenset({v})},
    "a module": lambda v: nn.Dropout(v / 10),
    "parameters of a module": lambda v: nn.Parameter(torch.full((2,), v)),
    "half precision": lambda v: torch.full((), v, dtype=torch.bfloat16),
    "not a number": lambda v: (np.array([np.nan, v]), float("nan"), torch.tensor([np.nan, v])),
}


@pytest.mark.parametrize("name", MAKE)
def test_values_are_described_by_what_they_hold(name):
    make = MAKE[name]
    first, same, other = (described({"value": make(v)}) for v in (2.0, 2.0, 3.0))
    assert difference(first, same) is None
    assert difference(first, other) == "value"


def test_a_description_stays_what_it_was():
    for value, change in (
        ([1], lambda v: v.append(2)),
        (np.ones(2), lambda v: v.fill(2)),
        (torch.ones(2), lambda v: v.fill_(2)),
        (Settings(np.ones(2)), lambda v: v.mean.fill(2)),
        (Scale(1).of, lambda v: setattr(v.__self__, "by", 2)),
    ):
        before = described({"value": value})
        assert difference(before, described({"value": value})) is None
        change(value)
        assert difference(before, described({"value": value})) == "value"


def test_what_cannot_be_described_equals_only_itself():
    lock = threading.Lock()
    assert difference(described({"a": lock}), described({"a": lock})) is None
    assert difference(described({"a": lock}), described({"a": threading.Lock()})) == "a"
    target = Node(1)
    assert difference(described({"a": weakref.ref(target)}), described({"a": weakref.ref(Node(1))})) == "a"
    assert difference(described({"a": weakref.ref(target)}), described({"a": weakref.ref(target)})) is None


@pytest.mark.parametrize("make", [lambda: chain(5000), lambda: cycle(1), lambda: inside(1)])
def test_what_is_nested_too_deeply_or_holds_itself_equals_only_itself(make):
    value = make()
    assert difference(described({"value": value}), described({"value": value})) is None
    assert difference(described({"value": value}), described({"value": make()})) == "value"


def plainly():
    return lambda x: x + 1


def test_closures_are_not_read():
    assert difference(described({"a": plainly()}), described({"a": plainly()})) is None
    assert difference(described({"a": over}), described({"a": over})) is None
    assert difference(described({"a": over(1)}), described({"a": over(1)})) == "a"


class Holder(nn.Module):
    """A layer, and an attribute that is made of it."""

    def __init__(self, make):
        super().__init__()
        self.layer, self.norm = nn.Linear(3, 3), nn.BatchNorm1d(3)
        self.value = make(self)

    def forward(self, x):
        return self.norm(self.layer(x))


def over(tensor):
    return lambda x: x @ tensor


REACHING = {
    "list": lambda m: [m.layer.weight],
    "view": lambda m: m.layer.weight.detach().t(),
    "buffer": lambda m: {"mean": m.norm.running_mean},
    "object": lambda m: Node(m.layer.weight),
    "closure": lambda m: over(m.layer.weight),
    "closure over the module": lambda m: lambda x: x @ m.layer.weight,
    "weak reference": lambda m: weakref.ref(m.layer.weight),
    "partial": lambda m: functools.partial(torch.matmul, m.layer.weight),
}


@pytest.mark.parametrize("name", REACHING)
def test_attributes_that_hold_tensors_of_the_module_are_refused(name):
    modules = [Holder(REACHING[name]) for _ in range(2)]
    assert attribute_holding_tensor(modules[0]) == "value"
    with pytest.raises(NotVectorizableError, match="its attribute 'value' holds, or may hold, a parameter or buffer"):
        VectorizedModules(modules)


APART = {
    "parts": lambda m: [m.layer, m],
    "method": lambda m: m.layer.forward,
    "copy": lambda m: torch.zeros_like(m.layer.weight.detach()),
}


@pytest.mark.parametrize("name", APART)
def test_attributes_that_look_tensors_up_are_taken(name):
    modules = [Holder(APART[name]) for _ in range(2)]
    assert attribute_holding_tensor(modules[0]) is None
    VectorizedModules(modules)


class Scaling:
    """A hook."""

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, module, given, out):
        return out * self.scale


def hooked(scale):
    module = nn.Sequential(nn.Linear(3, 3))
    module[0].register_forward_hook(Scaling(scale))
    return module


def test_hooks_are_attributes():
    assert difference(attributes(hooked(2)), attributes(hooked(2))) is None
    assert difference(attributes(hooked(2)), attributes(hooked(3))) == "0._forward_hooks"
    assert difference(attributes(hooked(2)), attributes(nn.Sequential(nn.Linear(3, 3)))) == "0._forward_hooks"
