"""Small fixed problems on which the laws are checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skfusion import nets
from skfusion._batches import mean
from skfusion._component import Component
from skfusion._rows import Rows
from skfusion.average import Average, Running
from skfusion.connect import Subspace
from skfusion.objective import Batch, Likelihood, ModuleObjective, Objective, Wrapper
from skfusion.pool import Member, ModelPool
from skfusion.state import State
from skfusion.symmetry import Symmetry
from skfusion.tracing import symmetry_of

N_HIDDEN = 5
HIDDEN_AXES = {"0.weight": 0, "0.bias": 0, "3.weight": 1} | {
    f"1.{name}": 0 for name in ("weight", "bias", "running_mean", "running_var")
}
"""The axis of each tensor of :func:`module` that counts the hidden units."""


def module(dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return a perceptron of 3 inputs, 5 hidden units with BatchNorm, and 2 classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Linear(3, N_HIDDEN), nn.BatchNorm1d(N_HIDDEN), nn.ReLU(), nn.Linear(N_HIDDEN, 2))
    return layers.to(dtype)


def base(dtype: torch.dtype = torch.float32) -> State:
    """Return the common starting point of :func:`states`."""
    return {k: v.detach().clone() for k, v in module(dtype).state_dict().items()}


def states(n: int = 3, dtype: torch.dtype = torch.float32) -> list[State]:
    """Return n different states near :func:`base`; their batch counters differ."""
    generator = torch.Generator().manual_seed(1)
    near = []
    for k in range(n):
        state = {}
        for key, start in base(torch.float64).items():
            noise = torch.randn(start.shape, generator=generator, dtype=torch.float64)
            state[key] = (start + 0.1 * noise).to(dtype) if start.is_floating_point() else start + 10 * (k + 1)
        near.append(state)
    return near


def validation_losses(n: int) -> list[float]:
    """Return the losses after each of n epochs, which fall for a third of them, and rise again."""
    return [1 + 0.2 * abs(epoch - n // 3) for epoch in range(n)]


def weights_of_states(average: Average, n: int) -> list[float]:
    """Return how much each of n states counts; averages that need losses are given those of epochs of a step."""
    return average.coefficients(n, *_losses_for(average, n))


def average_of(average: Average, trajectory: Sequence[State]) -> State:
    """Return the average of a stored trajectory, as :func:`weights_of_states` does its weights."""
    return average.of(trajectory, *_losses_for(average, len(trajectory)))


def _losses_for(average: Average, n: int) -> tuple[Any, ...]:
    return (validation_losses(n - 1),) if average.needs_validation else ()


def streamed(average: Average, trajectory: Sequence[State]) -> Running:
    """Return a running average that has seen the states of a run, each of which is overwritten by the next."""
    losses = [math.nan, *validation_losses(len(trajectory) - 1)]
    running = average.begin(len(trajectory) - (average.unit == "step"))
    live = {k: v.clone() for k, v in trajectory[0].items()}
    for number, state in enumerate(trajectory, average.unit == "epoch"):
        for key, tensor in live.items():
            tensor.copy_(state[key])
        running.update(number, live)
        if average.needs_validation and number:
            running.validated(losses[number], live)
    return running


def permuted(state: State, order: Sequence[int]) -> State:
    """Return the state with its hidden units in another order."""
    index = torch.tensor(order)
    return {k: v.index_select(HIDDEN_AXES[k], index) if k in HIDDEN_AXES else v for k, v in state.items()}


def inputs(n: int = 40, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return inputs of shape (n, 3) whose mean and scale are not 0 and 1."""
    generator = torch.Generator().manual_seed(2)
    return (1 + 2 * torch.randn(n, 3, generator=generator, dtype=torch.float64)).to(dtype)


