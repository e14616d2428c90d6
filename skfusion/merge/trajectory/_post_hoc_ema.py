"""Post-hoc EMA: moving averages of any length, from snapshots of a few that were tracked (Karras et al., 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np

from skfusion._caller import warn_caller
from skfusion._power_profile import exponent_of
from skfusion.merge._base import LinearMerger, check_states
from skfusion.merge.trajectory._nearest_profile import Profile, nearest
from skfusion.merge.trajectory._several_sums import weighted_sums
from skfusion.objective import Objective
from skfusion.state import State

_LARGEST_ERROR = 0.1
"""Relative error of the profile above which a warning says that it is another average than was asked for."""


@dataclass(eq=False, repr=False)
class PostHocEMA(LinearMerger):
    r"""Make the moving average of any length from snapshots of two others, after the training (post-hoc EMA).

    In the snapshot i, of relative length :math:`\sigma_i` and taken after step :math:`t_i`, the state of step
    :math:`s \le t_i` counts for

    .. math:: p_i(s) = \frac{s^{\gamma_i + 1} - (s - 1)^{\gamma_i + 1}}{t_i^{\gamma_i + 1}}, \qquad
        \sigma_i = \frac{\sqrt{\gamma_i + 1}}{(\gamma_i + 2) \sqrt{\gamma_i + 3}}

    The result is the sum of the snapshots whose profile is nearest to that of the average asked for:

    .. math:: \theta = \sum_i x_i \theta_i, \qquad
        x = \operatorname*{arg\,min}_{\sum_i x_i = 1} \sum_s \Big(\sum_i x_i p_i(s) - p(s)\Big)^2

    Parameters
    ----------
    sigma : float, default=0.1
        Length of the average relative to the run, above 0 and at most 0.2887 (the plain mean of all states). A longer
        one averages over more noise, and over older states. No training depends on it, so a search over it is cheap.
    time : float, optional
        When the average is taken, in the unit of the snapshots' times, which is steps where
        :class:`~skfusion.collect.PowerSnapshots` took them. Later snapshots are left out. That of the latest snapshot
        when omitted; an earlier one gives the average as it was then.
    profiles : sequence of (float, float), optional
        The pair (sigma, time) of each snapshot, in their order. An estimator reads them from the ``meta`` of the
        members when omitted, where :class:`~skfusion.collect.PowerSnapshots` writes them.

    Notes
    -----
    Costs O(K d) for K snapshots of d parameters, and a least-squares problem of K unknowns in double precision.
    Reported are ``coefficients``, by snapshot, and ``profile_error``: the distance of the profile that is made from
    that which was asked for, relative to the norm of the latter. With snapshots of 0.05 and 0.1 at 20 times each it is
    0.002 for 0.075, 0.006 for 0.15, 0.015 for 0.2, 0.06 for 0.25, and 0.09 for 0.02; at 40 times 0.026 for 0.02. An
    average that was tracked is returned as it was kept. An error above 0.1 is warned of. Short averages need snapshots
    at short intervals, and their coefficients are large and of both signs, so keep snapshots in single precision:
    those of half precision spoil them.

    The snapshots average the statistics of BatchNorm along with the weights; an estimator estimates them anew for the
    result.

    The published code solves for inner products of the profiles as integrals, and divides the coefficients by their sum
    afterwards. Here the sum is part of the problem, and profiles are those of the steps: the discrete ones that
    :class:`~skfusion.average.PowerEMA` has, or, in more than 4096 steps, groups of them.

    References
    ----------
    Karras et al., "Analyzing and improving the training dynamics of diffusion models", CVPR 2024, arXiv:2312.02696.

    Examples
    --------
    >>> import torch
    >>> from skfusion.average import PowerEMA
    >>> from skfusion.merge import PostHocEMA
    >>> run = [{"w": torch.tensor([i / 100])} for i in range(101)]  # each state is its time
    >>> profiles = [(sigma, time) for sigma in (0.05, 0.1) for time in range(5, 101, 5)]
    >>> snapshots = [PowerEMA(sigma).of(run[: time + 1]) for sigma, time in profiles]
    >>> round(PostHocEMA(sigma=0.2, profiles=profiles)(snapshots)["w"].item(), 3)
    0.744
    >>> round(PowerEMA(sigma=0.2).of(run)["w"].item(), 3)  # had it been tracked
    0.744
    """

    sigma: float = 0.1
    time: float | None = None
    profiles: Sequence[Profile] | None = None

    order_dependent: ClassVar[bool] = True
    _test_sets = (
        {"sigma": 0.12, "profiles": ((0.05, 4), (0.1, 4), (0.2, 4))},
        {"sigma": 0.15, "time": 8, "profiles": ((0.1, 8), (0.2, 8), (0.1, 9))},
    )

    @classmethod
    def _test_skips(cls) -> dict[str, str]:
        return {"check_one_member_gives_that_member": "profiles by hand are for all members, and the law has one"}

    def for_members(self, metas: Sequence[Mapping[str, Any]]) -> Self:
        """Return the merger with the profiles of the members; see :meth:`Merger.for_members`."""
        if self.profiles is not None:
            return self
        for k, meta in enumerate(metas):
            if missing := [name for name in ("sigma", "time") if name not in meta]:
                raise ValueError(
                    f"PostHocEMA asks for the length and the time of each snapshot, and the meta of member {k} has no "
                    f"{missing[0]!r}. Collect with PowerSnapshots(), or give profiles=[(sigma, time), ...]."
                )
        return type(self)(self.sigma, self.time, [(meta["sigma"], meta["time"]) for meta in metas])

    def coefficients(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> list[float]:
        """Return how much each snapshot counts, and report it; see :meth:`LinearMerger.coefficients`."""
        weights, errors = self._solved(len(states), [self.sigma])
        found = [float(w) for w in weights[0]]
        if objective is not None:
            objective.report("profile_error", errors[0])
            objective.report("coefficients", found)
        return found

    def at_lengths(self, states: Sequence[State], sigmas: Sequence[float]) -> list[State]:
        """Return the averages of several lengths at once, for which each snapshot is read once.

        Parameters
        ----------
        states : sequence of State
            The snapshots, in the order of ``profiles``.
        sigmas : sequence of float
            Lengths, in the place of the merger's own.

        Returns
        -------
        list of State
            An average of each length.
        """
        check_states(self, states, None)
        weights, _ = self._solved(len(states), sigmas)
        return weighted_sums(states, weights)

    def _solved(self, n: int, sigmas: Sequence[float]) -> tuple[np.ndarray, list[float]]:
        """Return the coefficients of n snapshots for each length, shape (n_sigmas, n), and the errors of profiles.

        Snapshots that are later than the time have coefficients of 0. Large errors are warned of.
        """
        profiles = self._profiles(n)
        time = self._time([t for _, t in profiles])
        kept = [k for k, (_, t) in enumerate(profiles) if t <= time]
        found, errors = nearest([profiles[k] for k in kept], [(sigma, time) for sigma in sigmas])
        worst = int(np.argmax(errors))
        if errors[worst] > _LARGEST_ERROR:
            lengths = ", ".join(f"{sigma:g}" for sigma in sorted({profiles[k][0] for k in kept}))
            latest = max(profiles[k][1] for k in kept)
            warn_caller(
                f"The average of sigma={sigmas[worst]:g} at the time {time:g} is made of {len(kept)} snapshots with an "
                f"error of {errors[worst]:.0%} of its profile, so it is another average than was asked for. Their "
                f"lengths are {lengths}, and the latest is of the time {latest:g}. Take a sigma nearer to these and a "
                "time of one of them, or collect more of them: PowerSnapshots(sigmas=(0.05, 0.2), n=40)."
            )
        weights = np.zeros((len(sigmas), n))
        weights[:, kept] = found
        return weights, errors

    def _profiles(self, n: int) -> list[Profile]:
        if self.profiles is None:
            raise ValueError(
                "PostHocEMA asks for the length and the time of each snapshot, which an estimator reads from the pool: "
                "SoupClassifier(collect=PowerSnapshots(), merge=PostHocEMA()). To merge states, give "
                "profiles=[(sigma, time), ...] (--profiles on the command line)."
            )
        try:
            profiles = [(float(sigma), float(time)) for sigma, time in self.profiles]
        except (TypeError, ValueError) as error:
            raise ValueError(f"profiles is a pair (sigma, time) for each snapshot; got {self.profiles!r}.") from error
        if len(profiles) != n:
            raise ValueError(f"PostHocEMA got {len(profiles)} profiles for {n} members; give one (sigma, time) each.")
        for sigma, time in profiles:
            exponent_of(sigma)
            if not 0 < time < float("inf"):
                raise ValueError(f"The time of a snapshot must be above 0 and finite; got {time:g}.")
        return profiles

    def _time(self, times: Sequence[float]) -> float:
        if self.time is None:
            return max(times)
        if not isinstance(self.time, Real):
            raise ValueError(f"time is a number, in the unit of the snapshots' times, or None; got {self.time!r}.")
        if not min(times) <= self.time < float("inf"):
            raise ValueError(
                f"time={self.time} is before the first snapshot, which was taken at {min(times):g} (the last one at "
                f"{max(times):g}): an average at that time cannot be made of later ones. Give a time from there on."
            )
        return float(self.time)
