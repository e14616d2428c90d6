"""The ways in which a pool is made of what is on disk, or was trained elsewhere."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Self

from skfusion.pool import importers, stores
from skfusion.pool._member import Deferred, Member
from skfusion.state import State


class PoolSources:
    """Class methods that make a pool by its constructor."""

    def __init__(self, members: Iterable[Member], base: State | Deferred | None = None, classes: Any = None) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, path: Any, net: Any = None, *, trusted: Collection[Any] = (), lazy: bool = True) -> Self:
        """Read a pool from a directory, its states and arrays when they are first used.

        Parameters
        ----------
        path : path-like or URL
            A directory written by :meth:`save`, or any URL of one that fsspec knows.
        net : object or dict of objects, optional
            The unfitted net that the states belong to, or, for different architectures, a net for each member's name;
            files hold no code, so it is not stored.
        trusted : iterable of str or type, default=()
            Types of estimators, beside those that skops trusts, that may be built of a file: the error about a member
            names those that it needs. Name only types whose code you know, and read only files from people whom you
            trust.
        lazy : bool, default=True
            Whether to read the files of a member when they are first used. Until then they must stay: give False where
            the directory is temporary, or to check all files at once.

        Returns
        -------
        ModelPool
            The pool. Each file is checked against its hash when it is read; an error names the member, and the others
            can be used.

        Raises
        ------
        FileNotFoundError
            If there is no pool.
        PoolFormatError
            If its index is damaged or of a newer format, and, when they are first used, where files are missing or
            damaged, or hold types of estimators that are not trusted.
        ValueError
            If the names of nets and members differ.
        """
        members, base, classes = stores.read_pool(path, trusted, lazy)
        return cls(_with_nets(members, net), base, classes)

    @classmethod
    def recover(cls, path: Any, net: Any = None, *, trusted: Collection[Any] = ()) -> Self:
        """Read a pool back from the files of its members, where its index was lost or damaged.

        Nothing in the directory is changed: save what is read into another one.

        Parameters
        ----------
        path : path-like or URL
            A directory that holds files of states or estimators. Each says whose it is, and what else is known of this
            member. Those of skfusion before format 2 do not: their members, and a base, are called as their files.
        net : object or dict of objects, optional
            As for :meth:`load`.
        trusted : iterable of str or type, default=()
            As for :meth:`load`.

        Returns
        -------
        ModelPool
            All states and estimators that can be read, in the order of their names; older ones of replaced members
            too, where they are still there. What is left out, a warning names.

        Raises
        ------
        PoolFormatError
            If no state can be read.

        Examples
        --------
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> from skfusion import ModelPool
        >>> from skfusion.pool import Member
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ModelPool([Member("a", {"w": torch.ones(2)}, score=0.5)]).save(folder)
        ...     (Path(folder) / "pool.json").unlink()
        ...     ModelPool.recover(folder)["a"].score
        0.5
        """
        members, base, classes = stores.recovered(path, trusted)
        return cls(_with_nets(members, net), base, classes)

    @classmethod
    def from_files(
        cls,
        paths: Mapping[str, str | os.PathLike[str]] | Iterable[str | os.PathLike[str]],
        *,
        module: Any = None,
        base: Any = None,
        rows: Mapping[str, tuple[Any, Any]] | tuple[Any, Any] | None = None,
        classes: Any = None,
    ) -> Self:
        """Make a pool of checkpoints that were trained elsewhere.

        Parameters
        ----------
        paths : dict of path-like by name, or iterable of path-like
            Checkpoints, as :func:`skfusion.checkpoints.read_checkpoint` reads them. Without names, members are called
            as their files.
        module : nn.Module or skorch net, optional
            What the states belong to. Each is checked against a module, tensor by tensor; a net is kept as that of the
            members, so that ``SoupClassifier(collect=pool)`` needs no other.
        base : path-like or State, optional
            The common start of the members, as task vectors need it.
        rows : dict of (X, y) by name, or (X, y), optional
            The rows that each member, or all, were trained on. With them Fisher, RegMean and AdaMerging run each member
            on its own rows among those of ``fit``, and the use of a member's rows to judge it is warned of.
        classes : array-like, optional
            The class labels in the order of the outputs; where they are omitted, the sorted labels in ``rows``, or none
            where targets are floats.

        Returns
        -------
        ModelPool
            The members, their tensors mapped from the files.

        Raises
        ------
        ValueError
            If a file cannot be read or does not fit the module, or if rows do not fit the members.
        OSError
            If a file is not there.

        Examples
        --------
        >>> import tempfile, torch
        >>> from torch import nn
        >>> from skfusion import ModelPool
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(nn.Linear(2, 2).state_dict(), f"{folder}/movie.pt")
        ...     X, y = [[0.0, 1.0], [1.0, 0.0]], ["bad", "good"]
        ...     paths = {"movie": f"{folder}/movie.pt"}
        ...     pool = ModelPool.from_files(paths, module=nn.Linear(2, 2), rows={"movie": (X, y)})
        >>> len(pool["movie"].rows), pool.classes.tolist()
        (2, ['bad', 'good'])
        """
        return cls(*importers.from_files(paths, module, base, rows, classes))

    @classmethod
    def from_estimators(cls, estimators: Iterable[Any], X: Any = None, y: Any = None) -> Self:
        """Make a pool of fitted skorch nets, and of fitted estimators of any library.

        Parameters
        ----------
        estimators : iterable of fitted estimators, or of (name, estimator) pairs
            Nets become states, which may be of different architectures: then only ensembles and stacks can use the
            pool. All others are members as they are, for ensembles and stacks: what has ``predict`` or
            ``predict_proba``, also pipelines, with a net at their end too, and searches.
        X, y : array-like, optional
            The data that all were trained on, so that its use as held-out data can be warned of. Rows are recognised
            by their numbers: of tables with text there are no marks, and a warning says so.

        Returns
        -------
        ModelPool
            Copies of the nets' states and of the estimators; nothing that is given is changed. Its ``classes`` are
            those of the nets, in the order of their outputs, or else all that estimators know, sorted.

        Raises
        ------
        ValueError
            If an estimator is not fitted, or classifies where another one does not, or knows classes that a net does
            not.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.naive_bayes import GaussianNB
        >>> from skfusion import EnsembleClassifier, ModelPool
        >>> X, y = load_iris(return_X_y=True)
        >>> fitted = [
        ...     ("bayes", GaussianNB().fit(X[::2], y[::2])),
        ...     ("linear", LogisticRegression().fit(X[::2], y[::2])),
        ... ]
        >>> pool = ModelPool.from_estimators(fitted, X[::2], y[::2])
        >>> EnsembleClassifier(collect=pool).fit(X[1::2], y[1::2]).score(X[1::2], y[1::2]) > 0.9
        True
        """
        members, classes = importers.from_estimators(estimators, X, y)
        return cls(members, classes=classes)

    @classmethod
    def from_checkpoints(
        cls, paths: Any, *, module: Any = None, base: Any = None, rows: Any = None, classes: Any = None
    ) -> Self:
        """Make a pool of checkpoints of any library: files, and folders as libraries write them.

        Parameters
        ----------
        paths : str, or iterable of path-like
            A pattern, such as ``"runs/*/last.ckpt"``, or paths. Each is a file of safetensors or of ``torch.save``
            (``.pt``, ``.pth``, ``.bin``, Lightning's ``.ckpt``, skorch's ``save_params``), or a folder: skorch's
            ``Checkpoint``, a model of Hugging Face, in one file or in shards, or a LoRA adapter of PEFT.
        module : nn.Module or skorch net, optional
            What the states belong to. A prefix that the names in a file have beside those of a module, such as
            ``model.``, is taken off, and other tensors beside are left aside.
        base : path-like or State, optional
            The common start of the members. Adapters are merged into it: ``W + scale B A``. The weights of the module
            when omitted.
        rows : dict of (X, y) by name, or (X, y), optional
            As for :meth:`from_files`.
        classes : array-like, optional
            As for :meth:`from_files`.

        Returns
        -------
        ModelPool
            The members, called as their files or folders. Those of a ``Checkpoint`` of skorch have the score of its
            ``history.json``: the validation accuracy, or else the negative validation loss.

        Raises
        ------
        ValueError
            If a file cannot be read without running code, or does not fit the module, or an adapter is none of plain
            LoRA.
        OSError
            If there is no such file.

        Examples
        --------
        >>> import tempfile, torch
        >>> from torch import nn
        >>> from skfusion import ModelPool
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for k in range(2):  # as Lightning saves a model
        ...         state = {f"model.{name}": tensor for name, tensor in nn.Linear(2, 2).state_dict().items()}
        ...         torch.save({"epoch": k, "state_dict": state}, f"{folder}/run-{k}.ckpt")
        ...     pool = ModelPool.from_checkpoints(f"{folder}/*.ckpt", module=nn.Linear(2, 2))
        >>> pool.names, [*pool[0].state]
        (['run-0', 'run-1'], ['weight', 'bias'])
        """
        return cls(*importers.from_checkpoints(paths, module, base, rows, classes))


def _with_nets(members: list[Member], net: Any) -> list[Member]:
    if net is None:
        return members
    names = {m.name for m in members}
    nets = net if isinstance(net, Mapping) else dict.fromkeys(names, net)
    if {*nets} != names:
        raise ValueError(
            f"net must have a net for each of the members, and no others: missing are "
            f"{sorted(names - {*nets})}, unknown {sorted({*nets} - names)}."
        )
    return [m.replace(net=nets[m.name]) for m in members]
