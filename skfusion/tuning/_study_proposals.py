"""Settings of fine-tunes that Optuna proposes (Akiba et al., 2019)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState
from sklearn.base import BaseEstimator

from skfusion.tuning._study import check_space, quiet, sampler_of


@dataclass(eq=False, repr=False)
class StudyProposals(BaseEstimator):
    """Let Optuna propose the settings of fine-tunes, each after the former ones are trained.

    For :class:`skfusion.collect.FineTunes` in place of distributions. Settings gather where the validation loss is
    low, so members are better and less diverse than those of a random search.

    Parameters
    ----------
    space : callable
        ``space(trial)`` returns a dict of parameters of the net, such as
        ``{"lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True)}``.
    sampler : sampler of Optuna, or callable, optional
        TPE when omitted, whose first ten settings are random. A callable, such as the class ``GPSampler``, is called
        with ``seed=``; an instance is copied for each collection and keeps its own seed.

    Notes
    -----
    Each collection has its own study, whose seed the collector draws. Where training diverges, the loss is infinite.

    References
    ----------
    Akiba et al., "Optuna: a next-generation hyperparameter optimization framework", KDD 2019,
    doi:10.1145/3292500.3330701.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import FineTunes
    >>> from skfusion.nets import mlp_regressor
    >>> from skfusion.tuning import StudyProposals
    >>> def space(trial):
    ...     return {"lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True)}
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> tunes = FineTunes(StudyProposals(space), n_members=3, init=2)
    >>> pool = tunes.collect(mlp_regressor(max_epochs=2), x, x**2)
    >>> all(1e-4 <= member.meta["params"]["lr"] <= 1e-2 for member in pool)
    True
    """

    space: Callable[[Any], dict[str, Any]]
    sampler: Any = None

    def begin(self, seed: int) -> Proposer:
        """Return a proposer that knows nothing yet.

        Parameters
        ----------
        seed : int
            Of the sampler.

        Returns
        -------
        Proposer
            With ``ask()`` and ``tell(params, value)``.
        """
        check_space(self.space)
        with quiet():
            sampler = sampler_of(TPESampler if self.sampler is None else self.sampler, seed)
            study = optuna.create_study(direction="minimize", sampler=sampler)
        return Proposer(self.space, study)


@dataclass(eq=False)
class Proposer:
    """A study that proposes a setting and then gets its loss, in turns."""

    space: Callable[[Any], dict[str, Any]]
    study: Any

    def ask(self) -> dict[str, Any]:
        """Return parameters of the net."""
        with quiet():
            self.trial = self.study.ask()
            params = self.space(self.trial)
        if not isinstance(params, dict):
            raise TypeError(f"space must return a dict of parameters; got {params!r}.")
        return dict(params)

    def tell(self, params: dict[str, Any], value: float) -> None:
        """Store the loss of the setting that was asked for last; it has failed where the loss is NaN."""
        with quiet():
            if math.isnan(value):
                self.study.tell(self.trial, state=TrialState.FAIL)
            else:
                self.study.tell(self.trial, value)
