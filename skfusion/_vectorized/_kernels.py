"""Kernels for many members, of torch functions that are slow under ``vmap`` or draw random numbers.

Each kernel computes what ``vmap`` of its function computes; the member axis is the first axis of ``Members.value``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from skfusion._vectorized._encoding import Encodings
from skfusion._vectorized._layers import layer_of_many
from skfusion._vectorized._members import Members, kernel_of
from skfusion._vectorized._subspace import Combinations

_GENERATORS: ContextVar[Sequence[torch.Generator]] = ContextVar("generators", default=())


@contextmanager
def drawing(generators: Sequence[torch.Generator]) -> Iterator[None]:
    """Let each member draw its dropout masks from its own generator."""
    token = _GENERATORS.set(generators)
    try:
        yield
    finally:
        _GENERATORS.reset(token)


def generators_of(x: Members) -> Sequence[torch.Generator]:
    """Return the generators that members draw their masks from; raise where there are none."""
    generators = _GENERATORS.get()
    if len(generators) != len(x.value):
        raise NotImplementedError("Dropout of many members has no random generators.")
    return generators


@kernel_of(F.linear)
def _linear(func: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    """One batched matrix product, with the bias added by the same kernel."""
    if isinstance(x, Encodings) and isinstance(weight, Members) and bias is None:
        return x.applied_to(weight.value)
    if isinstance(weight, Combinations) and isinstance(bias, Combinations | None) and not isinstance(x, Members):
        return weight.applied_to(x, bias)
    if not (isinstance(weight, Members) and isinstance(bias, Members | None)):
        return NotImplemented
    n = len(weight.value)
    rows = x.value if isinstance(x, Members) else x.expand(n, *x.shape)
    lead = rows.shape[1:-1]
    if len(lead) != 1:
        rows = rows.flatten(1, -2) if lead else rows.unsqueeze(1)
    out = layer_of_many(rows, weight.value, None if bias is None else bias.value)
    if len(lead) == 1:
        return out
    return (out.value if isinstance(out, Members) else out).reshape(n, *lead, out.shape[-1])


@kernel_of(
    *(F.relu, F.leaky_relu, F.elu, F.selu, F.gelu, F.silu, F.mish, F.softplus, F.tanh, F.sigmoid, F.hardtanh, F.relu6),
    *(torch.relu, torch.relu_, torch.tanh, torch.sigmoid, torch.exp, torch.log, torch.sqrt, torch.square, torch.abs),
    *(Tensor.relu, Tensor.relu_, Tensor.tanh, Tensor.sigmoid, Tensor.exp, Tensor.log, Tensor.sqrt, Tensor.square),
    *(Tensor.abs, Tensor.neg, Tensor.__neg__, Tensor.float, Tensor.double, Tensor.detach, Tensor.contiguous, Tensor.to),
    Tensor.long,
)
def _of_each_number(func: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Functions of single numbers do not see the member axis."""
    if not isinstance(x, Members) or any(isinstance(a, Tensor) for a in (*args, *kwargs.values())):
        return NotImplemented
    return func(x.value, *args, **kwargs)


