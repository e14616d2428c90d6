"""The tensors that members of a stack have in common, by name."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn


class NotVectorizableError(ValueError):
    """A network cannot be computed for many members at once; the message says why, as half a sentence."""


def form_of(module: nn.Module) -> list[Any]:
    """Return names, shapes, dtypes and ties of a module's tensors, and which of them are trained.

    Parameters
    ----------
    module : nn.Module
        Any.

    Returns
    -------
    list
        Equal for members of one stack.

    Raises
    ------
    NotVectorizableError
        If a tensor cannot become a row of a matrix: it has no shape yet, a hook, or memory in common with another.
    """
    tensors: list[tuple[str, Tensor]] = [*module.named_parameters(), *module.named_buffers()]
    if any(nn.parameter.is_lazy(t) for _, t in tensors):
        raise NotVectorizableError("it has lazy layers that have seen no data")
    for name, t in tensors:  # such a hook belongs to the tensor, and gradients are taken of another one
        if t._backward_hooks or getattr(t, "_post_accumulate_grad_hooks", None):
            raise NotVectorizableError(f"a hook waits for the gradient of its parameter {name!r}")
    _check_apart(tensors)
    names = {id(t): name for name, t in tensors}
    places = [
        (f"{prefix}.{key}", None if t is None else names[id(t)])
        for prefix, part in module.named_modules(remove_duplicate=False)
        for key, t in (*part._parameters.items(), *part._buffers.items())
    ]
    return [[(name, tuple(t.shape), t.dtype, t.requires_grad) for name, t in tensors], places]


def _check_apart(tensors: list[tuple[str, Tensor]]) -> None:
    """Raise where two tensors have memory in common, which they would lose as rows of a matrix."""
    spans = []
    for name, t in tensors:
        if t.numel():
            n = 1 + sum((size - 1) * stride for size, stride in zip(t.shape, t.stride(), strict=True))
            spans.append((t.data_ptr(), t.data_ptr() + n * t.element_size(), name))
    for (_, end, name), (start, _, other) in pairwise(sorted(spans)):
        if start < end:
            raise NotVectorizableError(f"its tensors {name!r} and {other!r} share memory")
