"""Stores keep members by name: in memory, or in a directory that other processes and later sessions read.

`_store` says what a store is. A directory is read by `_directory_store`, changed by `_writer` (locks, crash safety),
and read back without its index by `_recover`; the format of its files is that of `skfusion.checkpoints.format`.
Functions here take and return the parts of a pool (members, base, classes), for `ModelPool` stands above this room. A
new store is a class with the four methods of `Store`, in one file; `testing.check_store` holds the laws that it must
pass.
"""

from skfusion.pool.stores._directory_store import DirectoryStore, read_pool, write_pool
from skfusion.pool.stores._recover import recovered
from skfusion.pool.stores._store import MemoryStore, Store

__all__ = ["DirectoryStore", "MemoryStore", "Store", "read_pool", "recovered", "write_pool"]
