"""Stores keep members by name: in memory, or in a directory that other processes and later sessions read.

`_store` says what a store is, and `_directory_store` keeps one in a directory. Files are read by `_reader`, when they
are first used; a member becomes files by `_entries`, and a directory is changed by `_writer` (locks, crash safety),
after `_staged` has written the data of a member.
Whole pools are read and written by `_pools`, at URLs by `_remote` (which alone imports fsspec), and read back without
an index by `_recover`; the format of the files is that of `skfusion.checkpoints`.
Functions here take and return the parts of a pool (members, base, classes), for `ModelPool` stands above this room. A
new store is a class with the four methods of `Store`, in one file; `testing.check_store` holds the laws that it must
pass.
"""

from skfusion.pool.stores._directory_store import DirectoryStore
from skfusion.pool.stores._pools import read_pool, write_pool
from skfusion.pool.stores._recover import recovered
from skfusion.pool.stores._store import MemoryStore, Store

__all__ = ["DirectoryStore", "MemoryStore", "Store", "read_pool", "recovered", "write_pool"]
