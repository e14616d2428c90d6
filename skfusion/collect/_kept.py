"""Members that are kept while they are collected, so that a run that was killed continues (Young, 1974)."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import clone

from skfusion._rows import Rows, Task
from skfusion.collect._base import Collector
from skfusion.collect._by_path import carried
from skfusion.collect._run_folder import RunFolder
from skfusion.collect._train_runs import Progress
from skfusion.collect.independent._seeds import Seeds
from skfusion.nets import Run
from skfusion.pool import DirectoryStore, ModelPool


class Kept(Collector):
    """Keep members in a folder as soon as they are trained, and train only those that are not there.

    So a training that was killed continues where it was, and gives the pool that it would have given. A member is known
    by a hash of all that it depends on: the net with its parameters, the rows with their weights, its seed and other
    settings of its run, the code of the user and of this library. Nothing is ever taken for something else, and the
    folds of a cross-validation, other data and other processes may share a folder at the same time.

    Parameters
    ----------
    collector : Collector
        What trains the members, such as ``Seeds(8)``. Members of :class:`PAPA` and other populations train in
        lock-step, so that none of them can continue by itself; they are refused.
    store : path-like or DirectoryStore
        The folder of a pool. It is made when the first member is there.

    Notes
    -----
    Members are kept when their run is done, those that are trained vectorized when their task is, of at most 32 of them
    on a CPU. A run that has diverged is not trained again: why it did is kept too. More members, as ``Seeds(12)`` after
    ``Seeds(8)``, are trained beside those that are there. A common start that ``init`` trains is trained anew.

    With ``n_jobs``, workers write members into the folder and hand back their names, and the data stand in it once
    while they are needed, from where workers map them into memory. On a cluster the folder must be one that all
    machines see under the same path. States are mapped from their files, and read when they are used.

    In the folder, members are called by their names and the keys of their runs, as ``"seed-0@5f3c..."``:
    ``ModelPool.load`` reads all, of whatever call, and :func:`~skfusion.pool.merge_folders` brings those of several
    folders together. What is there and not of this call is left alone; ``DirectoryStore.delete`` removes members.

    References
    ----------
    Young, "A first order approximation to the optimum checkpoint interval", Communications of the ACM 17, 1974,
    doi:10.1145/361147.361115.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skfusion.collect import Kept, Seeds
    >>> from skfusion.nets import mlp_regressor
    >>> from skfusion.pool import DirectoryStore
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> net = mlp_regressor(max_epochs=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pool = Kept(Seeds(2), folder).collect(net, x, x**2)
    ...     more = Kept(Seeds(3), folder).collect(net, x, x**2)  # trains one
    ...     pool.names, more.names, len(DirectoryStore(folder).names())
    (['seed-0', 'seed-1'], ['seed-0', 'seed-1', 'seed-2'], 3)
    """

    uses_run_folder = True

    def __init__(self, collector: Collector, store: Any):
        self.collector = collector
        self.store = store

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return the runs of the collector; see :meth:`Collector.runs`."""
        return self._checked().runs(net, rows, rng)

    def __call__(
        self,
        net: Any,
        rows: Rows,
        rng: np.random.RandomState,
        *,
        n_jobs: int | None = None,
        progress: Progress | None = None,
    ) -> ModelPool:
        """Train the members that are missing, and read the others; see :meth:`Collector.__call__`."""
        collector, folder = clone(self._checked()), RunFolder(_path_of(self.store))
        collector.run_folder = folder
        if effective_n_jobs(n_jobs) == 1:
            return collector(net, rows, rng, n_jobs=n_jobs, progress=progress)
        with carried(rows, folder.path) as (by_path, folder.carrier):
            return collector(net, by_path, rng, n_jobs=n_jobs, progress=progress)

    def default_net(self, task: Task) -> Any:
        """Return the net of the collector; see :meth:`Collector.default_net`."""
        return self._checked().default_net(task)

    def has_base(self, net: Any) -> bool:
        """Return whether all members start from one state; see :meth:`Collector.has_base`."""
        return self._checked().has_base(net)

    @property
    def follows_results(self) -> bool:
        """Whether settings are proposed one after another."""
        return bool(getattr(self.collector, "follows_results", False))

    @property
    def init(self) -> Any:
        """The start of the members, where the collector has such a parameter."""
        return self.collector.init  # type: ignore[attr-defined]

    def _checked(self) -> Collector:
        """Return the collector, or raise where it is none whose members can be kept."""
        if not isinstance(self.collector, Collector):
            raise TypeError(f"collector must be a Collector, such as Seeds(8); got {self.collector!r}.")
        owner = next(cls for cls in type(self.collector).__mro__ if "__call__" in vars(cls))
        if not vars(owner).get("uses_run_folder", False):
            raise ValueError(
                f"{self.collector!r} cannot be kept run by run, as its members are made together. Collect by it alone, "
                "and save the pool: pool.save(path)."
            )
        return self.collector

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"collector": Seeds(3), "store": _Temporary()}


def _path_of(store: Any) -> Path:
    """Return the folder of a store, as other processes know it too."""
    if isinstance(store, DirectoryStore):
        store = store.path
    if not isinstance(store, str | os.PathLike):
        raise TypeError(f"store must be the path of a folder, or a DirectoryStore; got {store!r}.")
    return Path(os.path.abspath(store))


class _Temporary(os.PathLike[str]):
    """A folder of this process for the common checks, which is removed at its end."""

    def __fspath__(self) -> str:
        return _temporary_folder()

    def __repr__(self) -> str:
        return "'members'"


@cache
def _temporary_folder() -> str:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