@kernel_of(torch.pow, Tensor.pow, Tensor.__pow__, torch.clamp, Tensor.clamp, torch.clip, Tensor.clip)
def _with_constants(func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """As in ``_of_each_number``, with an exponent or bounds that are no tensors."""
    return _of_each_number(func, x, *args, **kwargs)


@kernel_of(
    *(torch.add, torch.sub, torch.mul, torch.div),
    *(Tensor.add, Tensor.sub, Tensor.mul, Tensor.div),
    *(Tensor.__add__, Tensor.__radd__, Tensor.__sub__, Tensor.__rsub__, Tensor.__mul__, Tensor.__rmul__),
    *(Tensor.__truediv__, Tensor.__rtruediv__),
)
def _of_two_numbers(func: Any, a: Any, b: Any, **kwargs: Any) -> Any:
    """Shapes broadcast from the right, so the member axis needs as many axes behind it as the result has."""
    tensors = [t for t in (a, b) if isinstance(t, Tensor)]
    n_axes = max(t.dim() for t in tensors)
    if len(tensors) == 2 and a.dtype != b.dtype and not (a.dim() and b.dim()):
        return NotImplemented  # torch promotes the dtype of a tensor without axes only beside another such tensor
    return func(_widened(a, n_axes), _widened(b, n_axes), **kwargs)


@kernel_of(
    *(Tensor.__eq__, Tensor.__ne__, Tensor.__lt__, Tensor.__le__, Tensor.__gt__, Tensor.__ge__),
    *(torch.eq, torch.ne, torch.lt, torch.le, torch.gt, torch.ge),
    *(Tensor.eq, Tensor.ne, Tensor.lt, Tensor.le, Tensor.gt, Tensor.ge, Tensor.__and__, Tensor.__or__),
)
def _compared(func: Any, a: Any, b: Any) -> Any:
    """As in ``_of_two_numbers``; the results are true or false."""
    return _of_two_numbers(func, a, b)


def _widened(x: Any, n_axes: int) -> Any:
    if not isinstance(x, Members):
        return x
    missing = n_axes - x.dim()
    return x.value if missing == 0 else x.value.reshape(len(x.value), *[1] * missing, *x.shape)


@kernel_of(torch.flatten, Tensor.flatten)
def _flatten(func: Any, x: Members, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Axes count from the one behind the member axis."""
    if x.dim() == 0:
        return NotImplemented
    return x.value.flatten(start_dim + 1 if start_dim >= 0 else start_dim, end_dim + 1 if end_dim >= 0 else end_dim)


@kernel_of(torch.reshape, Tensor.reshape, Tensor.view)
def _reshape(func: Any, x: Members, *shape: Any) -> Any:
    """The member axis stays in front."""
    asked = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    if not all(isinstance(n, int) for n in asked):  # a view as another dtype
        return NotImplemented
    return x.value.reshape(len(x.value), *asked)


@kernel_of(torch.unsqueeze, Tensor.unsqueeze)
def _unsqueeze(func: Any, x: Members, dim: int) -> Any:
    """As in ``_flatten``."""
    return x.value.unsqueeze(dim + 1 if dim >= 0 else dim)


@kernel_of(Tensor.__getitem__)
def _getitem(func: Any, x: Any, index: Any) -> Any:
    """What is taken of each member by slices and numbers, or by slices and one list of numbers."""
    parts = index if isinstance(index, tuple) else (index,)
    lists = [part for part in parts if type(part) is list and all(type(i) is int for i in part)]
    numbers = [part for part in parts if type(part) is int]
    others = [part for part in parts if part is None or part is Ellipsis or type(part) is slice]
    # Several lists, or a list beside numbers, may move the member axis; tensors as indices may be those of members.
    if len(lists) + len(numbers) + len(others) < len(parts) or len(lists) > 1 or (lists and numbers):
        return NotImplemented
    return x.value[(slice(None), *parts)]


@kernel_of(torch.cat)
def _cat(func: Any, tensors: Any, dim: int = 0) -> Any:
    """Tensors without a member axis are repeated for all members."""
    n = next((len(t.value) for t in tensors if isinstance(t, Members)), None)
    if n is None or len({t.dim() for t in tensors}) > 1:
        return NotImplemented
    values = [t.value if isinstance(t, Members) else t.expand(n, *t.shape) for t in tensors]
    return torch.cat(values, dim + 1 if dim >= 0 else dim)


@kernel_of(F.batch_norm)
def _batch_norm(
    func: Any, input: Members, mean: Any, var: Any, weight: Any = None, bias: Any = None, *args: Any, **kw: Any
) -> Any:
    """K times C channels are normalised like C; running statistics are written in place.

    The rows of a channel are contiguous in memory, so that the rounding of a sum does not depend on K.
    """
    statistics = [t for t in (mean, var, weight, bias) if t is not None]
    if not all(isinstance(t, Members) for t in (input, *statistics)) or input.dim() < 2:
        return NotImplemented
    lines = input.value.transpose(1, 2)
    wide = lines.flatten(0, 1).flatten(1).unsqueeze(0)
    flat = (None if t is None else t.value.flatten() for t in (mean, var, weight, bias))
    return func(wide, *flat, *args, **kw).view(lines.shape).transpose(1, 2).contiguous()


@kernel_of(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, torch.dropout)
def _dropout(func: Any, input: Members, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Each member draws its mask from its own generator, as it would if it were trained alone."""
    if not training or p == 0:
        return input.value
    generators = _GENERATORS.get()
    n_axes = {F.dropout1d: 3, F.dropout2d: 4, F.dropout3d: 5}.get(func)
    if len(generators) != len(input.value) or n_axes not in (None, input.dim()):
        raise NotImplementedError(f"{func.__name__} has no random generators, or an input without a batch axis.")
    if p == 1:
        mask = input.value.new_zeros(())  # torch draws nothing
    else:
        masks = [
            torch.empty_like(x) if n_axes is None else x.new_empty((*x.shape[:2], *[1] * (x.dim() - 2)))
            for x in input.value.detach()  # laid out as torch does: a mask is drawn in the order of memory
        ]
        for part, generator in zip(masks, generators, strict=True):
            part.bernoulli_(1 - p, generator=generator)
        mask = torch.stack(masks).div_(1 - p)
    return input.value.mul_(mask) if inplace else input.value * mask


@kernel_of(F.scaled_dot_product_attention)
def _attention(
    func: Any,
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **kw: Any,
) -> Any:
    """Members join the batch axis; with dropout or a mask the formula is written out."""
    parts = query, key, value
    if not all(isinstance(t, Members) and t.dim() == 4 for t in parts) or kw.get("enable_gqa"):
        return NotImplemented
    if dropout_p == 0 and attn_mask is None:
        flat = func(*(t.value.flatten(0, 1) for t in parts), is_causal=is_causal, scale=kw.get("scale"))
        return flat.unflatten(0, query.value.shape[:2])
    root = math.sqrt(kw.get("scale") or 1 / math.sqrt(query.shape[-1]))
    score = (query * root) @ (key * root).transpose(-2, -1)
    if is_causal:
        attn_mask = torch.ones(score.shape[-2:], dtype=torch.bool, device=score.device).tril()
    if attn_mask is not None:
        bias = attn_mask
        if attn_mask.dtype == torch.bool:
            bias = torch.zeros_like(attn_mask, dtype=score.dtype).masked_fill(attn_mask.logical_not(), -math.inf)
        score = score + bias
    without_key = score.value.isneginf().all(-1, keepdim=True)  # such a query attends to nothing, as in torch
    share = score.value.masked_fill(without_key, 0).softmax(-1).masked_fill(without_key, 0)
    return (F.dropout(Members(share), dropout_p) @ value).value


_TRACEABLE_ATTENTION = FunctionType(
    F.multi_head_attention_forward.__code__,
    {**vars(F), "has_torch_function": lambda _: False},
    argdefs=F.multi_head_attention_forward.__defaults__,
)


@kernel_of(F.multi_head_attention_forward)
def _multi_head(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Run torch's own function step by step: its steps have kernels, but the function as a whole has none."""
    return _TRACEABLE_ATTENTION(*args, **kwargs)


@kernel_of(F.embedding, F.embedding_bag)
def _embedding(func: Any, input: Tensor, weight: Tensor, **options: Any) -> Any:
    """The tables of all members as one long table."""
    if type(weight) is not Members:
        return NotImplemented
    tables, n = weight.value, len(weight.value)
    n_rows, width = weight.shape
    index = input.value if isinstance(input, Members) else input.expand(n, *input.shape)
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < n_rows:
        raise IndexError(f"index out of range: the table has {n_rows} rows")  # it would read the next member's table
    asked = {k: v for k, v in options.items() if v is not None and v is not False and k not in ("norm_type", "mode")}
    padding = asked.pop("padding_idx", None) if func is F.embedding else None
    if asked or (func is F.embedding_bag and index.dim() != 3):  # vmap would mix the members' rows
        raise NotImplementedError(f"{func.__name__} with {', '.join(asked) or 'rows in one axis'} cannot be vectorized")
    start = torch.arange(n, device=index.device).mul_(n_rows).view(n, *[1] * (index.dim() - 1))
    long, rows = tables.flatten(0, 1), index + start
    if func is F.embedding_bag:
        return func(rows.flatten(0, 1), long, mode=options["mode"]).view(n, -1, width)
    out = func(rows.reshape(-1), long).view(*index.shape, width)
    if padding is None:
        return out
    return torch.where((index == padding % n_rows).unsqueeze(-1), out.detach(), out)
