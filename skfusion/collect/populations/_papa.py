"""Population parameter averaging: members that are pulled towards their mean (Jolicoeur-Martineau et al., 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from torch import Tensor

from skfusion.collect.populations._lock_step import (
    LockStepCollector,
    Settings,
    check_every,
    mean_of,
)
from skfusion.nets import Population, Together, VectorizeChoice


@dataclass(eq=False, repr=False)
class PAPA(LockStepCollector):
    r"""Train members from one start, and pull them a little towards their mean every few steps.

    After every c-th step t of the optimisers

    .. math:: \theta_k \leftarrow \alpha_t \theta_k + (1 - \alpha_t) \bar\theta, \qquad
        1 - \alpha_t = (1 - \alpha) \, \eta_t / \eta_0

    where :math:`\bar\theta` is the mean of the K members, :math:`\eta_t` the learning rate and :math:`\eta_0` its
    highest so far. The mean stays where it is, and the sum of squared distances from it is multiplied by
    :math:`\alpha_t^2`. So members stay near enough to each other for the mean of their weights to be a good network,
    and far enough for it to be better than each.

    Parameters
    ----------
    n_members : int, default=5
        Networks to train, K.
    alpha : float, default=0.99
        What a member keeps of its distance from the mean in each pull, from 0 to 1. With 1 members are independent,
        with 0 they are equal after each pull. The paper takes 0.99 from scratch, and 0.9995 for fine-tuning.
    every : int, default=10
        Steps from one pull to the next, c. More steps are a weaker pull.
    params : dict or list of dict, optional
        Settings of each member, such as ``{"criterion__label_smoothing": [0, 0.05, 0.1]}``: a dict of lists and
        distributions that are drawn from, or a list of dicts that are taken in turn. The paper gives each member
        another regularisation. Those of the optimiser and the learning rate keep members vectorized; with others, such
        as dropout, members take their steps in turn, at the cost of a loop.
    init : int, State, Member, fitted net or FrozenEstimator, optional
        The common start. A number trains the net for that many epochs first. When omitted, a net with a module instance
        starts from its weights, and any other from one fresh initialisation.
    vectorize : {"auto", True, False}, default="auto"
        Train members as one network with a member axis, on which a pull is one operation: the same members, many times
        sooner where networks are small. True also where it is not sooner; False in turn, a step each.
    max_bytes : int, optional
        Memory for members that are trained as one; half of the free memory when omitted. They are not split: where not
        all have room they are trained in turn.

    Notes
    -----
    Costs ``n_members`` trainings in one process, and a pass over the weights every c-th step. Members differ in the
    order of the data, dropout and ``params``. Where the net holds rows out, these are the same for all members, as a
    member would learn those of another through the pull.

    BatchNorm's statistics are pulled as weights are, as in the authors' code; estimators estimate them anew for a soup.
    What optimisers keep, such as momentum, is each member's own and not pulled.

    A member that a callback ends stays as it is then, and the mean is that of the others; a warning names it. One that
    diverges is left out of the pool with a warning. It takes no part in the mean from where it has a NaN or infinity,
    or weights whose norm is a hundred times that of the median member.

    Members share a basin, so that ``SoupClassifier(net, collect=PAPA(8), merge=Uniform())`` needs no alignment; the
    paper takes the mean or a greedy soup. The start is the pool's ``base``. :class:`PAPAAll` and :class:`PAPA2` are the
    paper's variants that average rarely and fully.

    References
    ----------
    Jolicoeur-Martineau, Gervais, Fatras, Zhang and Lacoste-Julien, "PopulAtion Parameter Averaging (PAPA)", TMLR 2024,
    arXiv:2304.03094.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import PAPA
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> pool = PAPA(3, alpha=0, every=1).collect(mlp_regressor(max_epochs=2), x, x**2)
    >>> len({member.state["layers.0.weight"].sum().item() for member in pool})
    1
    """

    n_members: int = 5
    alpha: float = 0.99
    every: int = 10
    params: Settings = None
    init: Any = None
    vectorize: VectorizeChoice = "auto"
    max_bytes: int | None = None

    def population(self, seed: int) -> Population:
        """Return what pulls members; see :meth:`LockStepCollector.population`."""
        if isinstance(self.alpha, bool) or not (isinstance(self.alpha, Real) and 0 <= self.alpha <= 1):
            raise ValueError(
                f"alpha is the share of its distance that a member keeps, from 0 to 1; got {self.alpha!r}."
            )
        check_every(self.every, "step")
        return _Pull(self.alpha, self.every)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_members": 4, "alpha": 0.5, "every": 2}
        yield {"n_members": 3, "every": 1, "params": {"lr": [0.02, 0.01]}, "vectorize": False}


class _Pull(Population):
    """Pulls all members towards the mean of those that have not diverged."""

    def __init__(self, alpha: float, every: int):
        self.alpha, self.every = alpha, every

    def acts_after(self, step: int, steps_per_epoch: int, n_steps: int) -> bool:
        return self.alpha < 1 and step % self.every == 0

    def act(self, together: Together) -> None:
        places = together.without_diverged()
        shares = [(1 - self.alpha) * rate for rate in together.rates]
        for x in together.tensors if places else []:
            pull(x, mean_of(x, places), shares)


def pull(x: Tensor, mean: Tensor, shares: Sequence[float]) -> None:  # x shape: (n_members, ...)
    """Move each member by a share of its way to the mean, in place."""
    if len({*shares}) == 1:
        x.lerp_(mean, shares[0])
    else:
        x.lerp_(mean.expand_as(x), x.new_tensor(shares).view(-1, *[1] * mean.dim()))
