"""What the keys of cached pools make of globals."""

import types
from functools import partial

import numpy as np
import optuna
import pytest
from torch import nn
from torch.nn import functional

from skfusion import SoupClassifier
from skfusion.collect import Collector, Seeds, Tasks
from skfusion.merge import Uniform
from skfusion.nets import fingerprint as key
from skfusion.nets import mlp_classifier

LIMIT = 0.0
SETTINGS = types.ModuleType("settings_of_mine")
SETTINGS.limit, SETTINGS.other = 0.0, 0.0


class Slotted:
    __slots__ = ("limit",)

    def __init__(self, limit):
        self.limit = limit


SLOTTED = Slotted(0.0)


def by(X, y):
    return X[:, 0] > LIMIT


def nested(X, y):
    return [x > LIMIT for x in X], lambda: LIMIT


def calls(X, y):
    return by(X, y)


def of_module(X, y):
    return X[:, 0] > SETTINGS.limit


def of_slots(X, y):
    return X[:, 0] > SLOTTED.limit


def in_a_circle(X, y):
    return calls(X, y) if len(X) else round_again(X, y)


def round_again(X, y):
    return in_a_circle(X, y)


class Calling(Collector):
    def runs(self, net, rows, rng):
        return Seeds(int(LIMIT)).runs(net, rows, rng)


class Scaling(nn.Module):
    def forward(self, x):
        return x * LIMIT


class Narrow(Scaling):
    pass


class Steps:
    @staticmethod
    def free(X, y):
        return X[:, 0] > LIMIT

    @property
    def limit(self):
        return LIMIT

    @classmethod
    def of(cls):
        return LIMIT


READING = [
    by,
    nested,
    calls,
    of_module,
    of_slots,
    in_a_circle,
    round_again,
    Calling(),
    Scaling,
    Narrow(),
    Steps(),
    partial(by, y=1),
]


@pytest.mark.parametrize("thing", READING, ids=lambda thing: getattr(thing, "__name__", type(thing).__name__))
def test_cache_keys_depend_on_globals_that_are_read(thing, monkeypatch):
    before = key(thing)
    assert key(thing) == before
    monkeypatch.setitem(globals(), "LIMIT", 1.0)
    monkeypatch.setattr(SETTINGS, "limit", 1.0)
    monkeypatch.setattr(SLOTTED, "limit", 1.0)
    assert key(thing) != before


@pytest.mark.parametrize("thing", [Steps.free, Steps.limit, Steps.__dict__["of"]], ids=["plain", "property", "class"])
def test_methods_of_any_kind_are_followed(thing, monkeypatch):
    before = key(thing)
    monkeypatch.setitem(globals(), "LIMIT", 1.0)
    assert key(thing) != before


def test_globals_that_are_not_read_do_not_matter(monkeypatch):
    def function(thing):
        return thing.LIMIT  # an attribute, and no global

    before = key(function, of_module)
    monkeypatch.setitem(globals(), "LIMIT", 1.0)
    monkeypatch.setattr(SETTINGS, "other", 1.0)
    assert key(function, of_module) == before


def test_installed_packages_are_not_followed(monkeypatch):
    def function(x):
        return functional.relu(Seeds(x)), optuna.create_study

    things = function, functional.relu, optuna.create_study, Seeds(2), nn.Linear
    before = key(*things)
    monkeypatch.setattr(functional, "handle_torch_function", None)
    monkeypatch.setattr(optuna.study.study, "samplers", None)
    monkeypatch.setitem(Seeds.__call__.__globals__, "train", None)
    monkeypatch.setattr(nn.Module, "dump_patches", 3)
    assert key(*things) == before


def test_pools_are_collected_again_where_a_global_has_changed(tmp_path, monkeypatch):
    X = np.random.RandomState(0).randn(60, 3).astype(np.float32)
    y = (X[:, 1] > 0).astype(int)
    collect = Tasks(by, init=1)
    soup = SoupClassifier(
        mlp_classifier(max_epochs=1), collect=collect, merge=Uniform(), memory=str(tmp_path), random_state=0
    )
    first = [len(member.rows) for member in soup.fit(X, y).pool_]
    monkeypatch.setitem(globals(), "LIMIT", 1.0)
    assert [len(member.rows) for member in soup.fit(X, y).pool_] != first


def test_functions_that_call_each_other_are_hashed_once():
    scope = {"__name__": "mine"}
    names = [f"f{i}" for i in range(25)]
    exec("\n".join(f"def {name}(x): return {', '.join(names)}, LIMIT" for name in names), scope)
    before = key(scope["f0"])
    scope["LIMIT"] = 3
    assert key(scope["f0"]) != before
