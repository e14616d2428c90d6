"""Curves of networks that withstand attacks: robust mode connectivity (Wang et al., 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from skfusion.connect._base import Connector, Path
from skfusion.connect._bezier import Bezier
from skfusion.connect._trained import TrainedConnector
from skfusion.connect.robust._attack import Attack
from skfusion.objective import Objective
from skfusion.state import State


class RobustPath(Connector):
    r"""Join two networks by a curve that is trained against attacks all along (robust mode connectivity, RMC).

    .. math:: \min_{\theta_1 \dots \theta_{n-1}} \; \mathbb{E}_{t \sim U(0, 1)} \left[ \max_{p} \;
        \max_{\lVert x' - x \rVert_p \le \varepsilon_p} L(\theta(t); x', y) \right]

    The rows of a step are attacked at the very point of the curve that is trained on them. Between two networks that
    withstand attacks of different norms, points of the curve may withstand all of them.

    Parameters
    ----------
    attack : Attack
        The balls in which rows are changed. Without a radius, this is the curve itself.
    curve : TrainedConnector, optional
        The curve, and how it is trained; ``Bezier()`` when omitted.

    Notes
    -----
    Costs the training of the curve, each of whose steps takes an attack besides. Which point to use is seen by
    :func:`skfusion.landscape.robustness_at`; it may be an end of further paths. The ends of the paper are trained by
    :class:`AdversarialTraining`, each under a norm of its own: under l_inf and l1 alone (ERMC), or the second one by a
    short fine-tuning of the first under another norm (SRMC). On CIFAR-10 it takes ``Bezier(n_epochs=50, lr=0.03)`` and
    ``Attack(l_inf=8 / 255, l2=1, l1=12)``, in code a radius of 2 / 255 along the curve.

    References
    ----------
    Wang et al., "Robust mode connectivity-oriented adversarial defense: enhancing neural network robustness against
    diversified lp attacks", 2023, arXiv:2303.10225.

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import Attack, Bezier, RobustPath
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> net, x = torch.nn.Linear(1, 1, bias=False), torch.tensor([[-1.0], [1.0]])
    >>> data = ModuleObjective(
    ...     net, lambda: [Batch(x, x)] * 9, criterion=lambda out, batch: (out - batch.y).square().mean()
    ... )
    >>> ends = [{"weight": torch.tensor([[w]])} for w in (0.0, 2.0)]
    >>> attack = Attack(l_inf=1.5, bounds=(-3, 3))
    >>> robust, plain = (RobustPath(a, Bezier(n_epochs=20))(ends, data) for a in (attack, Attack()))
    >>> bool(robust.controls[1]["weight"] < plain.controls[1]["weight"])
    True
    """

    def __init__(self, attack: Attack, curve: TrainedConnector | None = None):
        self.attack = attack
        self.curve = curve

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"attack": Attack(l_inf=0.02, l2=0.02, n_steps=1), "curve": Bezier(n_epochs=15)}
        yield {"attack": Attack(), "curve": Bezier(n_bends=2, n_epochs=20)}

    def check(self) -> None:
        """Raise an error where a setting makes no sense; see :meth:`Connector.check`."""
        if not isinstance(self.attack, Attack):
            raise TypeError(f"attack must be an Attack, such as Attack(l_inf=8 / 255); got {self.attack!r}.")
        if self.curve is not None and not isinstance(self.curve, TrainedConnector):
            raise TypeError(f"curve must be one that is trained, such as Bezier(); got {self.curve!r}.")
        self.attack.check()
        self._curve.check()

    @property
    def _curve(self) -> TrainedConnector:
        return Bezier() if self.curve is None else self.curve

    def __call__(self, states: Sequence[State], objective: Objective | None = None) -> Path:
        """Return the trained curve; see :meth:`Connector.__call__`."""
        self.check()
        return self._curve.trained(states, objective, self.attack)
