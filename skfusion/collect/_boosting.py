"""AdaBoost: members that learn what the former ones got wrong (Freund and Schapire, 1997; Drucker, 1997)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from skfusion import nets
from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.collect._base import Collector
from skfusion.collect._in_turn import in_turn
from skfusion.collect._train_runs import Progress, train
from skfusion.nets import DivergedError, Run
from skfusion.pool import Member, ModelPool

Step = tuple[float, float, np.ndarray]
"""The weighted error of a member, the weight of its vote, and the weights of the rows for the next one."""


class Boosting(Collector):
    r"""Train members one after another, each with more weight on the rows that the former one got wrong.

    In classification (SAMME) a member whose weighted error is :math:`e` has the weight

    .. math:: \alpha = \eta \left(\log\frac{1 - e}{e} + \log(C - 1)\right)

    among the C classes of the training rows, however many outputs the net has, and the weights of rows that it got
    wrong are multiplied by :math:`\exp(\alpha)`. In regression
    (AdaBoost.R2) the errors of rows are divided by the largest, :math:`e` is their weighted mean, :math:`\beta = e /
    (1 - e)`, the weight of the member is :math:`\eta \log(1 / \beta)`, and that of a row whose error is :math:`L` is
    multiplied by :math:`\beta^{\eta (1 - L)}`.

    Parameters
    ----------
    n_members : int, default=10
        Networks to train at most. The training ends early with a member that is right about all rows, and before one
        that is no better than chance, with a warning.
    learning_rate : float, default=1.0
        :math:`\eta` above. A smaller one trusts each member less, and needs more of them.
    resample : bool, default=False
        Whether rows are drawn with replacement by their weights; else the weights stand in the loss. Drawing works
        with any loader and criterion, and adds noise.

    Notes
    -----
    Costs ``n_members`` trainings, which cannot be run together. The weight of a member and its error stand in its
    ``meta["weight"]`` and ``meta["error"]``; :class:`~skfusion.BoostingFusion` lets members vote by them. A network
    that fits all rows has nothing to teach another one: members should be small, or trained for few epochs. With
    several targets, the error of a row is the mean of those of its targets, each divided by the largest of its target.

    References
    ----------
    Freund and Schapire, "A decision-theoretic generalization of on-line learning and an application to boosting",
    Journal of Computer and System Sciences 55, 1997, doi:10.1006/jcss.1997.1504. Zhu, Zou, Rosset and Hastie,
    "Multi-class AdaBoost", Statistics and Its Interface 2, 2009, doi:10.4310/SII.2009.v2.n3.a8. Drucker, "Improving
    regressors using boosting techniques", ICML 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import Boosting
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> pool = Boosting(2).collect(mlp_regressor(max_epochs=50), x, x**2)
    >>> all(member.meta["error"] < 0.5 for member in pool)
    True
    """

    uses_run_folder = True

    def __init__(self, n_members: int = 10, learning_rate: float = 1.0, resample: bool = False):
        self.n_members = n_members
        self.learning_rate = learning_rate
        self.resample = resample

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return the runs, of as many members as there are at most; see :meth:`Collector.runs`."""
        seeds = draw_seeds(rng, self.n_members, "n_members")
        return [Run(f"boost-{i}", seed) for i, seed in enumerate(seeds)]

    def __call__(
        self,
        net: Any,
        rows: Rows,
        rng: np.random.RandomState,
        *,
        n_jobs: int | None = None,
        progress: Progress | None = None,
    ) -> ModelPool:
        """Train the members, each with the weights that the former one asks for; see :meth:`Collector.__call__`."""
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be above 0 and finite; got {self.learning_rate}.")
        runs = self.runs(net, rows, rng)
        task = nets.task_of(net, rows)
        if task == "multilabel":
            raise ValueError(
                "Boosting asks of a row whether it is right, and not which of its labels are: boost each label by "
                "itself, with sklearn.multioutput.MultiOutputClassifier."
            )
        runner = nets.Runner(net, task, rows)
        weight = np.ones(len(rows)) if rows.loss_weight is None else rows.loss_weight.astype(np.float64)
        weight = weight / weight.sum()
        n_classes = len(np.unique(rows.y[weight > 0])) if task == "classification" else None
        step = r2 if n_classes is None else partial(samme, n_classes=n_classes)
        members: list[Member] = []
        with in_turn(progress, len(runs), members) as reported:
            for run in runs:
                weighted = replace(rows, weight=None if self.resample else weight * len(rows), class_weight=None)
                if self.resample:
                    run = replace(run, index=rng.choice(len(rows), size=len(rows), p=weight))
                elif (weight == weight[0]).all():
                    weighted = rows  # as plain training, also for nets whose rows cannot be weighted
                try:
                    pool = train(net, weighted, [run], progress=reported, folder=self.run_folder)
                except DivergedError as error:
                    error.pool = ModelPool(members) if members else None
                    raise
                except ValueError as error:
                    if weighted.weight is None or "weight" not in str(error):
                        raise
                    remedy = "Or boost with resample=True, which draws rows by their weights."
                    raise ValueError(f"{error} {remedy}") from error
                P = runner.predict(pool[0].state, rows.X)
                wrong, vote, weight = step(P, rows.y, weight, self.learning_rate)
                if vote <= 0:
                    _warn(pool[0].name, wrong, n_classes, alone=not members)
                if vote > 0 or not members:
                    record = {"weight": vote if vote > 0 else 1.0, "error": wrong}
                    members.append(pool[0].replace(meta={**pool[0].meta, **record}))
                if vote <= 0 or wrong <= 0 or reported.stopped:
                    break
        return ModelPool(members, pool.base)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_members": 3}
        yield {"n_members": 3, "resample": True}


