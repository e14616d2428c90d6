"""Adapters: small changes of a network, whose tensors mean nothing apart."""

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
"""What the names of their tensors have in them, as peft, loralib, diffusers and torchtune write them."""
_CONFIG, _FILE = "adapter_config.json", "adapter_model."
_REASONS = {
    "LoRA": "A layer is changed by the product B A, and the average of all A times that of all B is not the average of "
    "the products",
    "DoRA": "A layer is changed by a product and its lengths, and averages of the factors are not the average of the "
    "layers",
    "IA3": "Its numbers are factors of the weights of another network, which it does not hold",
}
_ELSE = "Its tensors change the layers of another network, which it does not hold"


def check_no_adapter(names: Iterable[str], path: Path, file: Path) -> None:
    """Raise ``ValueError`` where a checkpoint is an adapter, or has one in it.

    Parameters
    ----------
    names : iterable of str
        Of its tensors.
    path : Path
        What to call it.
    file : Path
        Where it was read: a file that is called ``adapter_model`` beside an ``adapter_config.json`` is one by any name.
    """
    listed = [name for name in names if isinstance(name, str)]
    found = {kind: name for kind, sign in _KINDS.items() for name in reversed(listed) if sign.search(name)}
    config = file.parent / _CONFIG
    if not found and not (file.name.startswith(_FILE) and config.is_file()):
        return
    kind = next(reversed(found), None)
    what = f"a {kind} adapter (tensor {found[kind]!r})" if kind else f"an adapter{_type_in(config)}, as {_CONFIG} says"
    raise ValueError(
        f"{path} holds {what}. {_REASONS.get(kind, _ELSE)}. Merge each adapter into its base first, with "
        "model.merge_and_unload() of peft, save the whole networks, and give those."
    )


def _type_in(config: Path) -> str:
    try:
        return f" of the type {json.loads(config.read_bytes())['peft_type']!r:.40}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
