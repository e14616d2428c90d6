"""Refuse adapters (LoRA, DoRA, IA3): changes of a network, whose tensors mean nothing without it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

_KINDS = {
    "LoRA": re.compile(r"(^|[._])lora(_embedding)?[._]([AaBb]|up|down)(\.|$)"),
    "DoRA": re.compile(r"(^|\.)(lora_magnitude_vector|dora_scale)(\.|$)"),
    "IA3": re.compile(r"(^|\.)ia3_l(\.|$)"),
}
"""What the names of their tensors contain, as peft, loralib, diffusers and torchtune write them."""
_CONFIG, _FILE = "adapter_config.json", "adapter_model."
_REASONS = {
    "LoRA": "A layer is changed by the product B A, and the average of all A times that of all B is not the average of "
    "the products",
    "DoRA": "A layer is changed by a product and its lengths, and averages of the factors are not the average of the "
    "layers",
    "IA3": "Its numbers are factors of the weights of another network, which it does not hold",
    None: "Its tensors change the layers of another network, which it does not hold",
}


def check_no_adapter(names: Iterable[str], path: Path, file: Path) -> None:
    """Raise ``ValueError`` where a checkpoint is an adapter or contains one; messages call it ``path``.

    A ``file`` that is called ``adapter_model`` beside an ``adapter_config.json`` is one under any names.
    """
    listed = [name for name in names if isinstance(name, str)]
    kind, example = next(
        ((kind, name) for kind in ("IA3", "DoRA", "LoRA") for name in listed if _KINDS[kind].search(name)), (None, "")
    )
    config = file.parent / _CONFIG
    if kind is None and not (file.name.startswith(_FILE) and config.is_file()):
        return
    what = f"a {kind} adapter (tensor {example!r})" if kind else f"an adapter{_type_in(config)}, as {_CONFIG} says"
    raise ValueError(
        f"{path} holds {what}. {_REASONS[kind]}. Merge each adapter into its base first, with "
        "model.merge_and_unload() of peft, save the whole networks, and give those."
    )


def _type_in(config: Path) -> str:
    try:
        return f" of the type {json.loads(config.read_bytes())['peft_type']!r:.40}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
