"""Pools of members: what collecting hands to fusing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast, overload

import numpy as np
from torch import Tensor, nn

from skfusion import state as states_of
from skfusion._caller import warn_caller
from skfusion._keys import distinct, is_among
from skfusion._numbers import to_numpy, to_torch
from skfusion._rows import Rows, inputs_of
from skfusion.pool._groups import PoolParts
from skfusion.pool._member import Deferred, Member
from skfusion.pool._sources import PoolSources
from skfusion.pool._trials import PoolTrials
from skfusion.pool._views import PoolViews
from skfusion.pool.stores import write_pool
from skfusion.state import State

MOST_BY_CHANCE = 0.05
"""Share of rows that may equal those of training without a warning: rounded numbers are often equal by chance."""


class LeakageWarning(UserWarning):
    """Members are chosen or scored on rows that they were trained on."""


class ModelPool(PoolSources, PoolTrials, PoolParts, PoolViews, Sequence[Member]):
    """An immutable sequence of members, kept between training them and fusing them.

    A pool stands wherever a collector stands, ``SoupClassifier(net, collect=pool)``, and then nothing is trained. A
    slice of a pool is a pool, and so is ``pool[["a", "b"]]``; ``pool["a"]`` and ``pool[0]`` are members.

    Parameters
    ----------
    members : iterable of Member
        At least one, with unique names.
    base : State, optional
        The common starting point of the members.
    classes : array-like, optional
        The class labels in the order of the outputs.

    Attributes
    ----------
    members : tuple of Member
        The members.
    base : State or None
        The common starting point.
    classes : ndarray of shape (n_classes,) or None
        The class labels.

    Examples
    --------
    >>> import torch
    >>> from skfusion import ModelPool
    >>> from skfusion.pool import Member
    >>> pool = ModelPool([Member("a", {"w": torch.zeros(2)}), Member("b", {"w": torch.ones(2)})])
    >>> pool.names, pool["b"].state["w"].tolist()
    (['a', 'b'], [1.0, 1.0])
    """

    members: tuple[Member, ...]
    classes: np.ndarray | None
    _base: State | Deferred | None
    _places: dict[str, int]

    def __init__(self, members: Iterable[Member], base: State | Deferred | None = None, classes: Any = None):
        members = _members_in(members)
        places = {m.name: place for place, m in enumerate(members)}
        if len(places) < len(members):
            twice = sorted(name for name, n in Counter(m.name for m in members).items() if n > 1)
            raise ValueError(f"Member names must be unique in a pool; these occur more than once: {twice}.")
        if classes is not None:
            classes = np.array(classes)
            classes.flags.writeable = False
        vars(self).update(members=members, _base=base, classes=classes, _places=places)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"A ModelPool is immutable: make a new one instead of setting {name!r}.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"A ModelPool is immutable: make a new one instead of deleting {name!r}.")

    def __len__(self) -> int:
        return len(self.members)

    @overload
    def __getitem__(self, key: int | str) -> Member: ...
    @overload
    def __getitem__(self, key: slice | list[Any]) -> ModelPool: ...
    def __getitem__(self, key: int | str | slice | list[Any]) -> Member | ModelPool:
        if isinstance(key, slice):
            return self.replace(self.members[key])
        if isinstance(key, str):
            if key not in self._places:
                raise KeyError(f"No member {key!r} in the pool; there are {self.names}.")
            return self.members[self._places[key]]
        if isinstance(key, (list, tuple, np.ndarray)):
            if len(key) and all(isinstance(k, (bool, np.bool_)) for k in key):
                if len(key) != len(self):
                    raise IndexError(f"A mask of {len(key)} entries does not fit a pool of {len(self)} members.")
                key = np.flatnonzero(key).tolist()
            return self.replace([self[k if isinstance(k, str) else int(k)] for k in key])
        return self.members[key]

    def __repr__(self) -> str:
        shown = self.names if len(self) <= 6 else [*self.names[:3], "...", self.names[-1]]
        return f"ModelPool({len(self)} members: {', '.join(shown)})"

    def __sklearn_clone__(self) -> ModelPool:
        return self

    def __reduce__(self) -> tuple[Callable[..., ModelPool], tuple[Any, ...]]:
        base = None if self.base is None else to_numpy(self.base)
        return _rebuild, (self.members, base, self.classes)

    @property
    def base(self) -> State | None:
        """The common starting point; None where there is none."""
        if isinstance(self._base, Deferred):
            vars(self)["_base"] = self._base.read()
        return cast("State | None", self._base)

    @property
    def names(self) -> list[str]:
        """Names of the members."""
        return [m.name for m in self.members]

    @property
    def states(self) -> list[State]:
        """States of the members."""
        return [m.state for m in self.members]

    def replace(self, members: Iterable[Member] | None = None, **changes: Any) -> ModelPool:
        """Return a pool with other members, base or classes.

        Parameters
        ----------
        members : iterable of Member, optional
            The new members; the present ones when omitted.
        **changes : dict
            ``base`` and ``classes``.

        Returns
        -------
        ModelPool
            The new pool.
        """
        kept = {"base": self._base, "classes": self.classes, **changes}
        return ModelPool(self.members if members is None else members, **kept)

    def check_networks(self) -> None:
        """Raise ``TypeError`` that names the first member that is no network, where weights are asked for."""
        for member in (m for m in self.members if not m.is_network):
            _ = member.state

    def check_finite(self) -> None:
        """Raise ``ValueError`` that names the first network and tensor with NaN or infinity in it."""
        for member in (m for m in self.members if m.is_network):
            states_of.check_finite(member.state, repr(member.name))

    def check_compatible(self, *, any_width: bool = False) -> None:
        """Raise ``ValueError`` that names the first tensor by which members cannot be merged.

        Parameters
        ----------
        any_width : bool, default=False
            Whether tensors may have different shapes, as where hidden layers have different numbers of units.
        """
        names = [repr(n) for n in self.names]
        states_of.check_compatible(self.states, names, any_width=any_width, any_device=True)  # runners move them

    def warn_of_leakage(self, rows: Any, purpose: str) -> int:
        """Warn if more than 5 % of ``rows`` were used to train a member; fewer may be equal to such rows by chance.

        Parameters
        ----------
        rows : Rows
            The rows that members are to be judged on.
        purpose : str
            What they are used for, in the words of the message.

        Returns
        -------
        int
            How many of the rows were seen in training, or have the inputs of one that was.
        """
        _, count, share = _known_rows(self.members, rows)
        if share > MOST_BY_CHANCE:
            warn_caller(
                f"{count} of the {len(rows)} rows used {purpose} ({100 * share:.3g} %) are rows that members of the "
                "pool were trained on, or have their inputs, so their scores are too good. Give rows that no member "
                "has seen, or give a collector instead of a pool, which keeps validation_fraction of the rows apart.",
                LeakageWarning,
            )
        return count

    def warn_of_cross_validation(self, rows: Any) -> None:
        """Warn if members know most of ``rows`` and others too, as where some of their rows are kept to score on.

        Parameters
        ----------
        rows : Rows
            The rows that an estimator with this pool is fitted on.
        """
        marks, count, share = _known_rows(self.members, rows)
        unknown = marks[~is_among(marks, rows.keys)]  # older pools have keys of rows in the place of marks
        others = int((~is_among(distinct(inputs_of(unknown)), inputs_of(rows.marks))).sum())
        if share > 0.5 and others:
            warn_caller(
                f"{count} of the {len(rows)} rows given to fit ({100 * share:.3g} %) are rows that members of the pool "
                f"were trained on, or have their inputs, and members know {others} more. If those are kept to score "
                "on, as in cross-validation, the scores are too good. Score on rows that no member has seen, or give a "
                "collector instead of a pool, which trains members in each fold.",
                LeakageWarning,
            )

    def save(self, path: Any) -> None:
        """Write the pool into a directory; see :class:`~skfusion.pool.DirectoryStore`.

        Parameters
        ----------
        path : path-like or URL
            The directory. A pool that is there already is replaced at once when all is written, or kept whole. Any URL
            that fsspec knows will do, such as ``"s3://bucket/pool"`` where s3fs is installed; there are no locks there,
            so only one process may write.

        Raises
        ------
        PoolFormatError
            If there is something else than a pool, or one of a newer format.
        ValueError
            If a member holds what cannot be stored.
        OSError
            If the disk is full or not writable; a pool that was there stays whole.
        """
        write_pool(self.members, self.base, self.classes, path)


def _known_rows(members: Iterable[Member], rows: Rows) -> tuple[np.ndarray, int, float]:
    """Return the marks of the rows that members were trained on, each once, and how many of ``rows`` and which share.

    A row is among them where it is one of them, or has the inputs of one.
    """
    seen = {id(m.rows): m.rows for m in members if m.rows is not None}
    marks = distinct(np.concatenate([np.empty(0, np.uint64), *seen.values()]))
    count = int(rows.seen(marks, inputs=True).sum()) if len(marks) else 0
    return marks, count, count / max(1, len(rows))


def _rebuild(members: tuple[Member, ...], base: dict[str, Any] | None, classes: np.ndarray | None) -> ModelPool:
    return ModelPool(members, None if base is None else to_torch(base), classes)


def _members_in(argument: Any) -> tuple[Member, ...]:
    """Return members as a tuple, or raise an error that says how the argument becomes a pool."""
    if isinstance(argument, Mapping):
        if any(isinstance(value, Tensor) for value in argument.values()):
            raise TypeError(
                "A pool is made of members; got one state dict. Give it a name: ModelPool([Member('a', state)])."
            )
        raise TypeError(
            f"A pool is made of a list of members; got a {type(argument).__name__}. States by name become one by "
            "ModelPool([Member(name, s) for name, s in states.items()]), paths by name by ModelPool.from_files(paths)."
        )
    if isinstance(argument, str | os.PathLike) or not isinstance(argument, Iterable):
        raise TypeError(f"A pool is made of a list of members; got {_remedy(argument)}")
    members = tuple(argument)
    for place, item in enumerate(members):
        if not isinstance(item, Member):
            raise TypeError(f"Item {place} of a pool must be a Member; got {_remedy(item)}")
    if not members:
        raise ValueError("A pool needs at least one member; got none.")
    return members


def _remedy(item: Any) -> str:
    """Return what an item is that is no member, and how a member is made of it."""
    if isinstance(item, str | os.PathLike):
        read = "Read the folder of a pool by ModelPool.load(path), and checkpoints by ModelPool.from_files"
        return f"the path {os.fspath(item)!r}. {read}({{name: path, ...}})."
    if isinstance(item, Member):
        return "a Member. Give [member, ...]."
    if isinstance(item, Mapping):
        return f"a {type(item).__name__}. Give a state dict a name: Member('a', state)."
    if hasattr(item, "module_"):
        return f"a fitted {type(item).__name__}. Fitted nets become a pool by ModelPool.from_estimators(nets)."
    if isinstance(item, nn.Module):
        return f"a module, {type(item).__name__}. Give its state a name: Member('a', module.state_dict())."
    return f"a {type(item).__name__}. Members are made by Member(name, state)."
