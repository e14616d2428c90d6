"""Modules that cannot be vectorized, what modules are beside their tensors, and tensors that are lent."""

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from _vectorized.modules import Tied
from torch import nn

from skfusion._vectorized import Members, NotVectorizableError, VectorizedModules, attributes, difference, lent


class Holder(nn.Module):
    """A layer, and an attribute."""

    def __init__(self, value=None):
        super().__init__()
        self.layer, self.value = nn.Linear(2, 2), value


def changed(change):
    module = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 8))
    change(module)
    return module


TENSORS = "members 0 and 1 differ in their tensors or in which of them are trained"
UNLIKE = {
    "shapes": (lambda m: m.__setitem__(0, nn.Linear(5, 8)), TENSORS),
    "names": (lambda m: m.append(nn.Linear(8, 8)), TENSORS),
    "dtypes": (lambda m: m.double(), TENSORS),
    "frozen": (lambda m: m[0].weight.requires_grad_(False), TENSORS),
    "buffers": (lambda m: m.register_buffer("extra", torch.zeros(1)), TENSORS),
    "tied": (lambda m: m[3].register_parameter("bias", m[0].bias), TENSORS),
    "a number": (lambda m: setattr(m[2], "p", 0.2), "members 0 and 1 differ in the attribute '2.p' of Sequential"),
    "eps": (lambda m: setattr(m[1], "eps", 0.1), "members 0 and 1 differ in the attribute '1.eps' of Sequential"),
    "class": (lambda m: m.__setitem__(2, nn.Dropout1d(0.1)), "differ in the attribute '2.__class__' of Sequential"),
    "mode": (lambda m: m[1].eval(), "differ in the attribute '1.training' of Sequential"),
}


@pytest.mark.parametrize(("change", "message"), UNLIKE.values(), ids=UNLIKE)
def test_members_that_differ_are_refused(change, message):
    with pytest.raises(NotVectorizableError, match=message):
        VectorizedModules([changed(lambda m: None), changed(change)])


def test_the_member_that_differs_is_named():
    with pytest.raises(NotVectorizableError, match="members 0 and 2 differ"):
        VectorizedModules([nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 3)])


@pytest.mark.parametrize(
    "make", [lambda: changed(lambda m: m[3].double()), lambda: nn.Linear(2, 2).requires_grad_(False)]
)
def test_one_dtype_is_trained(make):
    with pytest.raises(
        NotVectorizableError, match="trained parameters have several dtypes or devices, or there are none"
    ):
        VectorizedModules([make(), make()])


@pytest.mark.parametrize("lazy", [[True, True], [False, True], [True]], ids=str)
def test_lazy_layers_are_refused(lazy):
    with pytest.raises(NotVectorizableError, match="it has lazy layers that have seen no data"):
        VectorizedModules([nn.LazyLinear(2) if is_lazy else nn.Linear(2, 2) for is_lazy in lazy])


def test_a_refusal_leaves_the_modules_as_they_are():
    modules = [nn.Linear(2, 2), nn.Linear(2, 3)]
    before = [m.weight.data_ptr() for m in modules]
    with pytest.raises(NotVectorizableError):
        VectorizedModules(modules)
    assert [m.weight.data_ptr() for m in modules] == before


def test_a_parameter_without_part_in_the_loss_is_refused():
    vectorized = VectorizedModules([nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)}) for _ in range(2)])
    with vectorized.running(True) as module:
        loss = module["a"](Members(torch.ones(2, 3, 2))).sum().value
    with pytest.raises(NotVectorizableError, match="its parameter 'b.weight' takes no part in the loss"):
        vectorized.gradient(loss)


def scaling(by):
    return lambda x: x * by


class Plain:
    """An object without an equality of its own."""

    def __init__(self, a):
        self.a = a


