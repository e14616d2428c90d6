"""What a store of members is, and the one in memory."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Protocol, runtime_checkable

from skfusion import state as states_of
from skfusion.pool._member import Member


@runtime_checkable
class Store(Protocol):
    """A place that keeps members by name.

    What is put comes back bit for bit, without its ``net``, which a store need not keep.

    Examples
    --------
    >>> from skfusion.pool import MemoryStore, Store
    >>> isinstance(MemoryStore(), Store)
    True
    """

    def put(self, member: Member) -> None:
        """Keep a member; one of the same name is replaced in its place.

        Parameters
        ----------
        member : Member
            What to keep. Later changes of its tensors do not reach the store.
        """

    def get(self, name: str) -> Member:
        """Return the member of a name, or raise ``KeyError`` that lists the names.

        Parameters
        ----------
        name : str
            One of ``names()``.

        Returns
        -------
        Member
            Its tensors, bit for bit.
        """

    def names(self) -> list[str]:
        """Return the names in the order in which they were first put.

        Returns
        -------
        list of str
            None in a new store.
        """

    def delete(self, name: str) -> None:
        """Forget the member of a name, or raise ``KeyError`` that lists the names.

        Parameters
        ----------
        name : str
            One of ``names()``.
        """


def check_known(name: str, names: Collection[str], store: object) -> None:
    """Raise ``KeyError`` where a name is not one of those in a store."""
    if name not in names:
        raise KeyError(f"No member {name!r} in {store!r}; there are {[*names]}.")


class MemoryStore:
    """A store in memory, for tests and short sessions.

    Examples
    --------
    >>> import torch
    >>> from skfusion.pool import Member, MemoryStore
    >>> store = MemoryStore()
    >>> store.put(Member("a", {"w": torch.ones(2)}))
    >>> store.names(), store.get("a").state["w"].tolist()
    (['a'], [1.0, 1.0])
    """

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}

    def put(self, member: Member) -> None:
        """Keep a copy of a member; see :meth:`Store.put`."""
        if member.is_network:
            self._members[member.name] = member.replace(state=states_of.copy(member.state))
        else:
            self._members[member.name] = member.replace(estimator=copy.deepcopy(member.estimator))

    def get(self, name: str) -> Member:
        """Return the member of a name; see :meth:`Store.get`."""
        check_known(name, self._members, self)
        return self._members[name]

    def names(self) -> list[str]:
        """Return the names in the order of the first puts; see :meth:`Store.names`."""
        return [*self._members]

    def delete(self, name: str) -> None:
        """Forget a member; see :meth:`Store.delete`."""
        check_known(name, self._members, self)
        del self._members[name]

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._members)} members)"
