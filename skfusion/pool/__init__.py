"""Pools of trained members, and stores that keep them."""

from skfusion.pool._arrays import to_numpy, to_torch
from skfusion.pool._checkpoint import read_checkpoint
from skfusion.pool._format import PoolFormatError
from skfusion.pool._leakage import LeakageWarning
from skfusion.pool._member import Member
from skfusion.pool._merge_files import merge_checkpoints
from skfusion.pool._merge_plan import MergeReport
from skfusion.pool._pool import ModelPool
from skfusion.pool._protocol import MemoryStore, Store
from skfusion.pool._store import DirectoryStore

__all__ = [
    "DirectoryStore",
    "LeakageWarning",
    "Member",
    "MemoryStore",
    "MergeReport",
    "ModelPool",
    "PoolFormatError",
    "Store",
    "merge_checkpoints",
    "read_checkpoint",
]
