"""What the keys of cached pools depend on."""

import copy
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import types
from enum import IntEnum
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import loguniform, uniform
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn.utils import parametrize

import skfusion
from skfusion.collect import Seeds
from skfusion.combine import Average
from skfusion.nets import NoKey, _fingerprint
from skfusion.nets import fingerprint as key


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


def reading(**scope):
    """Return a function that reads globals, and these."""
    exec(f"def function(x):\n    return {', '.join(scope)}, not_there", scope)
    return scope["function"], scope


def test_odd_globals_have_keys():
    function, scope = reading(
        log=logging.getLogger("mine"),
        pattern=re.compile("a+"),
        numbers=torch.Generator(),
        objects=np.array([re.compile("a"), None], dtype=object),
        level=Level.LOW,
        library=torch,
        weights=nn.Linear(2, 2),
        sets={"a", "b", frozenset("cd")},
        anywhere=np.random.mtrand._rand,
    )
    before = key(function)
    logging.getLogger("mine").addHandler(logging.NullHandler())
    np.random.random()  # noqa: NPY002
    assert key(function) == before
    for name, other in [("pattern", re.compile("a")), ("sets", {"a"}), ("numbers", torch.Generator().manual_seed(9))]:
        mine = scope[name]
        scope[name] = other
        assert key(function) != before
        scope[name] = mine


