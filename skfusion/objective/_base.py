"""What a data-dependent method may ask of an architecture and its data, and objectives that wrap others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from skfusion.state import State

Input = Tensor | dict[str, Tensor]


class Batch(NamedTuple):
    """Some rows: inputs, targets, and weights where rows count differently.

    Parameters
    ----------
    x : Tensor or dict of Tensor
        Inputs; the first axis counts rows.
    y : Tensor of shape (n_rows, ...)
        Targets as the criterion takes them.
    weight : Tensor of shape (n_rows,), optional
        Weights.
    """

    x: Input
    y: Tensor
    weight: Tensor | None = None  # shape: (n_rows,)


Batches = Callable[[], Iterable[Batch]]


@dataclass(frozen=True)
class Likelihood:
    """What the outputs of a network say about a target.

    Parameters
    ----------
    kind : {"categorical", "bernoulli", "gaussian"}
        Classes that exclude each other; labels that do not; values with unit variance.
    logits : callable
        ``logits(output)``, of shape (n_rows, n_outputs): log-probabilities of classes up to a constant a row, log-odds
        of labels, or values. Gradients pass through it.
    """

    kind: Literal["categorical", "bernoulli", "gaussian"]
    logits: Callable[[Tensor], Tensor]

    def log_prob(self, output: Tensor, y: Tensor) -> Tensor:
        """Return the log-probability of each row's target, up to a constant.

        Parameters
        ----------
        output : Tensor of shape (n_rows, ...)
            What the network returns.
        y : Tensor of shape (n_rows, ...)
            Class codes, labels of 0 and 1, or values.

        Returns
        -------
        Tensor of shape (n_rows,)
            In nats.
        """
        z = self.logits(output)
        if self.kind == "categorical":
            return F.log_softmax(z, dim=1).gather(1, y.reshape(-1, 1).long()).squeeze(1)
        y = y.reshape(z.shape).to(z.dtype)
        if self.kind == "bernoulli":
            return -F.binary_cross_entropy_with_logits(z, y, reduction="none").sum(dim=1)
        return -0.5 * (z - y).square().sum(dim=1)

    def entropy(self, output: Tensor) -> Tensor:
        """Return the entropy of each row's prediction, shape (n_rows,), in nats; see :meth:`log_prob`.

        Of labels it is the sum over labels. Values have none, and raise ``ValueError``.
        """
        z = self.logits(output)
        if self.kind == "gaussian":
            raise ValueError("Values that are predicted have no entropy: this method is for classifiers.")
        if self.kind == "categorical":
            return -(F.softmax(z, dim=1) * F.log_softmax(z, dim=1)).sum(dim=1)
        return F.binary_cross_entropy_with_logits(z, z.sigmoid(), reduction="none").sum(dim=1)


class Objective(ABC):
    """An architecture with the data to run and to judge states on.

    A subclass sets ``module`` and defines ``batches``, and of the rest what it has. :class:`ModuleObjective` takes all
    of it as functions.

    Attributes
    ----------
    module : nn.Module
        The architecture; the weights in it are never read.
    likelihood : Likelihood or None
        How outputs are read.
    criterion : callable or None
        ``criterion(output, batch)`` is the mean loss of a batch by its weights; gradients pass through it.
    held_out : callable or None
        ``held_out()`` iterates over :class:`Batch` of the labelled rows that states are judged on.
    of_output : callable or None
        ``of_output(output)`` is the pair (loss, score) of the module's output for all held-out rows, in their order.
    class_weight : Tensor of shape (n_classes,), or None
        What a row of each class counts for in ``criterion``, beside the weights of rows; the mean over rows is 1.
    member_batches : sequence of callable
        ``member_batches[k]()`` iterates over the rows that member k was trained on; empty where all rows are for all.
    """

    module: nn.Module
    likelihood: Likelihood | None = None
    criterion: Callable[[Tensor, Batch], Tensor] | None = None
    held_out: Batches | None = None
    of_output: Callable[[Tensor], tuple[float, float]] | None = None
    class_weight: Tensor | None = None
    member_batches: Sequence[Batches] = ()

    @abstractmethod
    def batches(self) -> Iterable[Batch]:
        """Iterate over the data that statistics are estimated on; labels may be missing.

        Returns
        -------
        iterable of Batch
            The same rows in the same order every time.
        """

    def training(self) -> Iterable[Batch]:
        """Iterate over an epoch of mini-batches of labelled rows, as training would do; see :meth:`batches`.

        The order is drawn from torch's global generator. The batches themselves stand in where it is not defined.
        """
        return self.batches()

    def loss(self, state: State) -> float:
        """Return the mean held-out loss of a state.

        Parameters
        ----------
        state : State
            All tensors of the module by name.

        Returns
        -------
        float
            In the units of the criterion.

        Raises
        ------
        ValueError
            If the objective has nothing to judge by, or tensors are missing.
        """
        raise _nothing_to_judge_by("loss")

    def score(self, state: State) -> float:
        """Return the held-out score of a state, higher is better; see :meth:`loss`."""
        raise _nothing_to_judge_by("score")

    def scores(self, states: Iterable[State]) -> list[float]:
        """Return the held-out score of each state, of which one may be made at a time; see :meth:`score`."""
        return [self.score(state) for state in states]  # override it where many cost less together than one by one

    def evaluate(self, states: Iterable[State]) -> list[tuple[float, float]]:
        """Return loss and score of each state, of which one may be made at a time; see :meth:`scores`."""
        return [(self.loss(state), self.score(state)) for state in states]

    def forward(self, state: State, x: Input) -> Tensor:
        """Return the first output, or ``logits``, for inputs x in the module's present mode; see :meth:`loss`."""
        return call(self.module, self.whole(state), x)

    def report(self, name: str, value: Any) -> None:  # noqa: B027
        """Receive something that a method has computed, such as the number of its evaluations; ignored by default.

        Parameters
        ----------
        name : str
            What it is.
        value : object
            Its value.
        """

    def of_member(self, k: int) -> Objective:
        """Return the objective with the rows that member k was trained on; see :meth:`batches`."""
        return OfMember(self, k) if self.member_batches else self

    def whole(self, state: State) -> State:
        """Return the state itself, or raise ``ValueError`` that names the tensors it lacks; see :meth:`loss`."""
        if missing := [name for name in self._names if name not in state]:
            raise ValueError(
                f"The state lacks {len(missing)} of the {len(self._names)} tensors of {type(self.module).__name__}: "
                f"{', '.join(map(repr, missing[:3]))}{' ...' if len(missing) > 3 else ''}. A network is judged and run "
                "with all of its tensors: give the whole state, or the missing tensors as a head."
            )
        return state

    @cached_property
    def _names(self) -> list[str]:
        return [name for name, value in self.module.state_dict().items() if isinstance(value, Tensor)]


