"""What callbacks may do between the epochs of a stack: skorch's own are known, those of users are watched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from skorch import callbacks as known
from skorch.callbacks import Callback
from torch import Tensor, nn

from skfusion._vectorized import NotVectorizableError, Stack, attributes, difference
from skfusion.nets._training_callback import Watch
from skfusion.nets.vectorized._supported import check_optimizer

if TYPE_CHECKING:
    from skfusion.nets.vectorized._member import TrainingMember

_OF_A_BATCH = ("on_batch_begin", "on_batch_end", "on_grad_computed")

_KNOWN = (
    *(Watch, known.EpochTimer, known.PrintLog, known.PassthroughScoring, known.EpochScoring, known.EarlyStopping),
    *(known.LRScheduler, known.GradientNormClipping),
)


def check_callbacks(net: Any) -> None:
    """Raise where a callback acts on single batches, or on files that members would share.

    Parameters
    ----------
    net : skorch net
        Initialised.

    Raises
    ------
    NotVectorizableError
        It names the callback.
    """
    for _, callback in net.callbacks_:
        kind = type(callback)
        if kind in _KNOWN:
            caching = getattr(callback, "use_caching", False) if net.use_caching == "auto" else net.use_caching
            if isinstance(callback, known.EpochScoring) and callback.on_train and caching:
                raise NotVectorizableError("EpochScoring(on_train=True) keeps the outputs of every batch")
            continue
        if kind.__module__.startswith("skorch"):
            raise NotVectorizableError(f"the callback {kind.__name__} is only known to skorch's own loop")
        for hook in _OF_A_BATCH:
            if getattr(kind, hook) is not getattr(Callback, hook):
                raise NotVectorizableError(f"the callback {kind.__name__} acts in {hook}")


def has_foreign_callback(net: Any) -> bool:
    """Return whether a callback has code that is not skorch's, so that it might do anything between epochs."""
    own = (type(c) not in _KNOWN or callable(getattr(c, "scoring", None)) for _, c in net.callbacks_)
    return any(own)


class Withheld(dict[Any, Any]):
    """Stands for the state of an optimiser, which a member of a stack has not: who looks at it learns so."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise NotVectorizableError("one of its callbacks looks at the state of the optimiser")

    __getitem__ = __setitem__ = __delitem__ = __contains__ = __iter__ = __len__ = __eq__ = __reduce_ex__ = _refuse
    get = items = keys = values = pop = popitem = setdefault = update = clear = copy = _refuse
    __hash__ = None  # type: ignore[assignment]


def check_alike(stack: Stack, seats: Sequence[TrainingMember]) -> None:
    """Raise where callbacks have changed what the stack holds, or what members have in common.

    Parameters
    ----------
    stack : Stack
        Computes all members by the code and attributes of the first.
    seats : sequence of TrainingMember
        Its members, before an epoch.

    Raises
    ------
    NotVectorizableError
        It names what has changed.
    """
    check_intact(stack, seats)
    first: dict[str, Any] = {}
    for seat in seats:
        if seat.net.optimizer_ is not seat.optimizer:
            raise NotVectorizableError("one of its callbacks replaced the optimiser")
        check_optimizer(seat.net)
        found = {**attributes(seat.net.module_), **seat.beside()}
        found = {name: value for name, value in found.items() if name.rpartition(".")[2] != "training"}  # set by epochs
        first = first or found
        if (name := difference(first, found)) is not None:
            raise NotVectorizableError(f"one of its callbacks gives each member another {name!r}")


def check_intact(stack: Stack, seats: Sequence[TrainingMember]) -> None:
    """Raise where callbacks have replaced modules or parameters, or changed which of them are trained."""
    if any(seat.net.module_ is not m for seat, m in zip(seats, stack.modules, strict=True)) or not stack.intact():
        raise NotVectorizableError("one of its callbacks replaced or froze parameters")


def hand_out(grad: Any, stack: Stack, owners: Sequence[dict[str, nn.Parameter]]) -> None:
    """Give each member's parameters their gradients of the last batch, which callbacks may look at."""
    for k, own in enumerate(owners):
        found = stack.by_name(grad[k]).values() if isinstance(grad, Tensor) else [part[k] for _, part in grad]
        for name, part in zip(stack.trained, found, strict=True):
            own[name].grad = part.clone()
