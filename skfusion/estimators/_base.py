"""The driver that all fusion estimators share: validate, collect, fuse, predict."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_memory
from torch import nn

from skfusion._component import EXAMPLES, Component
from skfusion._docs import doc
from skfusion._rows import Rows
from skfusion.collect import Collector
from skfusion.data import held_out_score, held_positions, hold_out, scorer_named
from skfusion.estimators._targets import OfNetworks
from skfusion.estimators.support._cache import fingerprint_or_warning
from skfusion.estimators.support._predictors import check_same_members, predict_out_of_fold
from skfusion.estimators.support._progress import CallbackProgress, begin_fit
from skfusion.estimators.support._refit import check_refit
from skfusion.estimators.support._widths import net_of_member
from skfusion.nets import Judge, Runner
from skfusion.pool import ModelPool
from skfusion.select import Selector
from skfusion.tangent import Linearised


@dataclass(frozen=True, eq=False)
class Collected:
    """What collecting hands to fusing; ``net`` is the architecture of members that carry none."""

    pool: ModelPool
    net: Any
    fit_rows: Rows  # to estimate statistics on
    held_out: Rows  # to judge on
    out_of_fold: tuple[np.ndarray, Rows] | None = None  # P of shape (n_members, n_samples, n_outputs), and its rows
    again: Callable[[], Collected] | None = None  # trains the members on all rows, where the choice is to be refitted


class BaseFusion(OfNetworks, CallbackSupportMixin, BaseEstimator):
    """Collect members, then fuse them. Subclasses say how to fuse and how to predict."""

    _defaults: ClassVar[dict[str, type[Component]]] = {}
    _fusing: ClassVar[tuple[str, ...]] = ()
    _takes_estimators: ClassVar[bool] = False  # as members, beside networks
    validation_fraction: float = 0.2
    scoring: Any = None
    refit: bool = False
    cv: Any = 5
    memory: Any = None
    n_jobs: int | None = None

    # ---- what a subclass fills ---------------------------------------------------------------
    @abstractmethod
    def _fuse(self, collected: Collected) -> None:
        """Set the fitted attributes."""

    @abstractmethod
    def _predict(self, X: Any) -> np.ndarray:
        """Return probabilities or values of validated inputs, shape (n_samples, n_outputs)."""

    @abstractmethod
    def _fitted_as(self, state: Any, net: Any) -> dict[str, Any]:
        """Return the attributes that make a copy of this estimator predict with one state."""

    # ---- fitting -----------------------------------------------------------------------------
    @with_callbacks
    @doc()
    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> BaseFusion:
        """Collect members and fuse them.

        Parameters
        ----------
        {data_of_fit}

        {fitted}
        """
        rows = self._rows(X, y, sample_weight, groups)
        if (pool := self._given_pool()) is not None:
            if not any(part.needs_labels for part in self._parts()):  # else the rows themselves are warned of
                pool.warn_of_cross_validation(rows)
            return self._fuse_pool(pool, rows, None)
        context, watched = begin_fit(self, X, y, n_tasks=2)
        collected = self._collect(rows, (context, X, y) if watched else None)
        fusing = context.subcontext(task_name="fuse").call_on_fit_task_begin(estimator=self)
        self._fuse(collected)
        fusing.call_on_fit_task_end(estimator=self)
        context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=dict)
        return self

    @doc()
    def fuse(self, pool: ModelPool, X: Any, y: Any, sample_weight: Any = None, held_out: Any = None) -> BaseFusion:
        """Fuse an existing pool; nothing is trained.

        Parameters
        ----------
        pool : ModelPool
            The members.
        X, y : array-like
            Data that no member was trained on, to judge members and to estimate statistics.
        {sample_weight}
        held_out : array-like of int or bool, optional
            Rows to judge on, where others are given too, for statistics only: positions among the rows of positive
            weight, or a mask. With the data of ``fit`` and ``held_out=held_out_`` this repeats the fit, but no refit:
            its members have seen these rows.

        {fitted}
        """
        check_pool(pool, self._takes_estimators)
        rows = self._rows(X, y, sample_weight, None, pool=pool)
        return self._fuse_pool(pool, rows, held_out)

    def _fuse_pool(self, pool: ModelPool, rows: Rows, held_out: Any) -> BaseFusion:
        check_pool(pool, self._takes_estimators)
        self._check_parts()
        held_out = None if held_out is None else held_positions(held_out, len(rows))
        net = self._net(rows, pool)
        judged = rows if held_out is None else rows.take(held_out)
        fit_rows = rows if held_out is None else rows.take(np.setdiff1d(np.arange(len(rows)), held_out))
        if any(part.needs_labels for part in self._parts()):
            pool.warn_of_leakage(judged, "to choose or weigh members")
        self.held_out_ = held_out
        self._fuse(Collected(pool, net, fit_rows.expanded(), judged.expanded()))
        return self

    def _collect(self, rows: Rows, watched: Any = None, force_hold_out: bool = False, shared: Any = None) -> Collected:
        """Split, size the net, and collect members; ``shared`` has the pools that several fusions share."""
        self._check_parts()
        rng = check_random_state(self.random_state)
        split_seed, seed = (int(s) for s in rng.randint(np.iinfo(np.int32).max, size=2))
        parts = self._parts()
        self.held_out_ = None
        fit_part = rows
        if force_hold_out or any(part.needs_labels and not _out_of_fold(part) for part in parts):
            fit_index, self.held_out_ = hold_out(rows, self.validation_fraction, split_seed, self._task)
            fit_part = rows.take(fit_index)
        held = fit_part if self.held_out_ is None else rows.take(self.held_out_)
        out_of_fold = None
        if any(_out_of_fold(part) for part in parts):
            names, P, asked = predict_out_of_fold(self, fit_part, seed, shared)
            out_of_fold = P, asked
        fit_rows = fit_part.expanded()
        self._warn_of_unused_weights()
        pool, net = self._members(fit_rows, seed, watched, shared)
        if out_of_fold is not None:
            check_same_members(names, pool.names, "the training on all rows")
        again = None
        if self.refit and self.held_out_ is not None:
            again = partial(self._collect_again, rows, seed, shared)
        return Collected(pool, net, fit_rows, held.expanded(), out_of_fold, again)

    def _collect_again(self, rows: Rows, seed: int, shared: Any) -> Collected:
        """Collect the members with the same seeds, and with no rows held out."""
        rows = rows.expanded()
        return Collected(*self._members(rows, seed, None, shared), rows, rows)

    def _members(self, rows: Rows, seed: int, watched: Any, shared: Any) -> tuple[ModelPool, Any]:
        """Train members on rows; return them with the net that they are states of."""
        net = self._net(rows)
        pool = self._pool(net, rows, seed, watched, shared)
        net = pool[0].net or net  # a collector may train another architecture than the one it is given
        return self._outputs.marked(pool.replace(classes=self._labels())), net

    def _warn_of_unused_weights(self) -> None:
        """Warn where members have a common start, and it is not the weights of a net that is fitted."""
        net, collect = self.estimator, self._part("collect")
        fitted = getattr(net, "initialized_", False) and not isinstance(net.module, nn.Module)
        if fitted and getattr(collect, "init", 0) is None:
            warnings.warn(
                f"The net is fitted, and {collect!r} does not start from its weights: as everywhere in scikit-learn, "
                "fit begins anew. To fine-tune it, give init=net.module_.state_dict().",
                stacklevel=3,
            )

    def _pool(self, net: Any, rows: Rows, seed: int, watched: Any = None, shared: Any = None) -> ModelPool:
        collect = self._part("collect")
        if not isinstance(collect, Collector):
            raise TypeError(
                f"collect must be a Collector, such as Seeds(5), or a ModelPool; got {collect!r}. Fitted nets become a "
                "pool by ModelPool.from_estimators(nets)."
            )
        wanting = [p for p in self._parts() if getattr(p, "needs_base", False)]
        if wanting and not collect.has_base(net):
            raise ValueError(
                f"{wanting[0]!r} needs the common start of the members, and {collect!r} starts each from its own "
                "weights. Use FineTunes(), or give the net a module instance, from which all start."
            )
        progress = None if watched is None else CallbackProgress(watched[0], self, self._fitted_as, *watched[1:])
        kept = shared is not None or self.memory is not None
        key = fingerprint_or_warning(collect, net, rows, seed) if kept else None
        task = key, collect, net, rows, seed, self.n_jobs, progress
        if key is not None and shared is not None:
            return shared.get(key, lambda: _run_collector(*task))
        run = _run_collector if key is None else check_memory(self.memory).cache(_run_collector, ignore=_NOT_IN_KEY)
        return run(*task)

    # ---- parts -------------------------------------------------------------------------------
    def _part(self, name: str) -> Any:
        part = getattr(self, name, None)
        return self._defaults[name]() if part is None and name in self._defaults else part

    def _drawn_parts(self) -> dict[str, Any]:
        parts = {name: self._part(name) for name in ("estimator", "collect", *self._fusing)}
        if parts["estimator"] is None and isinstance(parts["collect"], Collector):
            parts["estimator"] = parts["collect"].default_net("classification" if is_classifier(self) else "regression")
        return parts

    def _parts(self) -> list[Any]:
        parts = [self._part(n) for n in self._fusing]
        for name, part in zip(self._fusing, parts, strict=True):
            if part is not None and not isinstance(part, Component):
                hint = f" Write {part.__name__}()." if isinstance(part, type) else ""
                raise TypeError(f"{name} must be a component, such as {EXAMPLES[name]}; got {part!r}.{hint}")
        return [p for p in parts if p is not None]

    def _check_parts(self) -> None:
        """Raise where a part is of the wrong kind, or its parameters are wrong, before anything is trained."""
        self._parts()
        select = self._part("select")
        if isinstance(select, Selector):
            select.check()
        if self.scoring is not None:
            scorer_named(self.scoring)
        if self.refit:
            check_refit(self._part("collect"))

    def _given_pool(self) -> ModelPool | None:
        part = self._part("collect")
        if not isinstance(part, ModelPool):
            return None
        check_pool(part, self._takes_estimators)
        return part

    def _net(self, rows: Rows, pool: ModelPool | None = None) -> Any:
        net = self.estimator
        own = None if pool is None else pool[0].net
        if net is None or (own is not None and isinstance(own.module, Linearised)):  # of its module
            net = own
        if net is None and pool is None and isinstance(collect := self._part("collect"), Collector):
            net = collect.default_net(self._task)
        net = self._sized(net, rows)
        return net if pool is None else net_of_member(net, pool[0], self._task, rows)

    def _judge(self, runner: Runner, collected: Collected) -> Judge:
        judged = self._outputs.rows(collected.held_out)
        n_outputs = judged.y.shape[1] if judged.y.ndim == 2 else len(self._labels())
        score = self._outputs.scored(held_out_score(self.scoring, self._task, judged, n_outputs))
        return Judge(runner, collected.fit_rows, collected.held_out, score)


_NOT_IN_KEY = ["collect", "net", "rows", "seed", "n_jobs", "progress"]


def _run_collector(key, collect, net, rows, seed, n_jobs, progress):  # cached by key
    rng = np.random.RandomState(seed)
    return collect(net, as_networks_learn(net, rows), rng, n_jobs=n_jobs, progress=progress)


def as_networks_learn(net: Any, rows: Rows) -> Rows:
    """Return rows with targets in the precision of networks; where equal rows are no copies, repetitions are groups."""
    groups, alone = rows.groups, replace(rows, position=None)
    if groups is None and rows.position is not None and getattr(net, "train_split", None) is not None:
        groups = rows.position if len(rows.units()[0]) < len(alone.units()[0]) else None
    y = rows.y.astype(np.float32) if rows.task == "regression" else rows.y
    return replace(alone, y=y, groups=groups)


def _out_of_fold(part: Any) -> bool:
    return bool(getattr(part, "out_of_fold", False))


def check_pool(pool: Any, takes_estimators: bool) -> None:
    """Raise an error that says how other things become a pool, or that names a member that has no weights."""
    if not isinstance(pool, ModelPool):
        raise TypeError(
            f"fuse takes a ModelPool; got {type(pool).__name__}. Fitted nets become a pool by "
            "ModelPool.from_estimators(nets)."
        )
    if not takes_estimators:
        pool.check_networks()
