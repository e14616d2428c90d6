"""What a data-dependent method may ask of the world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.func import functional_call

from skfusion._likelihood import Likelihood
from skfusion.state import State

__all__ = ["Batch", "Likelihood", "Objective"]

Input = Tensor | dict[str, Tensor]


class Batch(NamedTuple):
    """Some rows: inputs, targets, and weights where the rows do not count alike.

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


def _unheard(name: str, value: object) -> None:
    """Take no notice.

    Parameters
    ----------
    name : str
        What is told of.
    value : object
        What it is.
    """


@dataclass(frozen=True)
class Objective:
    """An architecture with the data to run and to judge states on.

    Parameters
    ----------
    module : nn.Module
        The architecture; its own weights are never read.
    batches : callable
        ``batches()`` iterates over :class:`Batch` of the data that statistics are estimated on.
    one_loss : callable, optional
        ``one_loss(state)`` is the mean held-out loss; ask by :meth:`loss`. Methods that only run states need none.
    one_score : callable, optional
        ``one_score(state)`` is the held-out score, higher is better; ask by :meth:`score`.
    many_scores : callable, optional
        ``many_scores(states)`` gives the scores of many states, at less cost than one by one.
    many_both : callable, optional
        ``many_both(states)`` gives a pair (loss, score) for each of many states.
    of_output : callable, optional
        ``of_output(output)`` is the pair (loss, score) of the module's output for all held-out rows, in their order.
    held_out : callable, optional
        ``held_out()`` iterates over :class:`Batch` of the labelled rows that ``loss`` and ``score`` judge on.
    training : callable, optional
        ``training()`` iterates over an epoch of mini-batches of labelled rows, as the network would be trained on them;
        their order is drawn from torch's global generator. ``batches`` stand in where it is omitted.
    criterion : callable, optional
        ``criterion(output, batch)`` is the mean loss of a batch by its weights; gradients pass through it.
    likelihood : Likelihood, optional
        How outputs are read.
    own : tuple of callable, optional
        ``own[k]()`` iterates over the rows that member k was trained on, where members were trained on unlike rows.
    heads : tuple of State, optional
        Tensors of member k that are never merged, such as the last layer for its task. Where there is one head, it is
        run in the place of the states' own tensors; of several, only a member's can be, see :meth:`of_member`.
    report : callable, optional
        ``report(name, value)`` is told what a method finds out, such as the number of its evaluations.
    """

    module: nn.Module
    batches: Callable[[], Iterable[Batch]]
    one_loss: Callable[[State], float] | None = None
    one_score: Callable[[State], float] | None = None
    many_scores: Callable[[Iterable[State]], list[float]] | None = None
    many_both: Callable[[Iterable[State]], list[tuple[float, float]]] | None = None
    of_output: Callable[[Tensor], tuple[float, float]] | None = None
    held_out: Callable[[], Iterable[Batch]] | None = None
    training: Callable[[], Iterable[Batch]] | None = None
    criterion: Callable[[Tensor, Batch], Tensor] | None = None
    likelihood: Likelihood | None = None
    own: tuple[Callable[[], Iterable[Batch]], ...] = ()
    heads: tuple[State, ...] = ()
    report: Callable[[str, Any], None] = field(default=_unheard, repr=False)

    def loss(self, state: State) -> float:
        """Return the mean held-out loss of a state.

        Parameters
        ----------
        state : State
            Tensors by name; those of the head may be missing.

        Returns
        -------
        float
            In the units of the criterion.

        Raises
        ------
        ValueError
            If the objective has nothing to judge by, or tensors are missing.
        """
        return _given(self.one_loss, "one_loss")(self._whole(state))

    def score(self, state: State) -> float:
        """Return the held-out score of a state.

        Parameters
        ----------
        state : State
            Tensors by name; those of the head may be missing.

        Returns
        -------
        float
            Higher is better.

        Raises
        ------
        ValueError
            If the objective has nothing to judge by, or tensors are missing.
        """
        return _given(self.one_score, "one_score")(self._whole(state))

    def scores(self, states: Iterable[State]) -> list[float]:
        """Return the held-out score of each state.

        Parameters
        ----------
        states : iterable of State
            They may be made while they are asked for.

        Returns
        -------
        list of float
            Higher is better.
        """
        return self.many_scores(map(self._whole, states)) if self.many_scores else [self.score(s) for s in states]

    def evaluate(self, states: Iterable[State]) -> list[tuple[float, float]]:
        """Return loss and score of each state.

        Parameters
        ----------
        states : iterable of State
            They may be made while they are asked for.

        Returns
        -------
        list of (float, float)
            As :meth:`loss` and :meth:`score` give them.
        """
        if self.many_both:
            return self.many_both(map(self._whole, states))
        return [(self.loss(s), self.score(s)) for s in states]

    def of_member(self, k: int) -> Objective:
        """Return the objective as one member sees it.

        Parameters
        ----------
        k : int
            Which member.

        Returns
        -------
        Objective
            With its own rows and its own head.
        """
        batches = self.own[k] if self.own else self.batches
        return replace(self, batches=batches, own=(), heads=self.heads[k : k + 1])

    def forward(self, state: State, x: Input) -> Tensor:
        """Run a state in the module's present mode.

        Parameters
        ----------
        state : State
            Not written to.
        x : Tensor or dict of Tensor
            Inputs.

        Returns
        -------
        Tensor
            The first of the outputs, or the one that is called ``logits``.
        """
        return call(self.module, self._whole(state), x)

    def _whole(self, state: State) -> State:
        """Return a state with the head in its place, or raise where there are several, or a tensor is missing."""
        if len(self.heads) > 1:
            raise ValueError(
                f"There are {len(self.heads)} heads, one a member, and which one to run is unknown. Mergers that judge "
                "networks by their loss or score cannot judge a body that has several heads: choose their parameters "
                "yourself, as in TaskArithmetic(scale=0.3), or merge with Uniform, TIES, Fisher, RegMean or "
                "AdaMerging. For the view of one member, ask of_member(k)."
            )
        whole = {**state, **self.heads[0]} if self.heads else state
        if missing := [name for name in self._names if name not in whole]:
            raise ValueError(
                f"The state lacks {len(missing)} of the {len(self._names)} tensors of {type(self.module).__name__}: "
                f"{', '.join(map(repr, missing[:3]))}{' ...' if len(missing) > 3 else ''}. A network is judged and run "
                "with all of its tensors: give the whole state, or the missing tensors as a head."
            )
        return whole

    @cached_property
    def _names(self) -> list[str]:
        return [name for name, value in self.module.state_dict().items() if isinstance(value, Tensor)]


def _given(judge: Callable[[State], float] | None, name: str) -> Callable[[State], float]:
    if judge is None:
        raise ValueError(f"This objective has rows to run states on, and nothing to judge them by: give it {name}=.")
    return judge


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Let a module be in evaluation mode, and give its parts their own modes back, also after an error."""
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
        found: Tensor = out["logits"] if "logits" in out else next(iter(out.values()))
        return found
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
