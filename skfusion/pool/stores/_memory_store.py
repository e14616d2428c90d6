"""Members in memory."""

from __future__ import annotations

from skfusion import state as states_of
from skfusion.pool._member import Member
from skfusion.pool.stores._protocol import check_known


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
        self._members[member.name] = member.replace(state=states_of.copy(member.state))

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
