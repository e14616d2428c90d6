"""The error that names the embedding whose indices are out of range."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from skfusion.objective import evaluating


def index_error(module: nn.Module, inputs: Iterable[Any], error: IndexError) -> IndexError:
    """Return an error that names the embedding to which inputs give unknown indices, and what helps; else ``error``.

    The inputs are all that the module was to see, as tensors of some rows each.
    """
    low: dict[str, int] = {}
    high: dict[str, int] = {}
    kinds = (nn.Embedding, nn.EmbeddingBag)
    rows = {name: m.num_embeddings for name, m in module.named_modules() if isinstance(m, kinds)}

    def see(name: str) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            index = args[0] if args else kwargs["input"]
            if isinstance(index, Tensor) and index.numel():
                low[name] = min(low.get(name, 0), int(index.min()))
                high[name] = max(high.get(name, 0), int(index.max()))

        return hook

    handles = [module.get_submodule(name).register_forward_pre_hook(see(name), with_kwargs=True) for name in rows]
    try:
        with torch.no_grad(), evaluating(module):
            for part in inputs:
                with suppress(Exception):  # the indices are seen before the embedding raises
                    module(**part) if isinstance(part, dict) else module(part)
    finally:
        for handle in handles:
            handle.remove()
    for name, n in rows.items():
        if low.get(name, 0) < 0 or high.get(name, 0) >= n:
            called = f"Embedding {name!r}" if name else "The embedding"
            remedy = f"give it num_embeddings={high[name] + 1} or more, or map unknown indices to one that it has"
            if low[name] < 0:
                remedy = "number from 0, and give missing ones an index of their own"
            return IndexError(
                f"{called} has {n} rows, for indices from 0 to {n - 1}, and is given indices from {low[name]} to "
                f"{high[name]}: {remedy}."
            )
    return error
