"""Models as they are offered: made members of, with the labels that they have, which must be of one kind."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from skfusion.pool import Member, ModelPool
from skfusion.reuse._offer import Offer, labels_of


def check_labels(offers: Iterable[Offer]) -> None:
    """Raise ``ValueError`` where some models name their classes by text, and others by numbers."""
    text = {offer.name: {isinstance(label, str) for label in offer.labels} for offer in offers if offer.labels}
    if len(set().union(*text.values())) > 1:
        name = next(name for name, own in text.items() if True in own)
        raise ValueError(
            f"Labels are text in {name!r}, and numbers elsewhere, so that they cannot be the classes of one task. Give "
            "all models the users' labels, by labels=."
        )


def offers_of(pool: ModelPool, specifications: Any, labels: Mapping[str, Any]) -> list[Offer]:
    """Return the offers of a pool of members."""
    if specifications is None or len(specifications) != len(pool):
        n = "none" if specifications is None else len(specifications)
        raise ValueError(f"A pool of {len(pool)} members needs a specification for each; got {n}.")
    if isinstance(specifications, Mapping):
        if missing := [name for name in pool.names if name not in specifications]:
            raise ValueError(f"There is no specification of {missing}.")
        specifications = [specifications[name] for name in pool.names]
    if unknown := [name for name in labels if name not in pool.names]:
        raise ValueError(f"labels names {unknown}, which are no members of the pool: {pool.names}.")
    offers = []
    for member, specification in zip(pool, specifications, strict=True):
        own = pool.classes if member.is_network else getattr(member.estimator, "classes_", pool.classes)
        offers.append(Offer(member, specification, labels_of(own, labels.get(member.name), member.name)))
    return offers


def member_of(model: Any, name: str) -> tuple[Member, Any]:
    """Return a member and the labels that the model has itself."""
    if isinstance(model, Member):
        own = None if model.is_network else getattr(model.estimator, "classes_", None)
        return (model if model.name == name else model.replace(name=name)), own
    if hasattr(model, "module_"):
        pool = ModelPool.from_estimators([(name, model)])
        return pool[0], pool.classes
    if isinstance(model, type) or not hasattr(model, "predict"):
        raise TypeError(f"A model is a Member, a fitted skorch net or a fitted estimator with predict; got {model!r}.")
    return Member(name, estimator=copy.deepcopy(model)), getattr(model, "classes_", None)  # it may be fitted again