def objective(dtype: torch.dtype = torch.float32) -> Objective:
    """Return an objective on labelled data in unequal batches; its score is the negative mean loss."""
    batches = [*map(_labelled, inputs(40, dtype).split([25, 11, 4]))]
    held_out = [_labelled(inputs(80, dtype)[40:])]
    return _judged(dtype, batches, held_out, likelihood=Likelihood("categorical", lambda out: out))


def to_train(dtype: torch.dtype = torch.float32) -> Objective:
    """Return an objective on 240 labelled rows in six batches; loss and score are judged on these rows too."""
    batches = [*map(_labelled, inputs(240, dtype).split(40))]
    return _judged(dtype, batches, batches, likelihood=Likelihood("categorical", lambda out: out))


def _labelled(x: Tensor) -> Batch:
    return Batch(x, (x[:, 0] > x[:, 1]).long())


def _judged(dtype: torch.dtype, batches: list[Batch], held_out: list[Batch], **more: Any) -> Objective:
    def loss(state: State) -> float:
        with torch.no_grad():
            losses = [nn.functional.cross_entropy(data.forward(state, b.x).double(), b.y) for b in held_out]
        return float(torch.stack(losses).mean())

    data = ModuleObjective(
        module(dtype).eval(),
        lambda: batches,
        loss,
        lambda state: -loss(state),
        held_out=lambda: held_out,
        criterion=lambda out, batch: nn.functional.cross_entropy(out, batch.y),
        **more,
    )
    return data


class _Fed(Wrapper):
    def __init__(self, objective: Objective, batches: Sequence[Batch]):
        super().__init__(objective)
        self._batches = batches

    def batches(self) -> Sequence[Batch]:
        return self._batches

    training = batches


def fed(data: Objective, batches: Sequence[Batch]) -> Objective:
    """Return an objective with other batches."""
    return _Fed(data, batches)


def ends(dtype: torch.dtype = torch.float32) -> list[State]:
    """Return two trained states of :func:`module` between which there is a barrier, on :func:`to_train`."""
    return [
        {k: v.to(dtype, copy=True) if v.is_floating_point() else v.clone() for k, v in state.items()}
        for state in _trained_ends()
    ]


@cache
def _trained_ends() -> list[State]:
    x = inputs(240, torch.float64)
    trained = []
    for seed in range(2):
        net = module(torch.float64)
        generator = torch.Generator().manual_seed(seed)
        for p in net.parameters():
            p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64) / 2
        optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
        with torch.enable_grad():
            for _ in range(100):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x), (x[:, 0] > x[:, 1]).long()).backward()
                optimizer.step()
        trained.append({k: v.detach().clone() for k, v in net.state_dict().items()})
    return trained


