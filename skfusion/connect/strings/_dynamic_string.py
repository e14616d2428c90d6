"""Strings of beads whose links all stay below a level of the loss (Freeman and Bruna, 2017)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np
import torch

from skfusion._caller import warn_caller
from skfusion._random import seed_scope
from skfusion.connect._base import Connector, Path, combined
from skfusion.connect._chain import Chain
from skfusion.connect._parameters import check_share, check_steps, check_whole, is_number
from skfusion.connect.strings._band import trainable
from skfusion.connect.strings._beads import Beads
from skfusion.connect.strings._judge import HeldOutLoss, between, inner_shares
from skfusion.objective import Objective
from skfusion.state import State


@dataclass(eq=False, repr=False)
class String(Path):
    """A chain of beads between two networks, and how it was found.

    Parameters
    ----------
    controls : sequence of State
        The networks at the ends, and the beads between them.
    basis : PathBasis
        What gives the coefficients.
    history : sequence of float, optional
        Mean training loss of the beads that were trained in each epoch.
    own_ends : bool, default=True
        Whether the ends are networks as their own training left them.
    level : float
        What the held-out loss was to stay below.
    depth : int
        How often links were split.
    above : sequence of int
        Positions of the links on which the loss still rises above the level; none where the string was found.
    """

    _: KW_ONLY
    level: float = math.inf
    depth: int = 0
    above: Sequence[int] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.above = tuple(self.above)

    @property
    def n_beads(self) -> int:
        """The number of beads between the ends."""
        return len(self.controls) - 2

    @property
    def normalised_length(self) -> float:
        """The length of the chain over the distance of its ends, at least 1; NaN where they are equal."""
        straight = self.length(2)
        return self.length(len(self.controls)) / straight if straight > 0 else math.nan


@dataclass(eq=False, repr=False)
class DynamicString(Connector, Chain):
    r"""Join two networks by straight links that all stay below a level of the loss (greedy dynamic string sampling).

    Where the held-out loss on the link between two networks rises above the level :math:`L_0`, a bead is trained from a
    point of the link until its own loss is at most :math:`\alpha L_0`, and both links that it makes are looked at in
    the same way. The length of the string estimates how crooked the valley below the level is.

    Parameters
    ----------
    level : float, optional
        The held-out loss that no link may exceed, in units of the loss; when omitted, that of the worse end, and a
        tenth of what the straight line rises above it. A lower one takes more beads.
    alpha : float, default=0.9
        A bead is trained until its loss is at most this share of the level, or as far below a level that is negative.
        Less makes fewer splits, of more training.
    split : {"highest", "middle"}, default="highest"
        Where on a link a bead starts: at the highest loss, which needs fewer beads, or in the middle, which is steadier
        where losses are flat or noisy.
    max_depth : int, default=6
        How often links may be split. Links that are above the level then are kept, and named in a warning.
    n_points : int, default=15
        Points of a link at which the loss is asked, without its ends. More find narrower hills.
    n_epochs : int, default=50
        Most epochs of the training of a bead.
    lr : float, default=0.1
        Learning rate of SGD.
    momentum : float, default=0.9
        Momentum of SGD.
    weight_decay : float, default=0.0
        L2 penalty on the beads. That of the networks' own training is a good value.
    random_state : int, default=0
        Seed of the order of the rows.

    Notes
    -----
    The path is a :class:`~skfusion.connect.String`, which says how many beads it has, how deep it was split, how long
    it is, and which links are above the level: that none was found does not prove that there is none. All links of one
    depth are split at once, and their beads trained as one program where the module allows it. At worst there are
    :math:`2^{depth}` links; a link costs ``n_points`` evaluations, a bead at most ``n_epochs`` epochs.

    The rows that judge decide when a bead is trained and a string found, so that their loss on the string is lower than
    that of new rows. BatchNorm is recalibrated at each point but the ends.

    References
    ----------
    Freeman and Bruna, "Topology and geometry of half-rectified network optimization", ICLR 2017, arXiv:1611.01540.

    Examples
    --------
    >>> from skfusion.connect import DynamicString
    >>> DynamicString().weights(0.25, 3).tolist()
    [0.5, 0.5, 0.0]
    """

    needs_labels: ClassVar[bool] = True
    level: float | None = None
    alpha: float = 0.9
    split: str = "highest"
    max_depth: int = 6
    n_points: int = 15
    n_epochs: int = 50
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    random_state: int = 0
    _test_sets = ({}, {"split": "middle", "alpha": 0.8, "n_points": 9})

    def check(self) -> None:
        """Raise an error where a setting makes no sense; see :meth:`Connector.check`."""
        if self.level is not None and not is_number(self.level):
            raise TypeError(f"level must be a number, or None; got {self.level!r}.")
        if self.level is not None and not math.isfinite(self.level):
            raise ValueError(f"level must be finite; got {self.level!r}.")
        check_share(self, "alpha")
        if self.split not in ("highest", "middle"):
            raise ValueError(f"split must be 'highest' or 'middle'; got {self.split!r}.")
        check_whole(self, "max_depth", "n_epochs")
        check_whole(self, "n_points", least=1)
        check_steps(self, "weight_decay")

    def __call__(self, states: Sequence[State], objective: Objective | None = None) -> String:
        """Return the string; see :meth:`Connector.__call__`."""
        data = trainable(self, states, objective)
        if data is None:
            return String(states, self)
        loss = HeldOutLoss(data, states)
        found = _Links(self, states, loss)
        level = found.level if self.level is None else float(self.level)
        _refuse(found.losses, level)
        beads, depth = Beads(self, states, data, loss), 0
        enough = level - (1 - self.alpha) * abs(level)  # below the level, of whatever sign
        with seed_scope(int(self.random_state), beads.device), torch.no_grad():
            while (open_links := found.to_split(level)) and depth < self.max_depth:
                found.split(open_links, beads.train(found.starts(open_links), enough))
                depth += 1
        if above := found.above(level):
            _warn(self, above, len(found.losses) - 1, level, depth)
        return String(found.chain, self, beads.history, level=level, depth=depth, above=above)


class _Links:
    """A chain of states, their losses, and those along its links, each of shape (n_points,)."""

    def __init__(self, settings: DynamicString, ends: Sequence[State], loss: HeldOutLoss):
        self.shares, self.middle, self.loss = inner_shares(settings.n_points), settings.split == "middle", loss
        self.chain, self.losses = [*ends], [loss(state) for state in ends]
        self.along = [self._between(*ends)]

    @property
    def level(self) -> float:
        """The level where none is given: the higher loss of the ends, and a tenth of what the line rises above it."""
        finite = self.along[0][np.isfinite(self.along[0])]
        worst = max(self.losses)
        return worst + 0.1 * max(0.0, float(finite.max(initial=-math.inf)) - worst)

    def above(self, level: float) -> list[int]:
        """Return the links that rise above a level."""
        highest = [max(p, q, line.max()) for p, q, line in zip(self.losses, self.losses[1:], self.along, strict=False)]
        return [k for k, loss in enumerate(highest) if loss > level]

    def to_split(self, level: float) -> list[int]:
        """Return the links that rise above a level between ends that do not."""
        return [k for k in self.above(level) if max(self.losses[k : k + 2]) <= level]

    def starts(self, links: Sequence[int]) -> list[State]:
        """Return where the beads of some links start."""
        shares = [0.5 if self.middle else float(self.shares[self.along[k].argmax()]) for k in links]
        return [combined(self.chain[k : k + 2], [1 - s, s]) for k, s in zip(links, shares, strict=True)]

    def split(self, links: Sequence[int], beads: Sequence[tuple[State, float]]) -> None:
        """Put a bead, given with its loss, on each of some links."""
        for k, (bead, loss) in reversed([*zip(links, beads, strict=True)]):
            self.along[k : k + 1] = [self._between(self.chain[k], bead), self._between(bead, self.chain[k + 1])]
            self.chain.insert(k + 1, bead)
            self.losses.insert(k + 1, loss)

    def _between(self, a: State, b: State) -> np.ndarray:
        return np.array([self.loss(state) for state in between(a, b, self.shares)])


def _refuse(losses: Sequence[float], level: float) -> None:
    """Raise where an end is above the level."""
    if not max(losses) <= level < math.inf:
        first, second = losses
        raise ValueError(
            f"The held-out losses of the two networks are {first:.4g} and {second:.4g}, and level is {level:.4g}: a "
            f"string stays below its level from end to end. Give level= of more than {max(losses):.4g}, or train the "
            "networks longer."
        )


def _warn(settings: DynamicString, above: Sequence[int], n_links: int, level: float, depth: int) -> None:
    """Warn that the loss rises above the level on some links."""
    warn_caller(
        f"{settings!r} found no string below the level {level:.4g}: on {len(above)} of its {n_links} links, "
        f"{[*above]}, the loss rises above it after {depth} splits. There may be one: give a larger max_depth or "
        "n_epochs, another lr, or a higher level."
    )
