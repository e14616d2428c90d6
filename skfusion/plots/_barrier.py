"""Loss and score between two networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skfusion.align import Aligner
from skfusion.evaluate import PoolOnData, pool_on_data
from skfusion.landscape import Profile, excess, loss_along, segment
from skfusion.plots._members import chosen, fitted
from skfusion.plots._paths import PathsDisplay, draw_path, draw_paths
from skfusion.plots._style import STROKES, legend_above
from skfusion.plots._text import distinct, label_axes, number
from skfusion.pool import Member, ModelPool
from skfusion.repair import Recalibrate

_BEFORE, _AFTER = "as trained", "units matched"


@dataclass(eq=False, repr=False)
class BarrierDisplay(PathsDisplay):
    """Show loss and score along the straight line between the weights of two networks.

    It is best made by :meth:`from_pool` or :meth:`from_estimator`. Where the loss rises between the networks, their
    average is bad. Several lines in one picture show what alignment changes.

    Parameters
    ----------
    t : array-like of shape (n_points,)
        Positions: 0 is the first network, 1 is the second.
    loss : array-like of shape (n_points,)
        Loss at each position.
    score : array-like of shape (n_points,), optional
        Score at each position, higher is better.
    {labels}
    label : str, default="as trained"
        What the path is, where there are others.
    others : dict of Profile, optional
        Further paths in the same picture, by label.

    Attributes
    ----------
    barrier : float
        The largest excess of the loss over the straight line between its ends.
    barriers : dict of float
        The barrier of each path, by label.
    {two_axes}

    Examples
    --------
    >>> from skfusion.plots import BarrierDisplay
    >>> BarrierDisplay([0.0, 0.5, 1.0], [1.0, 3.0, 2.0]).barrier
    1.5
    """

    t: Any
    loss: Any
    score: Any = None
    names: tuple[str, str] = ("first", "second")
    loss_name: str = "loss"
    score_name: str = "score"
    label: str = _BEFORE
    others: Mapping[str, Profile] | None = None

    def __post_init__(self) -> None:
        self._as_arrays("t", "loss", "score")
        self.others = dict(self.others or {})
        lines = sum(map(len, self.others)) // 40 + len(self.others) // 2  # of a legend
        self._fit(self.score is not None, (2.6 + 0.2 * lines, 4.4 + 0.2 * lines))
        self.barrier = excess(self.t, self.loss)
        self.barriers = {self.label: self.barrier, **{name: path.barrier for name, path in self.others.items()}}
        if (n := len(self.barriers)) > len(STROKES):
            raise ValueError(
                f"A BarrierDisplay can tell {len(STROKES)} paths apart; got {n}: {[*self.barriers]}. Draw the others "
                "elsewhere."
            )

    @classmethod
    def from_profile(cls, profile: Profile, **labels: Any) -> BarrierDisplay:
        """Take the arrays of a profile that ``skfusion.landscape.loss_along`` computed.

        Parameters
        ----------
        profile : Profile
            Loss and score along a path.
        **labels : dict
            ``names``, ``loss_name`` and ``score_name``, as in the class.

        {not_drawn}
        """
        return cls(profile.t, profile.loss, profile.score, **labels)

    @classmethod
    def from_profiles(cls, profiles: Mapping[str, Profile], **labels: Any) -> BarrierDisplay:
        """Take several profiles, to be drawn in one picture.

        Parameters
        ----------
        profiles : dict of Profile
            Loss and score along each path, by its label; five at most.
        **labels : dict
            ``names``, ``loss_name`` and ``score_name``, as in the class.

        {not_drawn}
            Its ``barrier`` is that of the first path.
        """
        if not profiles:
            raise ValueError("A BarrierDisplay needs at least one profile; got none.")
        (label, first), *others = profiles.items()
        return cls.from_profile(first, label=label, others=dict(others), **labels)

    @classmethod
    def from_pool(
        cls,
        pool: ModelPool,
        X: Any,
        y: Any,
        estimator: Any = None,
        *,
        members: tuple[Any, Any] = (0, 1),
        n_points: int = 25,
        scoring: Any = None,
        align: Any = None,
        label: str = _BEFORE,
    ) -> BarrierDisplay:
        """Evaluate the line between two members of a pool.

        Parameters
        ----------
        {pool}
        {rows}
        {estimator}
        members : pair of int or str, default=(0, 1)
            Positions or names of the members.
        {line}
        {scoring}
        align : Aligner, optional
            Evaluates the line between the aligned members too.
        label : str, default="as trained"
            What the members are: ``"units matched"`` where those of the pool are aligned already.

        {not_drawn}
            BatchNorm statistics are recalibrated at each inner point.
        """
        pair = chosen(pool, members, 2, "A path")
        two, data = _evaluated(pool, pair, X, y, estimator, scoring)
        if align is not None and not isinstance(align, Aligner):
            raise TypeError(f"align must be an Aligner, such as WeightMatching(); got {align!r}.")
        return cls._along(data, pair, None if align is None else data.aligned(align, two), n_points, label=label)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        members: tuple[Any, Any] | None = None,
        n_points: int = 25,
        scoring: Any = None,
    ) -> BarrierDisplay:
        """Evaluate the line between two members of a fitted soup or merger, before and after they were aligned.

        Parameters
        ----------
        estimator : fitted SoupClassifier, SoupRegressor or ReBasinMerger
            Has the members and their permutations. Without an aligner there is one line.
        {rows}
        members : pair of int or str, optional
            Positions in ``pool_``, or names; the first two that were fused when omitted.
        {line}
        {own_scoring}

        {not_drawn}
            Statistics of inner points are re-estimated as the estimator does it for its merged network.
        """
        alignments = fitted(estimator, "alignments_", "a fitted SoupClassifier, SoupRegressor or ReBasinMerger")
        pool = estimator.pool_
        pair = chosen(pool, [*(alignments or pool.names)][:2] if members is None else members, 2, "A path")
        if alignments is not None and (left := [m.name for m in pair if m.name not in alignments]):
            raise ValueError(f"{left} were not selected, so they were not aligned: choose among {[*alignments]}.")
        two, data = _evaluated(pool, pair, X, y, estimator, estimator.scoring if scoring is None else scoring)
        repair = estimator._part("repair")
        repair = None if isinstance(repair, Recalibrate) else repair  # as points of a path are by default, only faster
        aligned = None
        if alignments is not None:
            aligned = [alignments[m.name].apply(s) for m, s in zip(two, data.states, strict=True)]
        return cls._along(data, pair, aligned, n_points, repair)

    @classmethod
    def _along(
        cls, data: PoolOnData, pair: Any, aligned: Any, n_points: int, repair: Any = None, label: str = _BEFORE
    ) -> BarrierDisplay:
        """Evaluate the line between the first and the last member, also as they are ``aligned`` where they are."""
        lines = {label: data.states} if aligned is None else {label: data.states, _AFTER: aligned}
        profiles = {k: loss_along(segment(s[0], s[-1]), data.objective, n_points, repair) for k, s in lines.items()}
        names = (pair[0].name, pair[1].name)
        return cls.from_profiles(profiles, names=names, loss_name=data.loss_name, score_name=data.score_name)

    def _draw_panels(self, axes: list[Any]) -> None:
        first = Profile(self.t, self.loss, self.score)
        if not self.others:
            draw_path(axes, first, self.names, self.score_name, self.label)
        else:
            lines = {self.label: first, **self.others}
            names = zip(distinct([*lines]), lines, strict=True)
            written = [f"{shown}: {number(self.barriers[name], 'barrier')}" for shown, name in names]
            draw_paths(axes, dict(zip(written, lines.values(), strict=True)), self.names, self.score_name, lines)
            legend_above(axes[0], 2)
        what = "t" if self.others else "on the line"
        label_axes(axes[-1], f"position {what} between the weights of the two networks")


def _evaluated(
    pool: ModelPool, pair: list[Member], X: Any, y: Any, estimator: Any, scoring: Any
) -> tuple[ModelPool, PoolOnData]:
    """Return a pool of two members, or of one where both are the same, and this pool on some rows."""
    two = pool.replace(pair[:1] if pair[0] is pair[1] else pair)
    return two, pool_on_data(two, X, y, estimator, scoring, "to evaluate the networks between two members")
