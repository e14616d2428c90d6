"""Points of a subspace as one tensor each, beside the module with their states one by one."""

import pytest
import torch
import torch.nn.functional as F
from _vectorized.modules import Tied
from torch import nn
from torch.func import functional_call

from skfusion._vectorized import Combinations, Members, SubspaceModule
from skfusion._vectorized import _subspace as subspace_module
from skfusion._vectorized._subspace import value_of
from skfusion.state import weighted_sum


class Functional(nn.Module):
    """Uses its weights by functions, under another name of the argument, and a buffer."""

    def __init__(self):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(5, 6)), nn.Parameter(torch.randn(5))
        self.register_buffer("shift", torch.randn(6))
        self.register_buffer("count", torch.tensor(3))

    def forward(self, x):
        z = F.linear(x, self.w)
        return F.linear(input=x - self.shift, weight=self.w, bias=self.b) * self.count + z.tanh() @ self.w


MODULES = {
    "linear": lambda: nn.Linear(6, 3),
    "no bias": lambda: nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)),
    "perceptron": lambda: nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)),
    "in place": lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)),
    "layer norm": lambda: nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 2)),
    "batch norm": lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)),
    "normed input": lambda: nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)),
    "tied": Tied,
    "functional": lambda: Functional6(),
}


class Functional6(Functional):
    """Square, so that it can be applied twice."""

    def __init__(self):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(6, 6)), nn.Parameter(torch.randn(6))


def states_of(make, m=3, dtype=torch.float32):
    modules = [make().to(dtype).eval() for _ in range(m)]
    found = [{k: v.detach().clone() for k, v in module.state_dict().items()} for module in modules]
    for state in found:
        for k, v in state.items():
            if "running" in k or ("weight" in k and v.dim() == 1):
                v.add_(torch.rand_like(v))
    if isinstance(modules[0], Tied):
        for state in found:
            state["b.weight"] = state["a.weight"]
    return modules[0], found


def one_by_one(module, controls, coefficients, x):
    points = [weighted_sum(controls, c) for c in coefficients.tolist()]
    with torch.no_grad():
        return torch.stack([functional_call(module, p, x, tie_weights=False) for p in points])


def together(module, controls, coefficients, x):
    span = SubspaceModule(module, controls)
    with torch.no_grad(), span.holding(span.points(coefficients)) as held:
        return value_of(held(x))


def coefficients(k=7, m=3):
    c = torch.randn(k, m, dtype=torch.float64)
    return c / c.abs().sum(1, keepdim=True) + (1 - (c / c.abs().sum(1, keepdim=True)).sum(1, keepdim=True)) / m


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_points_give_what_their_states_give(name, dtype):
    module, controls = states_of(MODULES[name], dtype=dtype)
    c, x = coefficients(), torch.randn(9, 6, dtype=dtype)
    assert c.sum(1).numpy() == pytest.approx(1)
    found = together(module, controls, c, x)
    tolerance = 1e-5 if dtype is torch.float32 else 1e-12
    assert found.dtype == dtype
    torch.testing.assert_close(found, one_by_one(module, controls, c, x), rtol=tolerance, atol=tolerance)


def test_inputs_of_more_axes():
    module, controls = states_of(MODULES["perceptron"])
    c, x = coefficients(), torch.randn(4, 5, 6)
    torch.testing.assert_close(
        together(module, controls, c, x), one_by_one(module, controls, c, x), rtol=1e-5, atol=1e-5
    )


def test_nothing_is_written():
    module, controls = states_of(MODULES["in place"])
    given = [*module.state_dict().values(), *(v for s in controls for v in s.values())]
    kept, places = [v.clone() for v in given], [p.data_ptr() for p in module.parameters()]
    together(module, controls, coefficients(), torch.randn(9, 6))
    assert all(torch.equal(now, then) for now, then in zip(given, kept, strict=True))
    assert [p.data_ptr() for p in module.parameters()] == places
    assert all(isinstance(p, nn.Parameter) and not isinstance(p, Members) for p in module.parameters())


