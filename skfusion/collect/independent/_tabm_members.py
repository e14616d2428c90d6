"""The members of one TabM network, each as a network of its own (Gorishniy et al., 2025)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from skfusion import nets
from skfusion._random import draw_seeds
from skfusion._rows import Rows, Task
from skfusion.collect._base import Collector
from skfusion.collect._given_rows import n_outputs_of
from skfusion.nets import LastState, Recorder, Run
from skfusion.pool import Member


@dataclass(eq=False, repr=False)
class TabMMembers(Collector):
    r"""Train one :class:`~skfusion.nets.TabM`, an ensemble in one network, and unstack it into plain perceptrons.

    Where the network has the matrix W in a layer, member k has :math:`\mathrm{diag}(s_k) W \mathrm{diag}(r_k)`, and is
    a :class:`~skfusion.nets.TabularMLP` of the same hidden sizes. The mean of the members' predictions is that of the
    network, and what selects or weighs members, such as ``EnsembleSelection``, prunes it.

    The net of an estimator is trained with a TabM in place of its module, of which it keeps the parameters that a TabM
    has too. Where an estimator is given none, it is that of :func:`~skfusion.nets.tabm_classifier` or
    :func:`~skfusion.nets.tabm_regressor`.

    Parameters
    ----------
    n_members : int, optional
        Members of the network, its ``k``. More give a better ensemble at a proportional cost. Those of the net, 32 by
        default, when omitted.

    Notes
    -----
    Costs one training of a TabM: less than ``n_members`` trainings. Combine the members by their predictions. They
    share weights, yet lie far apart, because the signs of their columns differ: a uniform soup of them is useless.

    A pool that comes from a directory has no nets: give its estimator a ``tabular_classifier`` of the hidden sizes.

    References
    ----------
    Gorishniy, Kotelnikov and Babenko, "TabM: advancing tabular deep learning with parameter-efficient ensembling", ICLR
    2025, arXiv:2410.24210. Wen, Tran and Ba, "BatchEnsemble: an alternative approach to efficient ensemble and lifelong
    learning", ICLR 2020, arXiv:2002.06715.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import EnsembleClassifier
    >>> from skfusion.collect import TabMMembers
    >>> from skfusion.combine import EnsembleSelection
    >>> X, y = load_iris(return_X_y=True)
    >>> pruned = EnsembleClassifier(
    ...     collect=TabMMembers(8), combine=EnsembleSelection(), random_state=0
    ... ).fit(X, y)
    >>> len(pruned.pool_), pruned.score(X, y) > 0.9
    (8, True)
    """

    n_members: int | None = None

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return the run of one network, which leaves all members; see :meth:`Collector.runs`."""
        (seed,) = draw_seeds(rng, 1, "n_networks")
        net = nets.with_members(net, self.n_members)
        net = nets.sized(net, rows, n_outputs_of(net, replace(rows, task=nets.task_of(net, rows))))
        return [Run("tabm", seed, net=net, recorder=partial(_Unstacked, nets.of_one_member(net)))]

    def default_net(self, task: Task) -> Any:
        """Return a net with a TabM; see :meth:`Collector.default_net`."""
        return nets.tabm_regressor() if task == "regression" else nets.tabm_classifier(multilabel=task == "multilabel")

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_members": 4}


class _Unstacked(Recorder):
    """Leaves the members of the last state of a run, with the net that each of them runs in."""

    def __init__(self, net: Any):
        self.net = net

    def members(self, name: str, net: Any = None) -> list[Member]:
        """Return the members, of a run that has ended."""
        return [
            last.replace(name=f"{name}-{k}", state=state, net=self.net, meta={**last.meta, "own_net": True})
            for last in LastState().members(name, net)
            for k, state in enumerate(nets.unstacked(last.state))
        ]