SAME = [
    (None, None),
    (1, 1),
    ([1, {"a": (2,)}], [1, {"a": (2,)}]),
    (torch.ones(2), torch.ones(2)),
    (np.ones(2), np.ones(2)),
    (F.relu, F.relu),
    (torch.relu, torch.relu),
    (Plain([1]), Plain([1])),
    (functools.partial(F.leaky_relu, negative_slope=0.1), functools.partial(F.leaky_relu, negative_slope=0.1)),
    ({1, 2}, {2, 1}),
    (torch.float32, torch.float32),
]
DIFFERING = [
    (None, 0),
    (1, 1.0),
    (1, True),
    ([1, {"a": (2,)}], [1, {"a": (3,)}]),
    ([1], [1, 2]),
    ({"a": 1}, {"b": 1}),
    (torch.ones(2), torch.ones(3)),
    (torch.ones(2), torch.ones(2).double()),
    (torch.ones(2), torch.zeros(2)),
    (np.ones(2), np.zeros(2)),
    (F.relu, F.gelu),
    (torch.relu, torch.tanh),
    (scaling(2), scaling(2)),  # closures are not read
    (Plain([1]), Plain([2])),
    (Plain(1), scaling(1)),
    (object(), object()),
    (functools.partial(F.leaky_relu, negative_slope=0.1), functools.partial(F.leaky_relu, negative_slope=0.2)),
    (functools.partial(F.relu), functools.partial(F.gelu)),
    (torch.float32, torch.float64),
]


@pytest.mark.parametrize(("a", "b"), SAME, ids=map(str, range(len(SAME))))
def test_values_that_are_the_same(a, b):
    assert difference(attributes(Holder(a)), attributes(Holder(b))) is None


@pytest.mark.parametrize(("a", "b"), DIFFERING, ids=map(str, range(len(DIFFERING))))
def test_values_that_differ(a, b):
    assert difference(attributes(Holder(a)), attributes(Holder(b))) == "value"
    assert difference(attributes(Holder(b)), attributes(Holder(a))) == "value"


def test_attributes_are_copies_of_all_that_is_no_tensor():
    module = nn.Sequential(Holder([1]), nn.Dropout(0.3))
    found = attributes(module)
    assert set(found) >= {"0.value", "1.p", "1.inplace", "0.layer.in_features"}
    assert not [name for name in found if name.endswith(("weight", "bias", "_modules", "_parameters"))]
    module[0].value.append(2)
    assert difference(found, attributes(module)) == "0.value"
    module[0].value.pop()
    assert difference(found, attributes(module)) is None


def test_an_attribute_of_only_one_is_a_difference():
    a, b = Holder(), Holder()
    b.more = 1
    assert difference(attributes(a), attributes(b)) == "more"
    assert difference(attributes(b), attributes(a)) == "more"


def test_what_cannot_be_copied_is_compared_as_it_is():
    lines = (line for line in "ab")
    assert difference(attributes(Holder(lines)), attributes(Holder(lines))) is None


@pytest.mark.parametrize("fails", [False, True])
def test_tensors_come_back(fails):
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    given = {"0.weight": torch.zeros(2, 2), "1.running_mean": torch.full((2,), 3.0)}
    try:
        with lent(module, given) as same:
            assert same is module
            assert module[0].weight is given["0.weight"]
            assert module[1].running_mean is given["1.running_mean"]
            assert module[0].bias is own["0.bias"]
            module[1].running_var = torch.zeros(2)
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    now = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    assert now.keys() == own.keys()
    assert all(now[name] is t for name, t in own.items())


def test_tensors_come_back_from_a_name_that_is_none():
    module = nn.Linear(2, 2)
    weight = module.weight
    with pytest.raises(KeyError), lent(module, {"weight": torch.zeros(2, 2), "none": torch.zeros(1)}):
        pass
    assert module.weight is weight


@pytest.mark.parametrize("name", ["a.weight", "b.weight"])
def test_a_tied_tensor_is_lent_under_all_its_names(name):
    module, given = Tied(), torch.zeros(6, 6)
    weight = module.a.weight
    with lent(module, {name: given}):
        assert module.a.weight is given
        assert module.b.weight is given
    assert module.a.weight is weight
    assert module.b.weight is weight


def test_loans_nest():
    module, first, second = nn.Linear(2, 2), torch.zeros(2, 2), torch.ones(2, 2)
    with lent(module, {"weight": first}):
        with lent(module, {"weight": second}):
            assert module.weight is second
        assert module.weight is first
