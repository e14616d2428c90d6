"""Soup with a weight for each member and layer, tuned by Optuna (Wortsman et al., 2022; Yang et al., 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skfusion.merge import Merge, check_states, layer_of
from skfusion.objective import Objective
from skfusion.state import State, owners, weighted_sum
from skfusion.tuning._soup_weights import TunedWeights, best_weights


@dataclass(eq=False, repr=False)
class LayerwiseSoupWeights(TunedWeights):
    r"""Average each layer with the weights of the best held-out score that Optuna finds.

    .. math:: \theta^{(l)} = \sum_k w_{lk} \theta_k^{(l)}, \qquad w_l = \operatorname{softmax}(z_l), \qquad
        z_l \in [-b, b]^K

    A layer l is what the names of its tensors have in common before their last dot: ``0.weight`` and ``0.bias`` have
    the weights of layer ``0``. Otherwise this is :class:`SoupWeights`, with the same starts in all layers.

    Parameters
    ----------
    n_trials : int, default=500
        Weights that the sampler proposes; a network of L layers wants more than :class:`SoupWeights` does.
    sampler : sampler of Optuna, or callable, optional
        This and the others are as in :class:`SoupWeights`.
    bound : float, default=4.0
        Largest absolute argument b of the softmax.
    random_state : int, default=0
        Seed of the sampler.

    Notes
    -----
    Cost, guarantee and reports are those of :class:`SoupWeights`, in a space of K L numbers and with ``weights`` by the
    name of the layer. Tensors that are tied are one tensor, of the layer that has it first.

    References
    ----------
    Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time", ICML 2022, arXiv:2203.05482 (appendix I, learned soups by layer). Yang et al.,
    "AdaMerging: adaptive model merging for multi-task learning", ICLR 2024, arXiv:2310.02575 (layer-wise
    coefficients). Akiba et al., "Optuna: a next-generation hyperparameter optimization framework", KDD 2019,
    doi:10.1145/3292500.3330701.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.objective import ModuleObjective
    >>> from skfusion.tuning import LayerwiseSoupWeights
    >>> states = [{f"{i}.weight": torch.tensor([v + i]) for i in (0, 1)} for v in (0.0, 4.0)]
    >>> def distance(state):  # from 1 in the first layer and 4 in the second
    ...     return (state["0.weight"].item() - 1) ** 2 + (state["1.weight"].item() - 4) ** 2
    >>> aim = ModuleObjective(nn.Identity(), lambda: [], distance, lambda state: -distance(state))
    >>> soup = LayerwiseSoupWeights(n_trials=200)(states, objective=aim)
    >>> [round(t.item()) for t in soup.values()]
    [1, 4]
    """

    n_trials: int = 500

    def __call__(self, states: Sequence[State], base: State | None = None, objective: Objective | None = None) -> State:
        """Return the layers' sums with the best weights; see :meth:`Merger.__call__`."""
        check_states(self, states, base)
        layers = layers_of(states)

        def soup(weights: np.ndarray) -> State:
            return layerwise_sum(states, dict(zip(layers, weights, strict=True)), layers)

        weights = best_weights(self, states, objective, soup, len(layers))
        objective.report("weights", dict(zip(layers, weights.tolist(), strict=True)))
        return soup(weights)

    def repeated(self, reported: Mapping[str, Any]) -> Merge:
        """Return the layers' sums with the weights that were chosen; see :meth:`Merger.repeated`."""

        def merge(states: Sequence[State], base: State | None = None, objective: Objective | None = None) -> State:
            return layerwise_sum(states, reported["weights"], layers_of(states))

        return merge


def layers_of(states: Sequence[State]) -> dict[str, list[str]]:
    """Map each layer to the names of its tensors; tied tensors are of the layer that has them first."""
    layers: dict[str, list[str]] = {}
    for key, first in owners(states).items():
        layers.setdefault(layer_of(first), []).append(key)
    return layers


def layerwise_sum(
    states: Sequence[State], weights: Mapping[str, Sequence[float]], layers: Mapping[str, Sequence[str]]
) -> State:
    """Return the state whose tensors are sums with the weights of their layers."""
    parts = {}
    for layer, keys in layers.items():
        parts |= weighted_sum([{key: s[key] for key in keys} for s in states], weights[layer])
    return {key: parts[key] for key in states[0]}
