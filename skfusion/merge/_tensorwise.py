"""Mergers that look at one tensor of all members at a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, Self, final

import torch
from torch import Tensor

from skfusion._numbers import narrowed
from skfusion.merge._base import Merger, check_states
from skfusion.objective import Objective
from skfusion.state import State, is_statistic, owners, weighted_sum

_PART = 2**16
"""Numbers of a tensor that are merged at a time, where they may be."""


class Entry(NamedTuple):
    """A floating-point tensor, or a part of one, in all members, in double precision.

    Parameters
    ----------
    name : str
        Of the tensor.
    tensors : list of Tensor
        One a member, of one shape.
    base : Tensor, optional
        At the common start, where the merger needs it.
    """

    name: str
    tensors: list[Tensor]
    base: Tensor | None


class TensorMerger(Merger):
    """A merger that needs one tensor of the members at a time, so that it also runs on files of any size.

    Integer tensors become the elementwise maximum over the members, and BatchNorm statistics their mean.
    """

    elementwise: ClassVar[bool] = False
    """Whether an element of the result depends on the same element of the members, and on the survey, only."""

    def n_surveys(self, size: int) -> int:
        """Return how often, as a rule, ``size`` numbers are read, for progress; see :meth:`TensorMerger.survey`."""
        return 0

    def survey(self, read: Callable[[], Iterable[Entry]], n: int) -> Any:
        """Return what must be known of all tensors before the first one is merged.

        Parameters
        ----------
        read : callable
            ``read()`` iterates over the entries of the n members, which may be parts of tensors where the merger is
            elementwise.
        n : int
            Members.

        Returns
        -------
        object
            Handed to :meth:`tensor`; None by default.
        """
        return None

    @abstractmethod
    def tensor(self, entry: Entry, known: Any) -> Tensor:
        """Return the merge of one tensor.

        Parameters
        ----------
        entry : Entry
            The tensor in all members, in double precision; not to be written.
        known : object
            What :meth:`survey` has returned.

        Returns
        -------
        Tensor
            Of the same shape, in double precision.
        """

    def chosen(self, merged: Callable[[Self], State], objective: Objective | None) -> Self:
        """Return this merger with the numbers that are chosen on data, if any are; see :meth:`Merger.__call__`.

        ``merged(merger)`` is what another merger of this kind makes of the members, by the survey of this one.
        """
        return self

    @final
    def __call__(self, states: Sequence[State], base: State | None = None, objective: Objective | None = None) -> State:
        """Return the states merged tensor by tensor; see :meth:`Merger.__call__`."""
        check_states(self, states, base)
        base = base if self.needs_base else None
        sources = [*states] if base is None else [*states, base]
        first = owners(sources)
        keys = [key for key, t in states[0].items() if first[key] == key and is_merged(key, t)]

        def read() -> Iterator[Entry]:
            for key in keys:
                device = states[0][key].device
                for parts in zip(*(self._parts(s[key].detach()) for s in sources), strict=True):
                    wide = [part.to(device, torch.float64) for part in parts]
                    yield Entry(key, wide[: len(states)], None if base is None else wide[-1])

        known = self.survey(read, len(states))
        others = [{key: s[key] for key in s if first[key] == key and key not in {*keys}} for s in states]
        mean = weighted_sum(others, [1 / len(states)] * len(states))

        def merged(merge: Self) -> State:
            parts: dict[str, list[Tensor]] = {key: [] for key in keys}
            for e in read():
                parts[e.name].append(narrowed(merge.tensor(e, known), states[0][e.name].dtype, e.name))
            tensors = {
                key: of_key[0] if len(of_key) == 1 else torch.cat(of_key).view(states[0][key].shape)
                for key, of_key in parts.items()
            }
            return {key: (tensors if first[key] in tensors else mean)[first[key]] for key in states[0]}

        return merged(self.chosen(merged, objective))

    def _parts(self, tensor: Tensor) -> Iterable[Tensor]:
        """Return a tensor, or parts of a large one where it may be merged in parts.

        Copies of a large tensor in double precision take memory that the system has to clear each time, which takes
        longer than the merge; those of parts stay in the caches of the processor.
        """
        if not self.elementwise or tensor.device.type != "cpu" or tensor.numel() <= _PART:
            return [tensor]
        return torch.split(tensor.reshape(-1), _PART)


def is_merged(name: str, tensor: Tensor) -> bool:
    """Return whether a tensor takes part in what a merger does, and is no counter and no statistic of BatchNorm."""
    return tensor.is_floating_point() and not is_statistic(name)


def base_of(entry: Entry) -> Tensor:
    """Return the tensor of the base, or raise ``ValueError`` where there is none."""
    if entry.base is None:
        raise ValueError(f"Tensor {entry.name!r} has no base, so what the members have changed is unknown; give one.")
    return entry.base


def task_vectors(entry: Entry) -> list[Tensor]:
    """Return what fine-tuning has changed: the difference of each member from the base (Ilharco et al., 2023)."""
    return [tensor - base_of(entry) for tensor in entry.tensors]
