"""Networks that are linear in their weights."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.func import functional_call

from skfusion.merge import TaskArithmetic, Uniform
from skfusion.objective import first_output
from skfusion.tangent import Linearised, linearised

D = torch.float64


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


class Residual(nn.Module):
    """BatchNorm with statistics of its own, dropout, and a convolution."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.drop = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5)
        self.last = nn.Linear(12, 2)
        with torch.no_grad():
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        return self.last(self.drop(self.norm(self.first(x)).relu()).flatten(1))


class Encoder(nn.Module):
    """A transformer, whose fused path has no derivative; its output is a mapping, as those of Hugging Face are."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.embed, self.body = nn.Embedding(5, 8), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, input_ids, attention_mask):
        z = self.body(self.embed(input_ids), src_key_padding_mask=attention_mask == 0)
        return {"hidden": z, "logits": self.head(z[:, 0])}


class Tied(nn.Module):
    """One matrix under two names."""

    def __init__(self):
        super().__init__()
        self.code, self.back = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.back.weight = self.code.weight

    def forward(self, x):
        return self.back(self.code(x).tanh())


class Recurrent(nn.Module):
    """An LSTM, whose fused kernel has no derivative either; its outputs come in order."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        z, state = self.body(x)
        return self.head(z[:, -1]), state


def tokens():
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(6, 4, dtype=torch.int64)
    mask[::2, 3] = 0
    return {"input_ids": torch.randint(5, (6, 4), generator=generator), "attention_mask": mask}


NETS = {
    "perceptron": (lambda: nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)), lambda: rows(7, 3)),
    "BatchNorm": (Residual, lambda: rows(7, 1, 4, 4)),
    "transformer": (Encoder, tokens),
    "recurrent": (Recurrent, lambda: rows(7, 5, 3)),
    "tied": (Tied, lambda: rows(7, 4)),
}


@pytest.fixture(params=NETS)
def problem(request):
    make, inputs = NETS[request.param]
    torch.manual_seed(0)
    return make().to(D).eval(), inputs()


def run(module, x):
    return first_output(module(**x) if isinstance(x, dict) else module(x))


def moved(module, size, seed=1):
    """The state of a network whose parameters have moved at random; its buffers have changed too."""
    other, generator = copy.deepcopy(module), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in other.parameters():
            p += size * torch.randn(p.shape, generator=generator, dtype=D)
        for b in other.buffers():
            b += 3
    return {k: v.detach().clone() for k, v in other.state_dict().items()}


def at(module, state):
    """The expansion around a module's weights, at those of a state."""
    line = Linearised(module)
    line.load_state_dict(linearised(state, module.state_dict()))
    return line


# ---- the expansion -----------------------------------------------------------------------------------------------


def test_at_the_start_it_is_the_network(problem):
    module, x = problem
    torch.testing.assert_close(run(Linearised(module), x), run(module, x), rtol=0, atol=1e-12)


def test_at_the_start_its_gradients_are_those_of_the_network(problem):
    module, x = problem
    line = Linearised(module)
    run(module, x).square().sum().backward()
    run(line, x).square().sum().backward()
    found = dict(line.net.named_parameters())
    for name, p in module.named_parameters():
        torch.testing.assert_close(found[name].grad, p.grad, rtol=0, atol=1e-10)
    assert all(p.grad is None and not p.requires_grad for p in line.start.parameters())


def test_it_is_the_derivative_along_the_change(problem):
    module, x = problem
    state = moved(module, 0.1)
    start = {name: p.detach() for name, p in module.named_parameters()}

    def along(t):
        here = {name: p + t * (state[name] - p) for name, p in start.items()}
        args, kwargs = ((), x) if isinstance(x, dict) else ((x,), {})
        with torch.no_grad():
            return first_output(functional_call(module, here, args, kwargs))

    step = 1e-5
    slope = (along(step) - along(-step)) / (2 * step)
    torch.testing.assert_close(run(at(module, state), x) - along(0), slope, rtol=0, atol=1e-7)
    assert float((along(1) - along(0) - slope).abs().max()) > 1e-3  # the network itself is not linear


def test_outputs_of_sums_are_sums_of_outputs(problem):
    module, x = problem
    start, states = module.state_dict(), [moved(module, 1.0, seed) for seed in (1, 2, 3)]
    members = [linearised(state, start) for state in states]
    line, base = Linearised(module), linearised(start, start)
    for weights in ([1.0, 1.0, 1.0], [0.3, -2.0, 1.1]):
        merged = TaskArithmetic(1.0, weights)(members, base)
        outs = []
        for state in (base, merged, *members):
            line.load_state_dict(state)
            outs.append(run(line, x))
        f_0, found, *each = outs
        expected = f_0 + sum(w * (out - f_0) for w, out in zip(weights, each, strict=True))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    line.load_state_dict(Uniform()(members))
    torch.testing.assert_close(run(line, x), sum(each) / 3, rtol=0, atol=1e-10)


def test_a_quadratic_by_hand():
    class Square(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([3.0], dtype=D))

        def forward(self, x):
            return x * self.w**2

    line = at(Square(), {"w": torch.tensor([5.0], dtype=D)})
    assert line(torch.tensor([[1.0], [2.0]], dtype=D)).tolist() == [[9 + 6 * 2], [2 * (9 + 6 * 2)]]


# ---- the module --------------------------------------------------------------------------------------------------


def test_the_mode_and_the_buffers_of_the_net_do_not_count(problem):
    module, x = problem
    line = at(module, moved(module, 0.1))
    expected = run(line.eval(), x)
    before = {k: v.clone() for k, v in line.state_dict().items()}
    assert line.train() is line
    assert line.training
    assert not any(m.training for part in (line.net, line.start) for m in part.modules())
    assert torch.equal(run(line, x), expected)
    assert all(torch.equal(v, before[k]) for k, v in line.state_dict().items())
    with torch.no_grad():
        for b in line.net.buffers():
            b += 1
    assert torch.equal(run(line, x), expected)


def test_the_module_that_is_given_is_copied():
    module = Residual().train()
    line = Linearised(module)
    assert module.training
    assert all(p.requires_grad for p in module.parameters())
    with torch.no_grad():
        module.last.weight.zero_()
    assert line.start.last.weight.abs().sum() > 0
    assert line.net.last.weight.data_ptr() != line.start.last.weight.data_ptr()


def test_it_trains_by_ordinary_steps():
    torch.manual_seed(0)
    module, x = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1)).to(D), rows(40, 3)
    line, y = Linearised(module).train(), x[:, :1] - x[:, 1:2]
    optimizer = torch.optim.SGD(line.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (line(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    start = module.state_dict()
    assert all(torch.equal(v, start[k]) for k, v in line.start.state_dict().items())
    assert all(a >= b for a, b in itertools.pairwise(losses))  # a convex problem


def test_inference_mode_is_no_hindrance(problem):
    module, x = problem
    line = at(module, moved(module, 0.1))
    expected = run(line, x).detach()
    with torch.inference_mode():
        found = run(line, x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_states_of_another_network_are_refused():
    state = {"w": torch.zeros(2)}
    assert [*linearised(state, state)] == ["net.w", "start.w"]
    with pytest.raises(ValueError, match=r"'w' has shape \(2,\) in member the weights and \(3,\) in member the base"):
        linearised(state, {"w": torch.zeros(3)})
    with pytest.raises(ValueError, match="'w' of member the weights is missing in member the base"):
        linearised(state, {"v": torch.zeros(2)})
