"""Losses of members, and every rule against ``vmap`` of its function."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_leaves

from skfusion._vectorized import Members, _kernels
from skfusion._vectorized._members import KERNELS, mapped

K, B, C = 3, 5, 4
WEIGHT = torch.tensor([0.5, 1.0, 2.0, 0.0])
INTEGERS = torch.tensor([[0, 1, 2, 3, 1], [3, 3, -100, 0, 2], [1, 1, 1, 2, 0]])
LOSSES = {
    "mse": (F.mse_loss, {}),
    "smooth l1": (F.smooth_l1_loss, {"beta": 0.3}),
    "l1": (F.l1_loss, {}),
    "huber": (F.huber_loss, {"delta": 0.3}),
    "cross entropy of probabilities": (lambda a, b, **kw: F.cross_entropy(a, b.softmax(1), **kw), {}),
    "smoothed, of probabilities": (lambda a, b, **kw: F.cross_entropy(a, b.softmax(1), **kw), {"label_smoothing": 0.2}),
    "logits": (lambda a, b, **kw: F.binary_cross_entropy_with_logits(a, b.sigmoid(), **kw), {}),
    "weighted logits": (
        lambda a, b, **kw: F.binary_cross_entropy_with_logits(a, b.sigmoid(), pos_weight=WEIGHT.to(a.dtype), **kw),
        {},
    ),
}
OF_CODES = {
    "cross entropy": (F.cross_entropy, {}),
    "smoothed": (F.cross_entropy, {"label_smoothing": 0.2}),
    "ignoring": (F.cross_entropy, {"ignore_index": 1}),
    "ignoring, smoothed": (F.cross_entropy, {"ignore_index": 1, "label_smoothing": 0.1}),
    "weighted": (F.cross_entropy, {"weight": WEIGHT.double()}),
    "weighted, smoothed": (F.cross_entropy, {"weight": WEIGHT.double(), "label_smoothing": 0.1}),
    "nll": (lambda a, b, **kw: F.nll_loss(a.log_softmax(1), b, **kw), {}),
}


def each_member(f, *args):
    """VectorizedModules the results of a function of one member."""
    own = [[a.value[k] if isinstance(a, Members) else a for a in args] for k in range(K)]
    return torch.stack([f(*a) for a in own])


def assert_equal_with_gradients(found, expected, leaves):
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    weight = torch.randn(expected.shape, dtype=expected.dtype)
    a, b = (torch.autograd.grad((t * weight).sum(), leaves) for t in (found, expected))
    torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def number(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("reduction", ["mean", "none", "sum"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, shared, reduction):
    (loss, options), output = LOSSES[name], number(K, B, C)
    target = torch.randn(*(() if shared else (K,)), B, C, dtype=torch.float64)
    args = Members(output), target if shared else Members(target)
    found = loss(*args, reduction=reduction, **options)
    expected = each_member(lambda a, b: loss(a, b, reduction=reduction, **options), *args)
    assert_equal_with_gradients(found.value, expected, [output])


@pytest.mark.parametrize("reduction", ["mean", "none", "sum"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", OF_CODES)
def test_losses_of_codes(name, shared, reduction):
    (loss, options), output = OF_CODES[name], number(K, B, C)
    codes = INTEGERS.clamp(min=0) if "ignore_index" in options else INTEGERS
    args = Members(output), codes[1] if shared else Members(codes)
    found = loss(*args, reduction=reduction, **options)
    expected = each_member(lambda a, b: loss(a, b, reduction=reduction, **options), *args)
    assert_equal_with_gradients(found.value, expected, [output])


def test_cross_entropy_of_maps():
    output, codes = number(K, B, C, 2), torch.randint(C, (K, B, 2))
    found = F.cross_entropy(Members(output), Members(codes))
    assert_equal_with_gradients(found.value, each_member(F.cross_entropy, Members(output), Members(codes)), [output])


def test_a_loss_of_single_numbers():
    a, b = number(K), number(K)
    found = F.mse_loss(Members(a), Members(b))
    assert_equal_with_gradients(found.value, (a - b) ** 2, [a, b])


def test_the_mean_over_no_row_is_nan():
    nothing = Members(torch.full((K, B), -100))
    assert F.cross_entropy(Members(torch.randn(K, B, C)), nothing).value.isnan().all()


@pytest.mark.parametrize("options", [{}, {"weight": WEIGHT.double()}, {"ignore_index": 1}])
def test_cross_entropy_has_gradients_of_gradients(options):
    output, codes = number(K, B, C), INTEGERS.clamp(min=0)
    found = F.cross_entropy(Members(output), Members(codes), **options).value
    expected = each_member(lambda a, b: F.cross_entropy(a, b, **options), Members(output), Members(codes))
    direction = torch.randn(K, B, C, dtype=torch.float64)
    seconds = []
    for loss in (found, expected):
        (first,) = torch.autograd.grad(loss.exp().sum(), output, create_graph=True)
        seconds.append(torch.autograd.grad((first * direction).sum(), output)[0])
    torch.testing.assert_close(*seconds, rtol=1e-11, atol=1e-11)


def test_an_ignored_row_may_have_impossible_classes():
    with torch.no_grad():
        output = number(K, B, C)
        output[:, 2, 0] = -math.inf
    codes = torch.ones(K, B, dtype=torch.int64)
    codes[:, 2] = -100
    found = F.cross_entropy(Members(output.requires_grad_()), Members(codes))
    assert_equal_with_gradients(found.value, each_member(F.cross_entropy, Members(output), Members(codes)), [output])


def test_a_class_that_is_not_there_is_refused():
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        F.cross_entropy(Members(number(K, B, C)), Members(torch.full((K, B), C)))


def test_cross_entropy_is_one_step_of_autograd():
    loss = F.cross_entropy(Members(number(K, 40, C)), Members(torch.randint(C, (K, 40)))).value
    assert type(loss.grad_fn).__name__ == "_MeanOfCodesBackward"


FLAT = [
    lambda: (Members(number(K, 2, 3, 4)),),
    lambda: (Members(number(K, 2, 3, 4)), 1),
    lambda: (Members(number(K, 2, 3, 4)), 0, 1),
    lambda: (Members(number(K, 2, 3, 4)), -2),
    lambda: (Members(number(K, 2, 3, 4)), 0, -2),
    lambda: (Members(number(K)),),
]
SHAPED = [
    lambda: (Members(number(K, 2, 6)), 3, -1),
    lambda: (Members(number(K, 2, 6)), (12,)),
    lambda: (Members(number(K, 2, 6)), torch.Size((3, 2, 2))),
]
POWERS = [lambda: (Members(number(K, 2, 6)), 2), lambda: (Members(number(K)), 3.0)]
POWERS += [lambda: (Members(number(K, 6).abs()), Members(number(K, 6)))]
BOUNDED = [
    lambda: (Members(number(K, 2, 6)), -0.5, 0.5),
    lambda: (Members(number(K, 6)), None, 0),
    lambda: (Members(number(K, 6)), Members(number(K, 6)), None),
]
WITH_AXES = [lambda dim=dim: (Members(number(K, 2, 6)), dim) for dim in (0, 1, 2, -1, -3)]
TAKEN = [
    lambda index=index: (Members(number(K, 2, 3, 4)), index)
    for index in (
        *(0, -1, slice(1, None), [1, 0, 1], None, Ellipsis, (), True, (slice(None), [0, 2, 2], None)),
        *((..., 1), (0, 1, 2), (0, slice(None), [1]), ([0, 1], slice(None), [2, 3]), (slice(None), [])),
        *((slice(None), torch.tensor([2, 0])), [True, False], (0, ..., None, slice(None, None, 2))),
    )
]
SHARES = [
    lambda: (Members(number(K, 5, 6)), -1),
    lambda: (Members(number(K, 40, 6)), 1),
    lambda: (Members(number(K, 2, 40, 6)), -1),
    lambda: (Members(number(K, 40, 40)), 1),
    lambda: (Members(number(K, 40, 6)), 0),
    lambda: (Members(number(K, 6)), 0),
]
CODES = [
    lambda: (Members(number(K, 5, 4)), Members(INTEGERS)),
    lambda: (Members(number(K, 5, 40)), Members(INTEGERS)),
    lambda: (Members(number(K, 40, 4)), Members(torch.randint(4, (K, 40))), WEIGHT.double() + 1),
]
JOINED = [
    lambda: ([Members(number(K, 2, 6)), Members(number(K, 3, 6))],),
    lambda: ((Members(number(K, 2, 6)), Members(number(K, 2, 1))), -1),
    lambda: ([number(4, 6), Members(number(K, 2, 6)), Members(number(K, 2, 6))], 0),
    lambda: ([Members(number(K, 2, 6)), Members(number(K, 0))],),
]
# Each entry makes the arguments of a call: tensors with a member axis are numbers that gradients are taken of.
CALLS = {
    F.linear: [
        lambda: (Members(number(K, 5, 6)), Members(number(K, 4, 6)), Members(number(K, 4))),
        lambda: (Members(number(K, 5, 6)), Members(number(K, 4, 6))),
        lambda: (number(2, 5, 6), Members(number(K, 4, 6)), Members(number(K, 4))),
        lambda: (Members(number(K, 6)), Members(number(K, 4, 6)), Members(number(K, 4))),
        lambda: (Members(number(K, 5, 6)), number(4, 6), Members(number(K, 4))),
        lambda: (Members(number(K, 5, 6)), Members(number(K, 4, 6)), number(4)),
    ],
    **dict.fromkeys((torch.pow, Tensor.pow, Tensor.__pow__), POWERS),
    **dict.fromkeys((torch.clamp, Tensor.clamp, torch.clip, Tensor.clip), BOUNDED),
    **dict.fromkeys((torch.unsqueeze, Tensor.unsqueeze), WITH_AXES),
    Tensor.__getitem__: TAKEN,
    torch.cat: JOINED,
    torch.flatten: FLAT,
    Tensor.flatten: FLAT,
    torch.reshape: [lambda: (Members(number(K, 2, 6)), (3, -1)), lambda: (Members(number(K, 2, 6).mT), (-1,))],
    Tensor.reshape: SHAPED,
    Tensor.view: SHAPED,
    F.mse_loss: [lambda: (Members(number(K, 5, 2)), Members(number(K, 5, 2)))],
    **dict.fromkeys((F.cross_entropy, F.nll_loss), CODES),
    **dict.fromkeys((F.softmax, torch.softmax, Tensor.softmax), SHARES),
    **dict.fromkeys((F.log_softmax, torch.log_softmax, Tensor.log_softmax), SHARES),
    F.batch_norm: [
        lambda: (Members(number(K, 5, 4)), None, None, Members(number(K, 4)), Members(number(K, 4)), True),
        lambda: (Members(number(K, 5, 4, 2)), None, None, None, None, True, 0.1, 0.5),
        lambda: (Members(number(K, 5, 4, 2, 3)), *(Members(torch.rand(K, 4).double()) for _ in range(2))),
    ],
    F.embedding: [
        lambda: (Members(torch.randint(7, (K, 5))), Members(number(K, 7, 2))),
        lambda: (torch.randint(7, (5, 3)), Members(number(K, 7, 2))),
        lambda: (Members(torch.randint(7, (K, 5))), number(7, 2)),
    ],
    F.scaled_dot_product_attention: [
        lambda: tuple(Members(number(K, 5, 2, 4, 3)) for _ in range(3)),
        lambda: (*(Members(number(K, 5, 2, 4, 3)) for _ in range(3)), None, 0.0, True),
        lambda: (*(Members(number(K, 5, 2, 4, 3)) for _ in range(3)), Members(number(K, 5, 1, 4, 4).detach())),
        lambda: (*(Members(number(K, 5, 2, 4, 3)) for _ in range(3)), torch.eye(4, dtype=torch.bool)),
    ],
}
PAIRS = [
    lambda: (Members(number(K, 5, 6)), Members(number(K, 5, 6))),
    lambda: (Members(number(K, 5, 6)), Members(number(K, 6))),
    lambda: (Members(number(K, 6)), Members(number(K, 5, 1))),
    lambda: (Members(number(K)), Members(number(K, 5, 6))),
    lambda: (Members(number(K, 6)), number(4, 5, 6)),
    lambda: (Members(number(K, 6)), 3.5),
]
DRAWN = {F.dropout, torch.dropout, F.dropout1d, F.dropout2d, F.dropout3d}
"""What ``vmap`` cannot do for these is seen in the tests of layers, as are attention and bags of embeddings."""
CALLS |= {f: PAIRS for f, rule in KERNELS.items() if rule is _kernels._of_two_numbers}


def calls():
    for function, made in CALLS.items():
        for i, make in enumerate(made):
            yield pytest.param(function, make, id=f"{function.__name__}-{i}")


def assert_rule_is_vmap(function, args):
    by_rule = function(*args)
    by_vmap = mapped(function, args, {})
    leaves = [
        v
        for a in tree_leaves(args)
        if isinstance(a, Tensor) and (v := a.value if isinstance(a, Members) else a).requires_grad
    ]
    assert by_rule.shape == by_vmap.shape
    assert_equal_with_gradients(by_rule.value, by_vmap.value, leaves)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize(("function", "make"), list(calls()))
def test_kernels_are_vmap(function, make):
    assert_rule_is_vmap(function, make())


SINGLE = {f for f, rule in KERNELS.items() if rule is _kernels._of_each_number} - {
    Tensor.detach,
    Tensor.to,
    Tensor.long,
}


@pytest.mark.parametrize("function", sorted(SINGLE, key=repr), ids=lambda f: f.__name__)
def test_functions_of_single_numbers_are_vmap(function):
    leaf = torch.rand(K, 5, 6, dtype=torch.float64, requires_grad=True)
    found, expected = function(Members(leaf + 0.1)), mapped(function, (Members(leaf + 0.1),), {})
    assert found.dtype == expected.dtype
    assert_equal_with_gradients(found.value, expected.value, [leaf])


COMPARED = {f for f, rule in KERNELS.items() if rule is _kernels._compared}


@pytest.mark.parametrize("make", PAIRS)
@pytest.mark.parametrize("function", sorted(COMPARED, key=repr), ids=lambda f: f.__name__)
def test_comparisons_are_vmap(function, make):
    args = make()
    if function in (Tensor.__and__, Tensor.__or__):  # of what is true or false
        args = tuple(Members(a.value > 0) if isinstance(a, Members) else a > 0 for a in args)
    found, expected = function(*args), mapped(function, args, {})
    assert found.dtype == expected.dtype == torch.bool
    assert torch.equal(found.value, expected.value)


def test_detached_and_cast():
    x = Members(number(K, 5))
    assert not x.detach().value.requires_grad
    assert x.to(torch.float32).dtype == x.float().value.dtype == torch.float32
    assert torch.equal(x.long().value, x.value.long())
    assert x.to(torch.zeros((), dtype=torch.float32)).value.dtype == torch.float32


def test_every_rule_is_tested():
    rest = DRAWN | {F.multi_head_attention_forward, F.embedding_bag, Tensor.detach, Tensor.to, Tensor.long}
    assert set(KERNELS) == set(CALLS) | SINGLE | COMPARED | rest


def test_what_is_asked_of_one_member():
    x = Members(torch.zeros(K, 5, 6))
    assert (x.shape, x.size(1), x.dim(), x.ndim, x.numel(), len(x)) == ((5, 6), 6, 2, 2, 30, 5)
    assert x.is_floating_point()
    assert (x.dtype, x.device) == (torch.float32, torch.device("cpu"))
    assert "Members(tensor" in repr(x)


@pytest.mark.parametrize("ask", [bool, float, lambda x: x.item(), lambda x: math.floor(x)])
def test_one_number_of_many_members_is_refused(ask):
    with pytest.raises(RuntimeError):
        ask(Members(torch.ones(K)))