def test_module_has_its_tensors_back_after_an_error():
    module, controls = states_of(MODULES["perceptron"])
    span = SubspaceModule(module, controls)
    with pytest.raises(RuntimeError), span.holding(span.points(coefficients())) as held:
        held(torch.randn(9, 5))
    assert not any(isinstance(p, Members) for p in module.parameters())


@pytest.fixture
def products(monkeypatch):
    """Counts the products with control tensors."""
    counted = []

    class Counting:
        def __getattr__(self, name):
            return getattr(F, name)

        def linear(self, x, w, b=None):
            counted.append(x)
            return F.linear(x, w, b)

    monkeypatch.setattr(subspace_module, "F", Counting())
    return counted


def test_the_first_layer_is_computed_for_the_controls_only(products):
    module, controls = states_of(MODULES["perceptron"])
    span, x = SubspaceModule(module, controls), torch.randn(9, 6)
    for k in (7, 50):
        with torch.no_grad(), span.holding(span.points(coefficients(k))) as held:
            assert value_of(held(x)).shape == (k, 9, 3)
    assert len(products) == 3
    span.forget()
    with torch.no_grad(), span.holding(span.points(coefficients())) as held:
        held(x)
    assert len(products) == 6


def test_products_follow_the_input(products):
    module, controls = states_of(MODULES["linear"])
    span, c = SubspaceModule(module, controls), coefficients()
    x = torch.randn(9, 6)

    def check(x):
        with torch.no_grad(), span.holding(span.points(c)) as held:
            found = value_of(held(x))
        torch.testing.assert_close(found, one_by_one(module, controls, c, x), rtol=1e-5, atol=1e-5)

    check(x)
    x.add_(1)  # written in place: the same tensor holds other numbers
    check(x)
    check(x[:])  # a view of the same numbers
    assert len(products) == 6
    check(x[:4])
    check(x.flip(0))
    check(x[:, [5, 4, 3, 2, 1, 0]])
    assert len(products) == 15


def test_products_are_those_with_their_own_bias():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 3), nn.Linear(6, 3)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.a(x) * self.b(x) + F.linear(x, self.a.weight)

    module, controls = states_of(Twice)
    for state in controls:
        state["b.weight"] = state["a.weight"]
    c, x = coefficients(), torch.randn(9, 6)
    torch.testing.assert_close(
        together(module, controls, c, x), one_by_one(module, controls, c, x), rtol=1e-5, atol=1e-5
    )


def test_an_input_that_is_not_that_of_all_points_is_computed_point_by_point(products):
    module, controls = states_of(MODULES["normed input"])
    together(module, controls, coefficients(), torch.randn(9, 6))
    assert not products


def test_sums_are_made_only_where_they_are_asked_for():
    weight, bias = torch.randn(2, 5, 6), torch.randn(2, 5)
    c, products = torch.tensor([[0.25, 0.75], [1.0, 0.0]]), {}
    w, b = Combinations(c, weight, products), Combinations(c, bias, products)
    x = torch.randn(3, 6)
    found = w.applied_to(x, b)
    assert w._sum is None
    assert b._sum is None
    torch.testing.assert_close(found[1], F.linear(x, weight[0], bias[0]))
    torch.testing.assert_close(w.value[0], 0.25 * weight[0] + 0.75 * weight[1])
    assert w.shape == (5, 6)
    assert w.value is w.value


def test_counters_are_kept_and_a_batch_norm_in_training_writes_to_its_own():
    module, controls = states_of(MODULES["batch norm"])
    span = SubspaceModule(module, controls)
    tensors = span.points(coefficients())
    assert not isinstance(tensors["1.num_batches_tracked"], Members)
    assert torch.equal(tensors["1.num_batches_tracked"], controls[0]["1.num_batches_tracked"])
    assert tensors["1.num_batches_tracked"].data_ptr() != controls[0]["1.num_batches_tracked"].data_ptr()


def test_a_module_that_ignores_its_weights_has_no_outputs():
    module, controls = states_of(MODULES["linear"])
    module.forward = lambda x: x
    with pytest.raises(NotImplementedError, match="does not depend on the weights"):
        together(module, controls, coefficients(), torch.randn(9, 6))
