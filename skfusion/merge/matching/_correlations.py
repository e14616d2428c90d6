"""How the units of several networks correlate on data, those of one network among each other included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import torch
from torch import Tensor

from skfusion._batches import n_rows, row_weights
from skfusion.merge.matching._networks import Networks
from skfusion.objective import Batch, Objective, call, evaluating
from skfusion.symmetry import Site, Symmetry
from skfusion.tracing import as_parameters, reading


def correlations(networks: Networks, objective: Objective) -> dict[str, np.ndarray]:
    """Return the correlations of all units of all members by group, those of the first member first.

    Units are observed where the next layers read them, and elsewhere only if that is nowhere; over several such places
    correlations are averaged. A unit that does not vary correlates with none.

    Parameters
    ----------
    networks : Networks
        K members.
    objective : Objective
        Inputs, without labels.

    Returns
    -------
    dict of ndarray of shape (n_units, n_units)
        Groups that are not observed are missing.
    """
    views = [observed(symmetry) for symmetry in networks.symmetries]
    moments = {(g, i): Moments() for g, sites in views[0].items() for i in range(len(sites))}
    modules = [networks.module_of_member(k) for k in range(len(networks.states))]
    n = 0
    with ExitStack() as modes, torch.no_grad():
        for module in modules:
            modes.enter_context(evaluating(module))
        for batch in objective.batches():
            n += n_rows(batch.x)
            parts: dict[tuple[str, int], list[Tensor]] = {}
            weights: dict[tuple[str, int], Tensor] = {}
            for module, state, of_group in zip(modules, networks.states, views, strict=True):
                for key, units, weight in _run(module, state, of_group, batch):
                    parts.setdefault(key, []).append(units)
                    weights[key] = weight
            for key, of_members in parts.items():
                moments[key].add(torch.cat(of_members, 1), weights[key])
    if n < 2:
        raise ValueError(f"Units are compared by how they vary over rows, of which there are {n}: give more.")
    found: dict[str, list[np.ndarray]] = {}
    for (group, _), of_site in moments.items():
        if of_site.n:
            found.setdefault(group, []).append(of_site.correlation())
    return {group: np.mean(matrices, 0) for group, matrices in found.items()}


def observed(symmetry: Symmetry) -> dict[str, list[tuple[Site, int]]]:
    """Return the activations that show the units of one group alone, with the axis that they are on, by group."""
    sides: dict[str, tuple[list[tuple[Site, int]], list[tuple[Site, int]]]] = {}
    for site in symmetry.sites:
        on = [(axis, b.groups) for axis, blocks in enumerate(site.axes) for b in blocks]
        if len(on) == 1 and len(on[0][1]) == 1 and on[0][0] > 0:
            axis, (group,) = on[0]
            sides.setdefault(group, ([], []))[site.argument is None].append((site, axis))
    return {group: read or made for group, (read, made) in sides.items()}


def _run(
    module: torch.nn.Module, state: dict[str, Tensor], views: dict[str, list[tuple[Site, int]]], batch: Batch
) -> Iterator[tuple[tuple[str, int], Tensor, Tensor]]:
    """Yield the units of one member at each place, as columns, and the weights of the rows, for a batch."""
    places = {id(site): (group, i, axis) for group, sites in views.items() for i, (site, axis) in enumerate(sites)}
    seen: list[tuple[tuple[str, int], Tensor, Tensor]] = []

    def take(site: Site, activation: Tensor) -> None:
        group, i, axis = places[id(site)]
        (block,) = site.axes[axis]
        positions = torch.from_numpy(np.ascontiguousarray(block.positions)).to(activation.device)
        units = activation.movedim(axis, -1)[..., positions].flatten(1, -2)  # shape: (n_rows, n_values, n_units)
        weight = row_weights(batch.weight, activation, site.where).repeat_interleave(units.shape[1])
        seen.append(((group, i), units.flatten(0, 1).double(), weight))

    with reading([site for sites in views.values() for site, _ in sites], take):
        call(module, as_parameters(state, module), batch.x)
    yield from seen


class Moments:
    """Weight, means and products of deviations of columns, merged from those of each batch (Chan et al., 1979)."""

    mean: Tensor
    products: Tensor

    def __init__(self) -> None:
        self.n = 0.0

    def add(self, columns: Tensor, weight: Tensor) -> None:  # columns shape: (n_values, n_units)
        n = float(weight.sum())
        if not n:
            return
        mean = (weight @ columns) / n
        gaps = columns - mean
        products = gaps.mT @ (weight[:, None] * gaps)
        if not self.n:
            self.n, self.mean, self.products = n, mean, products
            return
        moved, total = mean - self.mean, self.n + n
        self.products = self.products + products + (self.n * n / total) * torch.outer(moved, moved)
        self.mean, self.n = self.mean + moved * (n / total), total

    def correlation(self) -> np.ndarray:
        """Return the correlations of all pairs of columns; zero for those that do not vary."""
        spread = (self.products.diagonal() / self.n).clamp_min(0).sqrt()
        dead = spread <= 1e-6 * self.mean.abs()
        inverse = torch.where(dead, 0.0, 1 / spread)
        out: np.ndarray = (self.products / self.n * torch.outer(inverse, inverse)).cpu().numpy()
        return out