@pytest.mark.parametrize(
    ("thing", "named"),
    [
        (threading.Lock(), "lock"),
        ((i for i in range(3)), "generator"),
        (sys.stdout, "TextIO|EncodedFile|StringIO"),
        (Unfriendly(), "Unfriendly"),
        (deep(), "nested structure"),
        (np.array([threading.Lock()], dtype=object), "lock of ndarray"),
        (torch.empty(2, device="meta"), "Tensor"),
        (types.ModuleType("mine_without_source"), "module"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_is_not_known_for_certain_has_no_key(thing, named):
    with pytest.raises(NoKey, match=named):
        key(thing)
    with pytest.raises(NoKey, match=named):
        key({"params": reading(hidden=[thing])[0] if not isinstance(thing, types.ModuleType) else [thing]})


# ---- tensors and modules ---------------------------------------------------------------------------------------------


def layers(change=lambda module: None):
    """Return a module that is the same each time but for a change."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 3, bias=False), nn.BatchNorm1d(3), nn.Linear(3, 3, bias=False))
    module[2].weight.data.copy_(module[0].weight)
    module.register_buffer("hidden", torch.zeros(1), persistent=False)
    change(module)
    return module


class Twice(nn.Module):
    def forward(self, x):
        return 2 * x


class Frozen(nn.Module):
    def __init__(self, mode):
        super().__init__()
        self.part = nn.BatchNorm1d(3).train(mode)

    def train(self, mode=True):
        return self


CHANGES = {
    "same": lambda m: None,
    "frozen": lambda m: m[0].requires_grad_(False),
    "tied": lambda m: setattr(m[2], "weight", m[0].weight),
    "view": lambda m: setattr(m[2], "weight", nn.Parameter(m[0].weight.data)),
    "hidden buffer": lambda m: m.hidden.add_(1),
    "persistent": lambda m: m.register_buffer("hidden", m.hidden),
    "forward hook": lambda m: m[0].register_forward_hook(lambda module, inputs, out: 0 * out),
    "other hook": lambda m: m[0].register_forward_hook(lambda module, inputs, out: 2 * out),
    "pre hook": lambda m: m[0].register_forward_pre_hook(lambda module, inputs: inputs),
    "backward hook": lambda m: m[0].register_full_backward_hook(lambda module, inputs, outputs: None),
    "tensor hook": lambda m: m[0].weight.register_hook(lambda grad: 0 * grad),
    "parametrization": lambda m: parametrize.register_parametrization(m[0], "weight", Twice()),
    "own forward": lambda m: setattr(m[0], "forward", types.MethodType(lambda self, x: -x, m[0])),
    "momentum": lambda m: setattr(m[1], "momentum", 0.2),
    "order": lambda m: m._modules.update({"0": m._modules.pop("0")}),
    "attribute of a tensor": lambda m: setattr(m[0].weight, "tag", 1),
}


def test_all_that_makes_a_module_train_in_another_way_gives_another_key():
    keys = {name: key(layers(change)) for name, change in CHANGES.items()}
    assert keys == {name: key(layers(change)) for name, change in CHANGES.items()}
    assert len({*keys.values()}) == len(CHANGES)
    assert key(copy.deepcopy(layers())) == keys["same"] == key(layers().eval())
    assert key(Frozen(True)) != key(Frozen(False))  # as no training changes its modes


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.tensor([1.0], dtype=torch.float64), torch.tensor([1.0 + 1e-12], dtype=torch.float64)),
        (torch.tensor([2**53]), torch.tensor([2**53 + 1])),
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64)),
        (torch.tensor([0.0]), torch.tensor([-0.0])),
        (torch.ones(2, 3), torch.ones(3, 2)),
        (torch.tensor([1 + 1j]), torch.tensor([1 + 1j]).conj()),
        (torch.eye(2).to_sparse(), 2 * torch.eye(2).to_sparse()),
        (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.float16)),
    ],
)
def test_tensors_are_known_by_their_bits(one, other):
    assert key(one) == key(one.clone())
    assert key(one) != key(other)


def test_fitted_parts_and_settings_of_the_process_matter(monkeypatch):
    def fitted(spread):
        return FrozenEstimator(StandardScaler().fit([[0.0], [spread]]))

    assert key(fitted(1.0)) == key(fitted(1.0)) != key(fitted(2.0))
    before = key(Seeds(2))
    monkeypatch.setattr(_fingerprint, "_versions", lambda: ["of a later release"])
    assert key(Seeds(2)) != before


def test_cache_keys_are_the_same_in_every_process(tmp_path):
    (tmp_path / "own.py").write_text(
        "import logging, re, torch\n"
        "from torch import nn\n"
        "from skfusion.nets import mlp_classifier\n"
        "SETS, LOG = {'a', 'b', 'c'}, logging.getLogger('mine')\n"
        "NET, WEIGHTS, NUMBERS = mlp_classifier(), torch.ones(3), torch.Generator()\n"
        "class Net(nn.Module):\n"
        "    names = {'x', 'y', 'z'}\n"
        "    def forward(self, x):\n"
        "        return SETS, LOG, NET, WEIGHTS, NUMBERS, re.sub, x in {'p', 'q', 'r'}, Net\n"
    )
    code = "import own; from skfusion.nets import fingerprint; print(fingerprint(own.Net, own.Net()))"
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


TORCH_IN_USE = """
import torch
from torch import nn
from skfusion.nets import fingerprint, mlp_classifier
nets = [mlp_classifier(optimizer=cls) for cls in (torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD)]
before = fingerprint(nets)
for net in nets:
    net.optimizer(nn.Linear(1, 1).parameters(), lr=0.1)
made = fingerprint(nets)
torch.compile(nn.Linear(1, 1), backend='eager')(torch.ones(1, 1))
print(before == made, before == fingerprint(nets))
"""


def test_keys_do_not_depend_on_what_torch_does_to_its_classes_in_use():
    """It puts hooks around steps of optimizers when the first one is made, and more where a module is compiled."""
    run = [sys.executable, "-W", "ignore", "-c", TORCH_IN_USE]
    assert subprocess.run(run, capture_output=True, check=True, text=True).stdout == "True True\n"


@pytest.mark.parametrize("file", ["nets/_train.py", "_rows.py", "estimators/_base.py"])
def test_a_change_of_the_library_makes_other_keys(file, tmp_path, monkeypatch):
    before = _fingerprint._versions.__wrapped__()
    copy = shutil.copytree(
        Path(skfusion.__file__).parent, tmp_path / "skfusion", ignore=shutil.ignore_patterns("*.pyc")
    )
    monkeypatch.setattr(_fingerprint, "__file__", str(copy / "nets" / "_fingerprint.py"))
    assert _fingerprint._versions.__wrapped__() == before
    with (copy / file).open("a") as edited:
        edited.write("# another line")
    assert _fingerprint._versions.__wrapped__() != before
