"""A subspace as notebooks show it; no state is computed."""

from __future__ import annotations

from typing import Any

from skfusion._html import curves, facts, number, page, text
from skfusion.state import n_parameters

MOST_NETWORKS = 12


def subspace_html(subspace: Any) -> str:
    """Return what a subspace is made of, and the losses of its training, as HTML."""
    controls = subspace.controls
    networks = sorted({place % len(controls) for place in subspace.networks})  # some count from the end
    shown = ", ".join(map(str, networks[:MOST_NETWORKS]))
    if len(networks) > MOST_NETWORKS:
        shown += f" and {len(networks) - MOST_NETWORKS:,} more"
    known = {
        "control states": f"{len(controls):,}",
        "networks": f"{len(networks):,} as their own training left them{f', at {shown}' if networks else ''}",
        "points": text(repr(subspace.basis)),
        "numbers": f"{number(n_parameters(controls[0]))} in each state",
    }
    losses = [(epoch, float(loss)) for epoch, loss in enumerate(subspace.history)]
    drawn = curves({"loss": losses}, {"loss": "#2f74c0"}, len(losses))
    if losses and not drawn:
        known["loss"] = f"{number(losses[-1][1])} in the last of {len(losses):,} epochs"
    return page([f'<div class="head">{text(type(subspace).__name__)}</div>', facts(known), drawn])
