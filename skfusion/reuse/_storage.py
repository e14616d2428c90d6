"""Offers in a folder: a pool of members, and a pool of specifications beside it, in the formats of pools."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skfusion.pool import Member, ModelPool
from skfusion.reuse._offer import Offer
from skfusion.reuse._specification import Specification

_MODELS, _SPECIFICATIONS = "models", "specifications"

_UNFINISHED = "of models that were not saved to the end"
"""A name that no model has."""


def write_offers(offers: tuple[Offer, ...], path: Path) -> None:
    """Write members and specifications; each of the two pools is replaced at once.

    In between, the specifications are those of no model, so that those of before are not read with the new models.
    """
    if not offers:
        raise ValueError("The pool is empty: there is nothing to save.")
    specifications = [_as_member(offer) for offer in offers]
    if (path / _SPECIFICATIONS).exists():
        ModelPool([specifications[0].replace(name=_UNFINISHED)]).save(path / _SPECIFICATIONS)
    ModelPool([offer.member for offer in offers]).save(path / _MODELS)
    ModelPool(specifications).save(path / _SPECIFICATIONS)


def read_offers(path: Path, net: Any, transform: Any, trusted: Collection[Any] = ()) -> list[Offer]:
    """Return what was written; ``trusted`` are types of estimators that may be built."""
    members = ModelPool.load(path / _MODELS, **({"trusted": trusted} if trusted else {}))
    specifications = ModelPool.load(path / _SPECIFICATIONS)
    if members.names != specifications.names:
        raise ValueError(
            f"The models and specifications in {path} do not go together, as where saving stopped between them: "
            f"{members.names} and {specifications.names}. Save the pool again."
        )
    networks = [m.name for m in members if m.is_network]
    nets = net if isinstance(net, Mapping) else dict.fromkeys(networks, net)
    if unknown := sorted({*nets} - {*networks}):
        raise ValueError(f"net names {unknown}, which are no networks of the pool: {networks}.")
    offers = []
    for member, kept in zip(members, specifications, strict=True):
        specification, labels = _as_specification(kept, transform)
        offers.append(Offer(member.replace(net=nets.get(member.name)), specification, labels))
    return offers


def _as_member(offer: Offer) -> Member:
    """Return a specification as a member: its points and weights are tensors, and the rest is what else is known."""
    spec = offer.specification
    state = {name: torch.from_numpy(np.ascontiguousarray(getattr(spec, f"{name}_"))) for name in ("points", "weights")}
    known = {name: float(getattr(spec, f"{name}_")) for name in ("gamma", "error", "noise")}
    about = {**known, "n_rows": int(spec.n_rows_), "transform": spec.transform_name_}
    return Member(offer.name, state, meta={**about, "labels": None if offer.labels is None else [*offer.labels]})


def _as_specification(kept: Member, transform: Any) -> tuple[Specification, tuple[Any, ...] | None]:
    about = kept.meta
    if about["transform"] is None and transform is not None:
        raise ValueError(f"The specification of {kept.name!r} was made without a transform: leave transform= out.")
    spec = Specification(len(kept.state["points"]), about["gamma"], transform=transform)
    spec.points_, spec.weights_ = (kept.state[name].double().numpy() for name in ("points", "weights"))
    spec.gamma_, spec.error_, spec.noise_, spec.n_rows_ = (about[k] for k in ("gamma", "error", "noise", "n_rows"))
    spec.n_features_in_, spec.transform_name_, spec.history_ = spec.points_.shape[1], about["transform"], []
    return spec, None if about["labels"] is None else tuple(about["labels"])