def samme(P: np.ndarray, y: np.ndarray, weight: np.ndarray, learning_rate: float, n_classes: int) -> Step:
    """Return what comes of a member's probabilities, shape (n_samples, n_outputs); its weight is 0 where it is useless.

    A member that is always right has the weight 1, as in scikit-learn. ``n_classes`` are those that rows have: chance
    is not among the other outputs.
    """
    wrong = P.argmax(axis=1) != y
    error = float(weight[wrong].sum() / weight.sum())
    if error <= 0:
        return 0.0, 1.0, weight
    if error >= 1 - 1 / n_classes:
        return error, 0.0, weight
    vote = learning_rate * (math.log((1 - error) / error) + math.log(n_classes - 1))
    weight = weight * np.exp(vote * (wrong - 1.0))  # all by one factor less than in the formula, so none overflows
    return error, vote, weight / weight.sum()


def r2(P: np.ndarray, y: np.ndarray, weight: np.ndarray, learning_rate: float) -> Step:
    """Return what comes of a member's values, shape (n_samples, n_outputs); its weight is 0 where it is useless.

    A member that is always right has the weight 1, as in scikit-learn.
    """
    loss = np.abs(P.astype(np.float64) - y)
    largest = loss[weight > 0].max(axis=0)
    loss = (loss / np.where(largest > 0, largest, 1.0)).mean(axis=1)
    error = float((weight * loss).sum() / weight.sum())
    if error <= 0:
        return 0.0, 1.0, weight
    if error >= 0.5:
        return error, 0.0, weight
    beta = error / (1 - error)
    weight = weight * beta ** (learning_rate * (1 - loss))
    return error, -learning_rate * math.log(beta), weight / weight.sum()


def _warn(name: str, error: float, n_classes: int | None, alone: bool) -> None:
    chance = 0.5 if n_classes is None else 1 - 1 / n_classes
    what = "too much for AdaBoost.R2" if n_classes is None else "no better than chance"
    end = "it is kept alone" if alone else "it is left out"
    warnings.warn(
        f"Boosting ends with member {name!r}: its weighted error is {error:.3g}, and {chance:.3g} or more is {what}; "
        f"{end}. Train longer, take a larger network, or a smaller learning_rate.",
        stacklevel=3,
    )
