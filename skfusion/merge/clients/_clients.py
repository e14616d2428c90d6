"""The states of many clients, whose units are matched to common atoms group by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skfusion.merge._base import Merger, shares
from skfusion.merge.clients._beta_bernoulli import Prior, matched
from skfusion.merge.clients._layout import Layout, layout_of
from skfusion.objective import Objective
from skfusion.state import Fused, State, check_compatible, check_finite, map_tensors, owners, weighted_sum
from skfusion.widths import resized_as


class Clients:
    """The states of clients, in float64 where they are floating-point, with what is known of the rows of each.

    Parameters
    ----------
    merger : Merger
        For messages.
    states : sequence of State
        Of one architecture, in widths that may differ.
    objective : Objective or None
        With the module, and inputs to read its layout with.
    metas : sequence of mapping
        What is known of each client: ``n_rows``, what its rows count for in all, and ``class_counts``, that of the rows
        of each class. Empty where nothing is.
    """

    def __init__(
        self, merger: Merger, states: Sequence[State], objective: Objective | None, metas: Sequence[Mapping[str, Any]]
    ):
        if objective is None or not states:
            check_compatible(states)
            raise ValueError(f"{merger!r} reads which units there are from the module: give objective=.")
        self.module, self.x = objective.module, _few(next(iter(objective.batches())).x)
        self.layout: Layout = layout_of(self.module, self.x, merger)
        self.masks = _masks([*states[0]])
        self.given, self.states = states, [self._folded(map_tensors(_wide, state)) for state in states]
        self.atoms: dict[str, list[np.ndarray]] = {}
        self.widths: dict[str, int] = {}
        self.known: set[str] = set()  # groups whose units can be told apart in all clients
        if len(metas) not in (0, len(states)):
            raise ValueError(f"{merger!r} knows of {len(metas)} members, and was given {len(states)}.")
        self.shares = np.array(shares(str(merger), [m.get("n_rows", 1.0) for m in metas] or None, len(states)))
        counted = [m["class_counts"] for m in metas if m.get("class_counts") is not None]
        self.by_class = np.array(counted, np.float64) if counted and len(counted) == len(states) else None
        self._check()

    def _check(self) -> None:
        """Raise where states differ in more than the widths of groups."""
        fits = all(state.keys() == self.given[0].keys() for state in self.given)
        for k, state in enumerate(self.given if fits else []):
            check_finite(state, str(k))
            sizes: dict[str, set[float]] = {}
            for name, tensor in state.items():
                axes = self.layout.axes.get(name, {})
                for axis, units in axes.items():
                    sizes.setdefault(units.group, set()).add(tensor.shape[axis] / units.n_copies)
                rest = [e for e in range(tensor.dim()) if e not in axes]
                first = self.given[0][name]
                fits &= tensor.dim() == first.dim() and all(tensor.shape[e] == first.shape[e] for e in rest)
            fits &= all(len(size) == 1 for size in sizes.values())
        if not fits:
            check_compatible(self.given)

    def match(self, group: str, prior: Prior, n_sweeps: int, rng: np.random.Generator, reading: bool) -> None:
        """Match the units of a group, by what computes them and, where ``reading``, by the weights that read them."""
        names = [*self.layout.written(group), *(self.layout.read(group) if reading else [])]
        units = [np.hstack(self._rows(group, k, names)) for k in range(len(self.states))]
        self.atoms[group], self.widths[group] = matched(units, prior, n_sweeps, rng)
        self.known.add(group)

    def _rows(self, group: str, k: int, names: Sequence[str]) -> list[np.ndarray]:
        """Return the numbers of the units of a client; weights whose other units are not settled are left out."""
        rows = []
        for name in names:
            axes = self.layout.axes[name]
            unsettled = [u.group for u in axes.values() if u.group != group and u.group not in self.known]
            if name in self.layout.parameters and not unsettled:
                axis = next(axis for axis, units in axes.items() if units.group == group)
                rows.append(axes[axis].rows(self.spread(name, k), axis))
        return rows

    def settle(self, group: str) -> None:
        """Let all clients go on with the mean units of a matched group, each at its place."""
        means = {name: _wide(self.mean(name, 0)) for name in self.layout.written(group)}
        read = self.layout.read(group)
        means |= {name: self.mean(name, None) for name in read if name in self.masks}  # so that new weights can learn
        self.states = [
            {**state, **{name: self.spread(name, k) for name in read}, **means} for k, state in enumerate(self.states)
        ]
        del self.atoms[group], self.widths[group]

    def now(self) -> list[State]:
        """Return the states as they are, in the dtypes that they had."""
        return [map_tensors(lambda own, new: new.to(own), self.given[0], state) for state in self._tied()]

    def _tied(self) -> list[State]:
        owner = owners(self.given)
        return [{name: state[owner[name]] for name in self.given[0]} for state in self.states]

    def replace(self, states: Sequence[State]) -> None:
        """Go on with other states of the clients."""
        self.states = [self._folded(map_tensors(_wide, state)) for state in states]

    def _folded(self, state: State) -> State:
        """Return a state with pruned weights at zero, where the means of others leave them if all have pruned them."""
        return {**state, **{orig: state[orig] * state[mask] for mask, orig in self.masks.items()}}

    def spread(self, name: str, k: int) -> Tensor:
        """Return a tensor of a client with its units at the places of their atoms."""
        atoms = {group: of_clients[k] for group, of_clients in self.atoms.items()}
        return self.layout.spread(name, self.states[k][name], atoms, self.widths)

    def mean(self, name: str, axis: int | None, prior: Prior | None = None) -> Tensor:
        """Return the mean of a tensor over the clients that have a unit at each place of an axis, in its dtype.

        Without an axis it is the mean over all clients: by class, where it is of the last layer and the classes of
        their rows are known, and otherwise by their rows. A prior shrinks the mean of a parameter to that of the
        posterior. A mask has all weights that are not pruned in all clients.
        """
        given = self.given[0][name]
        if name in self.masks:
            return torch.stack([self.spread(name, k) != 0 for k in range(len(self.states))]).any(0).to(given)
        if not given.is_floating_point():
            return weighted_sum([{name: state[name]} for state in self.states], self.shares.tolist())[name].to(given)
        tensors = torch.stack([self.spread(name, k) for k in range(len(self.states))])
        if axis is None:
            counts = np.array(float(len(tensors)))
            mean = (tensors * self._shares_of(name, tensors)).sum(0)
        else:
            units = self.layout.axes[name][axis]
            clients = np.bincount(np.concatenate(self.atoms[units.group]), minlength=self.widths[units.group])
            counts = (np.repeat if units.unit_first else np.tile)(clients, units.n_copies)
            counts = counts.reshape([-1 if e == axis else 1 for e in range(tensors.dim() - 1)])
            mean = tensors.sum(0) / torch.from_numpy(counts)
        if prior is not None and name in self.layout.parameters:
            mean = mean * torch.from_numpy(np.asarray(prior.shrinkage(counts)))
        return mean.to(given)

    def _shares_of(self, name: str, tensors: Tensor) -> Tensor:
        """Return the share of each client in a mean, by class where the first axis has the classes."""
        shares = self.shares
        has_classes = name in self.layout.parameters and tensors.dim() > 1 and self.layout.makes_outputs(name)
        if has_classes and self.by_class is not None and tensors.shape[1] == self.by_class.shape[1]:
            total = self.by_class.sum(0)
            shares = np.where(total > 0, self.by_class / np.where(total > 0, total, 1), shares[:, None])
        return torch.from_numpy(shares.reshape(*shares.shape, *[1] * (tensors.dim() - shares.ndim)))

    def fused(self, merged: Mapping[str, Tensor]) -> State | Fused:
        """Return what stands for all clients: a state, with a module of its widths where they are others."""
        state = {name: merged[owner] for name, owner in owners(self.given).items()}
        own = self.module.state_dict()
        if all(own[name].shape == tensor.shape for name, tensor in state.items() if name in own):
            return state
        return Fused(state, resized_as(self.module, state, self.x))


def _masks(names: Sequence[str]) -> dict[str, str]:
    """Return the name of the weights that each mask prunes, as ``torch.nn.utils.prune`` calls them."""
    origs = {name: name.removesuffix("_mask") + "_orig" for name in names if name.endswith("_mask")}
    return {mask: orig for mask, orig in origs.items() if orig in names}


def _wide(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float64) if tensor.is_floating_point() else tensor.detach()


def _few(x: Any) -> Any:
    return {k: v[:2] for k, v in x.items()} if isinstance(x, dict) else x[:2]
