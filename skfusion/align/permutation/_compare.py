"""The activations of two networks on data, compared unit by unit, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from skfusion._batches import counting, mapped, n_rows, without_single_rows
from skfusion.align.permutation._activation_sites import View, chosen, mean_similarity
from skfusion.align.permutation._evidence import Evidence
from skfusion.align.permutation._samples import Layout, layouts, sample_keys, samples_of
from skfusion.objective import Objective, call
from skfusion.state import State
from skfusion.symmetry import Site
from skfusion.tracing import as_parameters, reading


class Sides(NamedTuple):
    """How two networks are run that are of other widths than the objective's module: each by a module of its own."""

    reference: nn.Module
    state: nn.Module
    sites: dict[Site, Site]
    """The sites of the state, by those of the reference."""

    def of_state(self, view: View) -> View:
        """Return what shows the units of the state where a view shows those of the reference."""
        site = self.sites[view.site]
        place = next(k for k, block in enumerate(view.site.axes[view.axis]) if block is view.block)
        return view._replace(site=site, block=site.axes[view.axis][place])


def similarities(
    state: State,
    reference: State,
    views: Sequence[View],
    objective: Objective,
    measure: type[Evidence],
    where: str,
    n_batches: int | None,
    sides: Sides | None = None,
) -> dict[str, np.ndarray]:
    """Return the similarity of units over the data, by group; see :func:`mean_similarity`."""
    observed: list[Evidence] = []
    known: dict[Site, Layout] = {}
    for batch in without_single_rows(counting(islice(objective.batches(), n_batches))):
        sites = [*dict.fromkeys(view.site for view in views)]
        a = _activations(objective, reference, batch.x, sites, sides and sides.reference)
        own = sites if sides is None else [sides.sites[site] for site in sites]
        b = _activations(objective, state, batch.x, own, sides and sides.state)
        if not known and (measure.needs_keys or batch.weight is not None):  # then values must be assigned to samples
            x = mapped(batch.x, lambda t: t.roll(1, 0))
            rolled = _activations(objective, reference, x, sites, sides and sides.reference)
            known = layouts(a, rolled, n_rows(batch.x))
        there = a if batch.weight is None else {site: a[site] for site in known if site in a}
        if not observed:
            views = chosen(views, there, where)
            observed = [measure() for _ in views]
        keys = sample_keys(batch.x) if measure.needs_keys else None
        for view, evidence in zip(views, observed, strict=True):
            if view.site in there:
                of = samples_of(view, a[view.site], batch, known.get(view.site), keys)
                seen = view if sides is None else sides.of_state(view)
                evidence.add(view.cut(a[view.site]), seen.cut(b[seen.site]), *of)
    if not observed and views:
        raise ValueError(
            "The aligner has seen no batch: the objective has none with rows of positive weight, or n_batches is 0."
        )
    return mean_similarity(views, observed)


def _activations(
    objective: Objective, state: State, x: Any, sites: Sequence[Site], module: nn.Module | None
) -> dict[Site, Tensor]:
    activations: dict[Site, Tensor] = {}
    with reading(sites, activations.__setitem__):
        if module is None:
            objective.forward(as_parameters(state, objective.module), x)
        else:
            call(module, as_parameters(state, module), x)
    return activations
