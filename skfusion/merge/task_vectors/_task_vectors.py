"""Task vectors: what fine-tuning has changed (Ilharco et al., 2023)."""

from __future__ import annotations

from torch import Tensor

from skfusion.merge._tensorwise import Entry


def base_of(entry: Entry) -> Tensor:
    """Return the tensor of the base, or raise ``ValueError`` where there is none."""
    if entry.base is None:
        raise ValueError(f"Tensor {entry.name!r} has no base, so what the members have changed is unknown; give one.")
    return entry.base


def task_vectors(entry: Entry) -> list[Tensor]:
    """Return the difference of each member from the base."""
    base = base_of(entry)
    return [tensor - base for tensor in entry.tensors]
