"""What the keys of cached pools depend on."""

import logging
import os
import re
import subprocess
import sys
import threading
from enum import IntEnum
from functools import partial

import numpy as np
import torch
from scipy.stats import loguniform, uniform
from torch import nn

from skfusion.combine import Average
from skfusion.estimators._cache import fingerprint as key


def scaled(factor):
    def function(x):
        return factor * x

    return function


def test_cache_keys_tell_functions_apart():
    assert key(scaled(1.0)) == key(scaled(1.0))
    assert key(scaled(1.0)) != key(scaled(2.0))
    assert key(lambda x: x + 1) != key(lambda x: x + 2)
    assert key(partial(max, 1)) != key(partial(max, 2)) != key(partial(min, 2))
    assert key(Average([1, 2]).fit) != key(Average([2, 1]).fit)
    assert key({"a", "b", "c"}) == key({"c", "b", "a"})

    def module(width):
        class Module:
            def forward(self, x):
                return x * width if width == 1 else x

        return Module

    def edited():
        class Module:
            def forward(self, x):
                return x - 1

        Module.__qualname__ = module(1).__qualname__
        return Module

    assert key(module(1)) == key(module(1))
    assert key(module(1)) != key(edited())


def test_cache_keys_tell_distributions_apart():
    assert key(loguniform(0.1, 1)) == key(loguniform(0.1, 1))
    assert key(loguniform(0.1, 1)) != key(loguniform(0.1, 2)) != key(uniform(0.1, 2))
    assert key(loguniform(0.1, 1)) != key(uniform(0.1, 1))


def test_cache_keys_of_things_that_hold_themselves():
    class Owner:
        def __init__(self, value):
            self.value = value
            self.hook = self.act

        def act(self):
            return self.value

    assert key(Owner(1)) == key(Owner(1))
    assert key(Owner(1)) != key(Owner(2))


def test_cache_keys_tell_the_code_of_module_instances_apart():
    def module(sign):
        class Module(nn.Module):
            def forward(self, x):
                return +x if sign > 0 else x

        class Other(nn.Module):
            def forward(self, x):
                return -x

        Other.__qualname__, Other.__name__ = Module.__qualname__, Module.__name__
        return Module() if sign > 0 else Other()

    assert repr(module(1)) == repr(module(-1))
    assert key(nn.Sequential(module(1))) == key(nn.Sequential(module(1)))
    assert key(nn.Sequential(module(1))) != key(nn.Sequential(module(-1)))


def test_cache_keys_tell_defaults_apart():
    def made(positional, named):
        def function(x, factor=positional, *, shift=named):
            return factor * x + shift

        return function

    assert key(made(1, 2)) == key(made(1, 2))
    assert key(made(1, 2)) != key(made(3, 2))
    assert key(made(1, 2)) != key(made(1, 3))


def test_attributes_of_classes_and_modules_matter():
    def made(slope, width):
        class Module(nn.Module):
            width = 3

            def __init__(self, slope):
                super().__init__()
                self.slope = slope

            def forward(self, x):
                return x * self.slope + self.width

        Module.width = width
        return Module(slope)

    assert repr(made(1, 1)) == repr(made(2, 1))
    assert key(made(1, 1)) == key(made(1, 1)) == key(made(1, 1).eval())
    assert key(made(1, 1)) != key(made(2, 1))
    assert key(made(1, 1)) != key(made(1, 2))


class Unfriendly:
    def __repr__(self):
        raise RuntimeError

    def __reduce__(self):
        raise RuntimeError

    def __getattr__(self, name):
        raise RuntimeError(name)


class Level(IntEnum):
    LOW = 1


def deep():
    """Return a list in a list, and so on."""
    found = []
    for _ in range(5000):
        found = [found]
    return found


def odd():
    """Return a function that reads odd globals, and these."""
    scope = {
        "lock": threading.Lock(),
        "log": logging.getLogger("mine"),
        "pattern": re.compile("a+"),
        "numbers": torch.Generator(),
        "iterator": (i for i in range(3)),
        "objects": np.array([threading.Lock(), None], dtype=object),
        "file": sys.stdout,
        "level": Level.LOW,
        "unfriendly": Unfriendly(),
        "deep": deep(),
        "library": torch,
        "weights": nn.Linear(2, 2),
        "sets": {"a", "b", frozenset("cd")},
    }
    exec(f"def function(x):\n    return {', '.join(scope)}, not_there", scope)
    return scope["function"], scope


def test_odd_globals_have_keys():
    function, scope = odd()
    before = key(function)
    scope["lock"] = threading.Lock()  # which is known by what it prints
    logging.getLogger("mine").addHandler(logging.NullHandler())
    assert key(function) == before
    scope["lock"] = threading.Condition()
    assert key(function) != before


def test_cache_keys_are_the_same_in_every_process(tmp_path):
    (tmp_path / "own.py").write_text(
        "import logging, re, threading, torch\n"
        "from torch import nn\n"
        "from skfusion.nets import mlp_classifier\n"
        "SETS, LOCK, LOG = {'a', 'b', 'c'}, threading.Lock(), logging.getLogger('mine')\n"
        "NET, WEIGHTS, NUMBERS = mlp_classifier(), torch.ones(3), torch.Generator()\n"
        "class Net(nn.Module):\n"
        "    names = {'x', 'y', 'z'}\n"
        "    def forward(self, x):\n"
        "        return SETS, LOCK, LOG, NET, WEIGHTS, NUMBERS, re.sub, x in {'p', 'q', 'r'}, Net\n"
    )
    code = "import own; from skfusion.estimators._cache import fingerprint; print(fingerprint(own.Net, own.Net()))"
    keys = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(keys) == 1
