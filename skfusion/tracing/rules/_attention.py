"""Scaled dot-product attention, as the one operation that torch runs it as."""

from __future__ import annotations

from torch import Tensor

from skfusion.tracing._axis import Axis
from skfusion.tracing._call import Call, Labelled, rule
from skfusion.tracing._engine import Engine, Label

KERNELS = ("flash_attention_for_cpu", "flash_attention", "efficient_attention", "cudnn_attention", "attention_math")
OTHER_KERNELS = ("fused_attention_overrideable", "attention_math_for_mps")
ATTENTION = (
    "scaled_dot_product_attention",
    *(f"_scaled_dot_product_{kernel}" for kernel in KERNELS + OTHER_KERNELS),
)


@rule(*ATTENTION)
def attention(call: Call) -> Labelled:
    """Sums over the channels of queries and keys, and over the tokens of keys and values; heads are a batch."""
    engine = call.engine
    query, key, value = (list(call.label_of(name)) for name in ("query", "key", "value"))
    batch_q, batch = query[:-2], key[:-2]
    _meet(engine, batch_q, batch, value[:-2])
    batch = [engine.richer(k, v) for k, v in zip(batch, value[:-2], strict=True)]
    shared = batch_q[-1:] == [] or batch_q[-1].n == batch[-1].n  # not so in grouped-query attention
    if shared:
        batch = batch_q = [engine.richer(k, q) for k, q in zip(batch, batch_q, strict=True)]
    engine.depend_only(batch)
    if not shared:
        engine.depend_only(batch_q)
    engine.contract(query[-1], key[-1], batch=batch)
    engine.contract(key[-2], value[-2], batch=batch)
    engine.depend_only([query[-2]], batch_q)
    engine.depend_only([value[-1]], batch)
    _mask(call, [*batch_q, query[-2], key[-2]])
    out = engine.tidy([*batch_q, query[-2], value[-1]])
    return [out, *[None] * (len(call.out) - 1)] if isinstance(call.out, (tuple, list)) else out


def _meet(engine: Engine, query: Label, key: Label, value: Label) -> None:
    """Unify the axes of the batch; where several heads of queries share one of keys, groups of them."""
    for q, k, v in zip(query, key, value, strict=True):
        if q.n == k.n:
            engine.unify(q, k)
        engine.unify(k, v)
    if query and query[-1].n != key[-1].n:
        groups, _ = engine.factor(query[-1], [key[-1].n, query[-1].n // key[-1].n])
        engine.unify(groups, key[-1])


def _mask(call: Call, scores: list[Axis]) -> None:
    """Unify the axes of a mask with those of the scores, to which it is added; a causal one pins the tokens."""
    engine = call.engine
    if call["is_causal"]:
        for tokens in scores[-2:]:
            engine.pin_axis(tokens, "a causal mask")
    mask = call["attn_mask"] if call["attn_mask"] is not None else call["attn_bias"]
    if isinstance(mask, Tensor) and mask.dim() >= 2:
        engine.elementwise([scores, call.label(mask)], [axis.n for axis in scores])
