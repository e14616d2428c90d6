"""What is known of members without reading their weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from skfusion.checkpoints.format import Described
from skfusion.state import owners

ESTIMATOR = "estimator"
"""What a member is that is no network, where its class is not known before it is read."""


@dataclass(frozen=True)
class About:
    """A member by all that is known of it but its weights; ``tensors`` are None where that takes reading them."""

    name: str
    score: float
    meta: Mapping[str, Any]
    kind: str = "network"
    tensors: Mapping[str, Described] | None = None
    n_bytes: int | None = None
    net: str | None = None
    files: Mapping[str, str] | None = None  # names by what is in them: state, rows, predictions, estimator

    @property
    def n_numbers(self) -> int | None:
        """How many numbers its tensors have."""
        return None if self.tensors is None else sum(t.n_numbers for t in self.tensors.values())

    @property
    def source(self) -> str | None:
        """Where it is from, if it says so."""
        source = self.meta.get("source")
        return None if source is None else str(source)

    @property
    def architecture(self) -> frozenset[Any] | None:
        """What is equal for members whose tensors have the same names, shapes and dtypes."""
        return None if self.tensors is None else frozenset((k, t.shape, t.dtype) for k, t in self.tensors.items())


def about(member: Any) -> About:
    """Return what is known of a member; what lies in a file is asked for its header at most."""
    net = None if member.net is None else type(member.net).__name__
    known = {"name": member.name, "score": member.score, "meta": member.meta, "net": net}
    if not member.is_network:
        unread = member.deferred("estimator") is not None
        return About(**known, kind=ESTIMATOR if unread else type(member.estimator).__name__)
    if (unread := member.deferred("state")) is not None:
        return About(**known, tensors=_header(unread.read))
    state = member.state
    own = [name for name, first in owners([state]).items() if name == first]
    tensors = {k: Described(tuple(state[k].shape), str(state[k].dtype).removeprefix("torch.")) for k in own}
    return About(**known, tensors=tensors, n_bytes=sum(state[k].numel() * state[k].element_size() for k in own))


def shapes_of(member: Any) -> frozenset[tuple[str, tuple[int, ...]]]:
    """Return the names and shapes of the tensors of a network; of what lies in a file the header is read at most."""
    unread = member.deferred("state")
    header = None if unread is None else _header(unread.read, ties=True)
    tensors: Mapping[str, Any] = member.state if header is None else header
    return frozenset((name, tuple(tensor.shape)) for name, tensor in tensors.items())


def _header(read: Any, **options: bool) -> Mapping[str, Described] | None:
    """Return what a function would read, where it has a method ``header`` that says so without reading it."""
    try:
        return read.header(**options) if hasattr(read, "header") else None
    except (ValueError, OSError):  # of a file that is damaged or missing, which reading it names
        return None


def groups(members: Iterable[About]) -> list[int | None]:
    """Return the architecture of each member as a number, from 0 on in the order in which they occur."""
    numbers: dict[frozenset[Any], int] = {}
    keys = [m.architecture for m in members]
    return [None if key is None else numbers.setdefault(key, len(numbers)) for key in keys]


def letter(number: int) -> str:
    """Return A, B, ..., Z, AA, AB and so on."""
    head, tail = divmod(number, 26)
    return (letter(head - 1) if head else "") + chr(ord("A") + tail)
