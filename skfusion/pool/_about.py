"""What is known of members without reading their weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from skfusion.checkpoints.format import Described
from skfusion.pool._member import Deferred, Member
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


def about(member: Member) -> About:
    """Return what is known of a member; what lies in a file is asked for its header at most."""
    state, estimator = member._kept("state"), member._kept("estimator")
    net = None if member.net is None else type(member.net).__name__
    if state is None:
        kind = ESTIMATOR if isinstance(estimator, Deferred) else type(estimator).__name__
        return About(member.name, member.score, member.meta, kind, net=net)
    tensors: Mapping[str, Described] | None = None
    if not isinstance(state, Deferred):
        own = [name for name, first in owners([state]).items() if name == first]
        tensors = {k: Described(tuple(state[k].shape), str(state[k].dtype).removeprefix("torch.")) for k in own}
        n_bytes = sum(state[k].numel() * state[k].element_size() for k in own)
        return About(member.name, member.score, member.meta, tensors=tensors, n_bytes=n_bytes, net=net)
    header = getattr(state.read, "header", None)  # of a file that can say what it holds
    tensors = None if header is None else header()
    return About(member.name, member.score, member.meta, tensors=tensors, net=net)


def groups(members: Iterable[About]) -> list[int | None]:
    """Return the architecture of each member as a number, from 0 on in the order in which they occur."""
    numbers: dict[frozenset[Any], int] = {}
    keys = [m.architecture for m in members]
    return [None if key is None else numbers.setdefault(key, len(numbers)) for key in keys]