def _nothing_to_judge_by(name: str) -> ValueError:
    return ValueError(f"This objective has rows to run states on, and nothing to judge them by: give it {name}=.")


class Wrapper(Objective):
    """Another objective, which judges what :meth:`judged` makes of states; a subclass overrides what differs."""

    def __init__(self, objective: Objective):
        self.objective = objective
        self.module, self.likelihood = objective.module, objective.likelihood
        self.criterion, self.class_weight = objective.criterion, objective.class_weight
        self.held_out, self.of_output = objective.held_out, objective.of_output
        self.member_batches = objective.member_batches

    def batches(self) -> Iterable[Batch]:
        return self.objective.batches()

    def training(self) -> Iterable[Batch]:
        return self.objective.training()

    def loss(self, state: State) -> float:
        return self.objective.loss(self.judged(state))

    def score(self, state: State) -> float:
        return self.objective.score(self.judged(state))

    def scores(self, states: Iterable[State]) -> list[float]:
        return self.objective.scores(map(self.judged, states))

    def evaluate(self, states: Iterable[State]) -> list[tuple[float, float]]:
        return self.objective.evaluate(map(self.judged, states))

    def forward(self, state: State, x: Input) -> Tensor:
        return self.objective.forward(self.whole(state), x)

    def report(self, name: str, value: Any) -> None:
        self.objective.report(name, value)

    def whole(self, state: State) -> State:
        return self.objective.whole(state)

    def judged(self, state: State) -> State:
        """Return the state that the other objective judges in the place of one."""
        return self.whole(state)


class OfMember(Wrapper):
    """An objective as member k sees it: with the rows that it was trained on."""

    def __init__(self, objective: Objective, k: int):
        super().__init__(objective)
        self.batches = self.training = objective.member_batches[k]  # type: ignore[method-assign]
        self.member_batches = ()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode, and restore the modes of its parts afterwards, also after an error."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def call(module: nn.Module, state: State, x: Input) -> Tensor:
    """Return ``module(x)`` with the tensors of ``state``; buffers are cloned where training would write to them."""
    return first_output(run(module, state, x))


def first_output(out: Any) -> Tensor:
    """Return the logits of a module that returns several things by name, or the first of those that come in order."""
    if isinstance(out, Mapping):
        logits: Tensor = out["logits"] if "logits" in out else next(iter(out.values()))
        return logits
    first: Tensor = out[0] if isinstance(out, (tuple, list)) else getattr(out, "logits", out)
    return first


def run(module: nn.Module, state: State, x: Input) -> Any:
    """Return all that the module returns for ``x`` with the tensors of ``state``, tied or not."""
    if any(m.training for m in module.modules()):
        buffers = {name for name, _ in module.named_buffers(remove_duplicate=False)}
        state = {k: v.clone() if k in buffers else v for k, v in state.items()}
    args, kwargs = ((), x) if isinstance(x, dict) else ((x,), {})
    every = {name for name, _ in module.named_modules(remove_duplicate=False)}
    others = every - {name for name, _ in module.named_modules()}  # further names of a part: one sets its tensors
    state = {k: v for k, v in state.items() if k.rpartition(".")[0] not in others} if others else state
    return functional_call(module, state, args, kwargs, tie_weights=False)
