"""Pools of trained members, and stores that keep them.

A pool is what training hands to fusing: an immutable sequence of members (`_pool`, `_member`) that warns where members
are judged on rows that they know. `stores` keep members in memory or on disk, `importers` make them of
networks that were trained elsewhere; `_sources` has the methods that make a pool of both, and `_subspaces` keeps what
connectors return. The room may import `checkpoints` and what is below. A new way to make a pool is a class method in
`_sources` on a function in `importers`.
"""

from skfusion.checkpoints.format import PoolFormatError
from skfusion.pool._member import Deferred as Deferred
from skfusion.pool._member import Member
from skfusion.pool._merge_folders import merge_folders
from skfusion.pool._pool import MOST_BY_CHANCE as MOST_BY_CHANCE
from skfusion.pool._pool import LeakageWarning, ModelPool
from skfusion.pool._subspaces import load_subspace, save_subspace
from skfusion.pool.stores import DirectoryStore, MemoryStore, Store

__all__ = [
    "DirectoryStore",
    "LeakageWarning",
    "Member",
    "MemoryStore",
    "ModelPool",
    "PoolFormatError",
    "Store",
    "load_subspace",
    "merge_folders",
    "save_subspace",
]
