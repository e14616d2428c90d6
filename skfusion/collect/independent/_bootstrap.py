"""Bagging: runs on bootstrap samples (Breiman, 1996)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from skfusion import nets
from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.collect._base import Collector
from skfusion.nets import Run, VectorizeChoice


@dataclass(eq=False, repr=False)
class Bootstrap(Collector):
    r"""Train each member on rows that are drawn for it, and on columns that are drawn for it if asked.

    A row is left out of a sample of n from n rows with probability :math:`(1 - 1/n)^n \approx e^{-1}`. Where the rows
    have groups, whole groups are drawn.

    Parameters
    ----------
    n_members : int, default=5
        Networks to train.
    max_samples : float, default=1.0
        Rows drawn for a member, as a share of all rows; of groups where there are some. Less makes members more diverse
        and each one worse.
    max_features : float or int, default=1.0
        Columns of a two-dimensional X that a member sees, drawn without replacement: a float as a share of all columns,
        rounded down but at least one, an int as their number. The net must have a module class that takes ``n_in``,
        or another one that can be made for fewer columns.
    bootstrap : bool, default=True
        Whether rows are drawn with replacement. Without, members see shares of the rows (pasting), and with
        ``max_samples=1.0`` all of them: these are the members of ``Seeds``.
    vectorize : {"auto", True, False}, default="auto"
        Train members together, as one network with a member axis: the same members, many times sooner where networks
        are small. True also where it is not sooner; False one after another.
    max_bytes : int, optional
        Memory for members that are trained together, which are split where they need more; half of the free memory
        when omitted.

    Notes
    -----
    Costs ``n_members`` trainings. A class that a sample misses keeps its output; the member has just not learned it.
    The members that were not trained on a row predict it without bias: see :func:`skfusion.out_of_bag`.

    The columns of a member stand in its ``meta["columns"]`` where it does not see all, and in its state: it is given
    all columns and takes its own. Members that see different columns can be combined by their predictions only.

    References
    ----------
    Breiman, "Bagging predictors", Machine Learning 24, 1996, doi:10.1007/BF00058655. Breiman, "Pasting small votes for
    classification in large databases and on-line", Machine Learning 36, 1999, doi:10.1023/A:1007563306331. Ho, "The
    random subspace method for constructing decision forests", IEEE TPAMI 20, 1998, doi:10.1109/34.709601 (columns).

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import Bootstrap
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> pool = Bootstrap(2).collect(mlp_regressor(max_epochs=2), x, x**2)
    >>> [len(member.rows) for member in pool]  # distinct rows of 32
    [23, 21]
    """

    n_members: int = 5
    max_samples: float = 1.0
    max_features: float = 1.0
    bootstrap: bool = True
    vectorize: VectorizeChoice = "auto"
    max_bytes: int | None = None

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return runs on samples, of whole groups where the rows have some; see :meth:`Collector.runs`."""
        if not 0 < self.max_samples <= 1:
            raise ValueError(f"max_samples is a share of the rows, above 0 and at most 1; got {self.max_samples}.")
        seeds = draw_seeds(rng, self.n_members, "n_members")
        bags = [self._bag(rng, len(rows), rows.groups) for _ in seeds]
        net, drawn = self._columns(net, rows, rng)
        return [
            Run(f"bag-{i}", seed, bag, net=net, params=params, meta=meta)
            for i, (seed, bag, (params, meta)) in enumerate(zip(seeds, bags, drawn, strict=True))
        ]

    def _bag(self, rng: np.random.RandomState, n: int, groups: np.ndarray | None) -> np.ndarray | None:
        """Return the positions of the rows that are drawn for a member; none where all are taken as they are."""
        if not self.bootstrap and self.max_samples == 1:
            return None
        unit = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
        n_rows = np.bincount(unit)
        size = max(1, math.ceil(self.max_samples * len(n_rows)))
        drawn = rng.randint(len(n_rows), size=size) if self.bootstrap else rng.permutation(len(n_rows))[:size]
        if groups is None:
            return drawn
        rows_of = np.split(np.argsort(unit, kind="stable"), np.cumsum(n_rows)[:-1])
        return np.concatenate([rows_of[g] for g in drawn])

    def _columns(self, net: Any, rows: Rows, rng: np.random.RandomState) -> tuple[Any, list[Any]]:
        """Return the net of all members, and parameters and meta of each: those of its columns, if these are drawn."""
        shape = None if isinstance(rows.X, dict) else rows.X.shape
        n = self._n_columns(shape)
        if n is None:
            return net, [({}, {})] * self.n_members
        drawn = [np.sort(rng.permutation(shape[1])[:n]) for _ in range(self.n_members)]
        narrowed = [nets.on_columns(net, columns) for columns in drawn]
        try:
            runner = nets.Runner(narrowed[0], nets.task_of(net, rows), rows)
            some = rows.take(np.arange(min(2, len(rows))))
            if (n_out := len(runner.raw(runner.module.state_dict(), some.X))) != len(some):
                raise ValueError(f"it returns {n_out} rows for {len(some)}, as a reshape to more columns does")
        except (RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"max_features={self.max_features} gives each member {n} of the {shape[1]} columns, and the net's "
                f"module cannot run on them: {error}. Let the module take n_in, which is then set to their number."
            ) from error
        return narrowed[0], [
            ({"module": net.module}, {"columns": columns.tolist()})
            for net, columns in zip(narrowed, drawn, strict=True)
        ]

    def _n_columns(self, shape: tuple[int, ...] | None) -> int | None:
        """Return how many columns a member sees; none where it sees all."""
        given = self.max_features
        whole = isinstance(given, Integral) and not isinstance(given, bool) and given >= 1
        if not whole and not (isinstance(given, Real) and not isinstance(given, Integral) and 0 < given <= 1):
            raise ValueError(
                "max_features is a share of the columns, a float above 0 and at most 1, or a number of columns, an int "
                f"of at least 1; got {given!r}."
            )
        if not whole and given == 1:
            return None
        if shape is None or len(shape) != 2:
            had = "a dict of inputs" if shape is None else f"samples of shape {shape[1:]}"
            raise ValueError(
                f"max_features={given} draws columns, so X must have two axes, (n_samples, n_features); got {had}. "
                "Leave max_features at 1.0."
            )
        if whole and given > shape[1]:
            raise ValueError(f"max_features={given} asks for more columns than X has, which are {shape[1]}.")
        n = int(given) if whole else max(1, int(given * shape[1]))
        return None if n == shape[1] else n

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_members": 4}
        yield {"n_members": 3, "vectorize": False}
        yield {"n_members": 4, "max_samples": 0.75, "max_features": 0.5, "bootstrap": False}