def networks(depth: int) -> tuple[list[State], Symmetry, Objective]:
    """Return three states of a perceptron of 3 inputs and ``depth`` hidden layers, its symmetry, and rows.

    The targets are the outputs of the first state.
    """
    widths = [3, *[N_HIDDEN + 2] * depth, 2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        parts = [[nn.Linear(i, o), nn.Tanh()] for i, o in pairwise(widths)]
        net = nn.Sequential(*[m for part in parts for m in part][:-1]).double().eval()
        random = [{k: torch.randn_like(v) for k, v in net.state_dict().items()} for _ in range(3)]
    x = inputs(60, torch.float64)
    y = torch.func.functional_call(net, random[0], (x,)).detach()
    batches = [Batch(x[:25], y[:25]), Batch(x[25:], y[25:])]

    def criterion(out: Tensor, batch: Batch) -> Tensor:
        return mean((out - batch.y.reshape(len(out), -1)).square().mean(1), batch.weight)

    def loss(state: State) -> float:
        with torch.no_grad():
            return float(criterion(data.forward(state, x), Batch(x, y)))

    data = ModuleObjective(net, lambda: batches, loss, lambda state: -loss(state), criterion=criterion)
    return random, symmetry_of(net, x, general=True), data


def pool() -> ModelPool:
    """Return a pool of four members that have no scores yet."""
    members = [Member(name, state) for name, state in zip("abcd", states(4), strict=True)]
    return ModelPool(members, base())


def predictions(task: str, n_members: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions of shape (n_members, 30, n_outputs) of members that know a little, and the targets."""
    rng = np.random.RandomState(3)
    if task == "regression":
        y = rng.normal(size=(30, 2))
        return y + rng.normal(size=(n_members, 30, 2)), y
    if task == "multilabel":
        y = rng.randint(2, size=(30, 3))
        logits = 2.0 * y - 1 + rng.normal(size=(n_members, 30, 3))
        return 1 / (1 + np.exp(-logits)), y
    y = rng.randint(3, size=30)
    logits = 2.0 * np.eye(3)[y] + rng.normal(size=(n_members, 30, 3))
    return np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True), y


def sure(task: str, n_members: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions of members that are all equal and all right, and the targets."""
    y = predictions(task, 1)[1]
    if task == "classification":
        one = 0.8 * np.eye(3)[y] + 0.2 / 3
    else:
        one = y.astype(np.float64) if task == "regression" else np.where(y == 1, 0.9, 0.1)
    return np.repeat(one[None], n_members, axis=0), y


def rows(task: str = "classification") -> Rows:
    """Return 24 rows of training data, all different."""
    rng = np.random.RandomState(4)
    X = rng.normal(size=(24, 3)).astype(np.float32)
    if task == "regression":
        return Rows(X, (X[:, :1] - X[:, 1:2]).astype(np.float32))
    return Rows(X, (X[:, 0] > X[:, 1]).astype(np.int64) + (X[:, 2] > 1))


def net(**params: Any) -> Any:
    """Return a small skorch net with dropout and BatchNorm that trains for four epochs."""
    params = {"max_epochs": 4, "batch_size": 8, "lr": 0.02, "module__hidden": (4,), "module__norm": "batch", **params}
    return nets.mlp_classifier(module__dropout=0.1, **params)


def sized_net(**params: Any) -> Any:
    """Return the small net, sized to the rows of classification."""
    return nets.sized(net(**params), rows(), 3)


_CONTENT: dict[type, Callable[[Any], list[Any]]] = {
    Objective: lambda o: [o.module, list(o.batches())],
    Subspace: lambda s: [s.controls, s.basis, s.history],
    Symmetry: lambda s: [s.groups, s.shapes, [*s.axes]],
    Rows: lambda r: [r.X, r.y, r.weight],
    Member: lambda m: [
        m.name,
        m.state if m.is_network else repr(vars(m.estimator)),
        m.score,
        dict(m.meta),
        m.rows,
        m.predictions,
    ],
    ModelPool: lambda p: [*p.members, p.base, p.classes],
}


def snapshot(thing: Any) -> Any:
    """Return a value that is equal for two things with the same content, bit for bit."""
    if isinstance(thing, Tensor):
        data = thing.detach().cpu().contiguous()
        content = data.reshape(-1).view(torch.uint8).numpy().tobytes() if data.numel() else b""
        return "tensor", str(thing.dtype), tuple(thing.shape), content
    if isinstance(thing, np.ndarray):
        return "array", str(thing.dtype), thing.shape, thing.tobytes()
    if isinstance(thing, nn.Module):
        modes = tuple(m.training for m in thing.modules())
        return "module", modes, snapshot(thing.state_dict())
    for kind, content in _CONTENT.items():
        if isinstance(thing, kind):
            return snapshot(content(thing))
    if isinstance(thing, Mapping):
        return "mapping", tuple((repr(k), snapshot(v)) for k, v in thing.items())
    if isinstance(thing, (list, tuple)):
        return "sequence", tuple(snapshot(v) for v in thing)
    if nets.is_net(thing):
        return "net", getattr(thing, "initialized_", False), snapshot(thing.get_params(deep=False))
    if isinstance(thing, Component) or thing is None or isinstance(thing, (str, bytes, bool, int, float, np.generic)):
        return repr(thing)
    return type(thing).__qualname__
