"""The activations of two networks on data, compared unit by unit, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor

from skfusion._batches import counting, mapped, n_rows, without_single_rows
from skfusion.align.permutation._activation_sites import View, chosen, mean_similarity
from skfusion.align.permutation._evidence import Evidence
from skfusion.align.permutation._samples import Layout, layouts, sample_keys, samples_of
from skfusion.objective import Objective
from skfusion.state import State
from skfusion.symmetry import Site
from skfusion.tracing import as_parameters, reading


def similarities(
    state: State,
    reference: State,
    views: Sequence[View],
    objective: Objective,
    measure: type[Evidence],
    where: str,
    n_batches: int | None,
) -> dict[str, np.ndarray]:
    """Return the similarity of units over the data, by group; see :func:`mean_similarity`."""
    observed: list[Evidence] = []
    known: dict[Site, Layout] = {}
    for batch in without_single_rows(counting(islice(objective.batches(), n_batches))):
        sites = [*dict.fromkeys(view.site for view in views)]
        a, b = (_activations(objective, s, batch.x, sites) for s in (reference, state))
        if not known and (measure.needs_keys or batch.weight is not None):  # then values must be assigned to samples
            rolled = _activations(objective, reference, mapped(batch.x, lambda t: t.roll(1, 0)), sites)
            known = layouts(a, rolled, n_rows(batch.x))
        there = a if batch.weight is None else {site: a[site] for site in known if site in a}
        if not observed:
            views = chosen(views, there, where)
            observed = [measure() for _ in views]
        keys = sample_keys(batch.x) if measure.needs_keys else None
        for view, evidence in zip(views, observed, strict=True):
            if view.site in there:
                of = samples_of(view, a[view.site], batch, known.get(view.site), keys)
                evidence.add(view.cut(a[view.site]), view.cut(b[view.site]), *of)
    if not observed and views:
        raise ValueError(
            "The aligner has seen no batch: the objective has none with rows of positive weight, or n_batches is 0."
        )
    return mean_similarity(views, observed)


def _activations(objective: Objective, state: State, x: Any, sites: Sequence[Site]) -> dict[Site, Tensor]:
    activations: dict[Site, Tensor] = {}
    with reading(sites, activations.__setitem__):
        objective.forward(as_parameters(state, objective.module), x)
    return activations
