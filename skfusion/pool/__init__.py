"""Pools of trained members, and stores that keep them."""

from skfusion.pool._format import PoolFormatError
from skfusion.pool._pool import LeakageWarning, Member, ModelPool
from skfusion.pool._store import DirectoryStore, MemoryStore, Store

__all__ = [
    "DirectoryStore",
    "LeakageWarning",
    "Member",
    "MemoryStore",
    "ModelPool",
    "PoolFormatError",
    "Store",
]
