"""What the units of an axis are there: made, read, or scaled one by one; permutations need not know, other maps do.

A permutation acts in the same way on every axis of its group. Another linear map does not: if the units that a layer
makes are mixed by T, those that read them must undo it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

OUT, IN, SCALE, BOTH = "out", "in", "scale", "both"
ROLES = (OUT, IN, SCALE, BOTH)


def conventional(name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return the roles of the axes of a tensor by its name and shape, where nothing more is known.

    The first axis of a matrix or a kernel makes units, and the second one reads them; a vector called weight, or a
    running variance, scales them, and other vectors are made of them.
    """
    if len(shape) == 1:
        return (SCALE,) if name.rpartition(".")[2] in ("weight", "running_var") else (OUT,)
    return tuple(IN if axis == 1 else OUT for axis in range(len(shape)))


def completed(
    roles: Mapping[str, Sequence[str | None]] | None, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return the role of each axis of each tensor: as it is given, or else by convention."""
    roles = roles or {}
    if unknown := [name for name in roles if name not in shapes]:
        raise ValueError(f"roles names the tensor {unknown[0]!r}, which the symmetry does not have.")
    out = {}
    for name, shape in shapes.items():
        given = roles.get(name, (None,) * len(shape))
        if isinstance(given, str) or len(given) != len(shape) or any(r not in (None, *ROLES) for r in given):
            raise ValueError(
                f"roles gives {given!r} for tensor {name!r} of shape {shape}: give one of {ROLES} for each axis, or "
                "None where the convention holds."
            )
        out[name] = tuple(r or usual for r, usual in zip(given, conventional(name, shape), strict=True))
    return out
