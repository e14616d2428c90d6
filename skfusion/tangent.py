r"""Networks that are linear in their weights (Ortiz-Jimenez et al., 2023).

.. math:: f_\mathrm{lin}(x; \theta) = f(x; \theta_0) + J_\theta f(x; \theta_0)\,(\theta - \theta_0)
"""

from __future__ import annotations

import copy
import warnings
from functools import cache
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from skfusion.objective import first_output
from skfusion.state import State, check_compatible
from skfusion.tracing import plain_kernels


class Linearised(nn.Module):
    r"""A network's first-order Taylor expansion in its weights.

    Its state holds the weights :math:`\theta` as ``net.*`` and the point of expansion :math:`\theta_0` as ``start.*``,
    so that members merge as those of any network do, and their outputs with them: the outputs of a weighted sum are the
    weighted sum of outputs.

    Parameters
    ----------
    module : nn.Module
        The network at the point of expansion. It is copied, and always runs in evaluation mode.

    Notes
    -----
    A forward pass costs two of the network, by forward-mode differentiation. Buffers are those of the start. All
    operations must have a forward derivative; attention and recurrent layers run with plain kernels, as the fused
    ones have none.

    References
    ----------
    Ortiz-Jimenez, Favero and Frossard, "Task arithmetic in the tangent space: improved editing of pre-trained
    models", NeurIPS 2023, arXiv:2305.12827.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.tangent import Linearised
    >>> class Cube(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.w = nn.Parameter(torch.tensor([1.0]))
    ...
    ...     def forward(self, x):
    ...         return x * self.w**3
    >>> line = Linearised(Cube())
    >>> _ = line.load_state_dict({"net.w": torch.tensor([1.5]), "start.w": torch.tensor([1.0])})
    >>> line(torch.tensor([[2.0]])).item()  # 2 + 2 * 3 * 0.5
    5.0
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.net = copy.deepcopy(module)
        self.start = copy.deepcopy(module).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Set the mode of this module; the network inside stays in evaluation mode.

        Parameters
        ----------
        mode : bool, default=True
            Training or evaluation.

        Returns
        -------
        Linearised
            This module.
        """
        super().train(mode)
        self.start.eval()
        self.net.eval()
        return self

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the expansion's output, of the shape of the network's.

        Parameters
        ----------
        *args, **kwargs : Tensor
            The arguments of the network.

        Returns
        -------
        Tensor
            The output at the start, plus its change to first order.
        """
        start = dict(self.start.named_parameters())
        change = {name: p - start[name] for name, p in self.net.named_parameters()}

        def output(parameters: State) -> Tensor:
            return first_output(functional_call(self.start, parameters, args, kwargs))

        _load_rules()
        with torch.inference_mode(False), plain_kernels(), sdpa_kernel(SDPBackend.MATH):
            value, slope = jvp(output, (start,), (change,))[:2]
        total: Tensor = value + slope
        return total


@cache
def _load_rules() -> None:
    """Make torch load its rules of forward differentiation, without the deprecation warnings that its code causes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))


def linearised(state: State, base: State) -> State:
    """Return the state of a :class:`Linearised` network for weights that were trained in the usual way.

    Parameters
    ----------
    state : State
        The weights.
    base : State
        The point of expansion, usually the common start of fine-tunes.

    Returns
    -------
    State
        A state for ``Linearised(module)``.

    Examples
    --------
    >>> import torch
    >>> from skfusion.tangent import linearised
    >>> sorted(linearised({"w": torch.ones(1)}, {"w": torch.zeros(1)}))
    ['net.w', 'start.w']
    """
    check_compatible([state, base], ["the weights", "the base"])
    return {f"net.{name}": t for name, t in state.items()} | {f"start.{name}": t for name, t in base.items()}
