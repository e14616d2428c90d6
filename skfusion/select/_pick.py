"""Members that are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skfusion.objective import Objective
from skfusion.pool import ModelPool
from skfusion.select._base import Selector


class Pick(Selector):
    """Keep the members that are named.

    Parameters
    ----------
    members : sequence of str or int
        Names, or positions in the pool, where -1 is the last one. More members cost more to fuse.

    Notes
    -----
    Costs nothing. A search over ``Pick`` is one over subsets; pruning ensembles so was studied first by Zhou et al.

    References
    ----------
    Zhou, Wu and Tang, "Ensembling neural networks: many could be better than all", Artificial Intelligence 137,
    2002, doi:10.1016/S0004-3702(02)00190-X.

    Examples
    --------
    >>> from skfusion.pool import Member, ModelPool
    >>> from skfusion.select import Pick
    >>> pool = ModelPool([Member(name, {}) for name in ("a", "b", "c")])
    >>> Pick(["c", 0])(pool).names
    ['a', 'c']
    """

    def __init__(self, members: Sequence[str | int]):
        self.members = members

    def check(self) -> None:
        """Raise ``ValueError`` where members are no list of names or positions; see :meth:`Selector.check`."""
        if isinstance(self.members, (str, int)) or not len(self.members):
            raise ValueError(f"members of Pick must be a list of at least one name or position; got {self.members!r}.")

    def __call__(self, pool: ModelPool, objective: Objective | None = None) -> ModelPool:
        """Return the named members in the pool's order; see :meth:`Selector.__call__`."""
        self.check()
        positions = {name: place for place, name in enumerate(pool.names)}
        places = [position_of(member, positions) for member in self.members]
        if twice := sorted(pool[place].name for place, n in Counter(places).items() if n > 1):
            raise ValueError(f"Pick names these members more than once: {twice}.")
        return pool[sorted(places)]

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"members": (0,)}

    @classmethod
    def _test_skips(cls) -> dict[str, str]:
        return {"check_reported_score_is_the_score_used": "no score is used, so none is computed"}


def position_of(member: str | int, positions: Mapping[str, int]) -> int:
    """Return the position of a member that is given by its name or position, in a pool with names at ``positions``."""
    if isinstance(member, str):
        if member not in positions:
            raise ValueError(f"Pick names {member!r}, and the pool has the members {[*positions]}.")
        return positions[member]
    if not -len(positions) <= member < len(positions):
        raise ValueError(f"Pick takes the member at position {member} of a pool of {len(positions)} members.")
    return member % len(positions)
