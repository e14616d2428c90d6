"""Git re-basin: networks that were trained apart are aligned and merged into one."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np

from skfusion._docs import AS_THE_NET, doc
from skfusion.align import ActivationMatching, Aligner, WeightMatching
from skfusion.collect import Seeds
from skfusion.estimators._base import Collected
from skfusion.estimators._soup import SoupDriver
from skfusion.estimators.support._task_from_net import AsTheNet, regresses
from skfusion.estimators.support._widths import differ_in_width
from skfusion.landscape import Profile, loss_along, segment
from skfusion.merge import Uniform
from skfusion.nets import Runner
from skfusion.pool import Member, ModelPool
from skfusion.repair import Repair, Repairer
from skfusion.state import State

_ALIGNERS: dict[str, type[Aligner]] = {"weights": WeightMatching, "activations": ActivationMatching}


class _NoRepair(Repairer):
    def __call__(self, state: State, members: Any, objective: Any) -> State:
        return state


@doc(AS_THE_NET)
@dataclass(eq=False, repr=False)
class ReBasinMerger(AsTheNet, SoupDriver):
    """Merge networks that were trained apart, after their units are matched (git re-basin).

    It stands for a soup with an aligner: ``SoupClassifier(estimator, collect=Seeds(2), align=WeightMatching(),
    merge=Uniform(), repair=Repair())``. It is a classifier or a regressor as its net is, like ``GridSearchCV``.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. The one for tables, for classification, when omitted, or the net of ``members``.
    n_members : int, default=2
        Seeds of it to train.
    members : ModelPool or list of fitted skorch nets, optional
        Networks to merge instead; nothing is trained then.
    align : {"weights", "activations"}, Aligner or None, default="weights"
        How units are matched: by :class:`~skfusion.align.WeightMatching`,
        :class:`~skfusion.align.ActivationMatching`, another aligner, or not at all.
    merge : Merger, optional
        How to merge; ``Uniform()`` when omitted.
    repair : bool, Repairer or None, default=True
        Whether to re-estimate the statistics of the merged network, by :class:`~skfusion.repair.Repair`.
    n_points : int, default=11
        Points at which the barrier is measured between the first member and each other one; 0 skips it.
    {validation_fraction}
    {scoring}
    {parallel_training}
    {class_weight}

    Attributes
    ----------
    barrier_ : dict of float, or None
        The mean loss barrier ``"before"`` and ``"after"`` the alignment, in units of the loss, on held-out rows or on
        all; None for members of different widths, between which there is no line. It is the excess over the
        members' own losses, also where an alignment mixes units and so changes them. It is too low after an aligner
        that has looked at the labels of these rows, such as ``Annealing("loss")`` or ``SinkhornRebasin("midpoint")``.
    {alignment_}
    {pool_}
    {estimator_}
    {state_}
    {classes_}

    References
    ----------
    Ainsworth et al., "Git Re-Basin: merging models modulo permutation symmetries", ICLR 2023, arXiv:2209.04836.
    Jordan et al., "REPAIR: REnormalizing permuted activations for interpolation repair", ICLR 2023, arXiv:2211.08403.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import ReBasinMerger
    >>> X, y = load_iris(return_X_y=True)
    >>> merger = ReBasinMerger(random_state=0).fit(X, y)
    >>> merger.score(X, y) > 0.9
    True
    >>> merger.barrier_["after"] <= merger.barrier_["before"]
    True
    """

    estimator: Any = None
    _: KW_ONLY
    n_members: int = 2
    members: Any = None
    align: Any = "weights"
    merge: Any = None
    repair: Any = True
    n_points: int = 11
    validation_fraction: float = 0.2
    scoring: Any = None
    memory: Any = None
    n_jobs: int | None = None
    random_state: Any = None
    verbose: int = 0
    class_weight: Any = None

    _defaults: ClassVar[dict[str, Any]] = {"merge": Uniform}

    @property
    def collect(self) -> Any:
        """Where members come from, by ``n_members`` and ``members``."""
        if self.members is None:
            return Seeds(self.n_members)
        if isinstance(self.members, ModelPool):
            return self.members
        if not isinstance(self.members, (list, tuple)):
            raise TypeError(f"members must be a ModelPool or a list of fitted skorch nets; got {self.members!r}.")
        try:
            return ModelPool.from_estimators(self.members)
        except ValueError as error:
            raise ValueError(
                f"{error} scikit-learn's clone, and with it cross-validation and searches, unfits nets in a list: give "
                "members=ModelPool.from_estimators(nets)."
            ) from error

    def _part(self, name: str) -> Any:
        part = super()._part(name)
        if name == "align" and isinstance(part, str):
            if part not in _ALIGNERS:
                raise ValueError(f"align must be one of {[*_ALIGNERS]}, or an Aligner; got {part!r}.")
            return _ALIGNERS[part]()
        if name == "repair" and (part is None or isinstance(part, (bool, np.bool_))):
            return Repair() if part else _NoRepair()
        return part

    def _fuse(self, collected: Collected) -> None:
        if not isinstance(self.n_points, Integral) or self.n_points in (1, 2) or self.n_points < 0:
            raise ValueError(
                f"n_points must be 0, or at least 3, the ends and a point between them; got {self.n_points!r}."
            )
        super()._fuse(collected)
        self.barrier_ = None
        if self.n_points and len(self.pool_) > 1 and not differ_in_width(self.pool_.states):
            same = self.net_ is collected.net  # the merged network is of another architecture than the members if not
            runner = self._runner if same else Runner(collected.net, self._task, collected.fit_rows)
            before = {m.name: runner.place(m.state) for m in self.pool_}
            after = before
            if self.alignments_ is not None:
                after = {name: self.alignments_[name].apply(state) for name, state in before.items()}
            objective = self._judge(runner, collected)
            repair = self._part("repair")
            self.barrier_, own = {}, list[Profile]()
            for name, states in (("before", before), ("after", after)):
                first, *others = states.values()
                profiles = [loss_along(segment(first, s), objective, self.n_points, repair) for s in others]
                own = own or profiles  # a soft alignment changes the loss of a member
                self.barrier_[name] = float(np.mean([_excess(p, q) for p, q in zip(profiles, own, strict=True)]))

    # ---- classifier or regressor, as the net is -----------------------------------------------------------
    def _is_classifier(self) -> bool:
        members = self.members if isinstance(self.members, (ModelPool, list, tuple)) else ()
        net = next(iter(members), None) if self.estimator is None else self.estimator
        return not regresses(net.net if isinstance(net, Member) else net)


def _excess(profile: Profile, own: Profile) -> float:
    """Return the barrier over the line between the losses that the two members have by themselves.

    Where the units of the second one were mixed, its own loss is not that of the end of the path.
    """
    if np.isclose(profile.loss[-1], own.loss[-1], rtol=1e-4, atol=1e-6):  # the same function, but for rounding
        return profile.barrier
    gap = profile.loss - ((1 - profile.t) * own.loss[0] + profile.t * own.loss[-1])
    return max(0.0, float(gap.max()))
