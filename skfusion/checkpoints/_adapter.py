"""LoRA adapters of PEFT, merged into the network that they change (Hu et al., 2022, arXiv:2106.09685)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skfusion.checkpoints._checkpoint import PathLike, open_adapter
from skfusion.state import State

CONFIG = "adapter_config.json"
_PREFIX = "base_model.model."
_FACTOR = re.compile(r"^(.*)\.lora_([AB])(?:\.default)?\.weight$")
_ON = ("use_dora", "lora_bias", "use_qalora", "layer_replication", "trainable_token_indices", "target_parameters")
"""Settings of which any value but none makes an adapter more than plain LoRA."""
_STARTS = (None, True, False, "gaussian", "orthogonal", "eva")
"""Ways to start the factors that leave the base as it is; others, such as PiSSA, change it."""


def merged_adapter(folder: PathLike, base: State) -> State:
    r"""Return a copy of ``base`` with the LoRA adapter in a folder of PEFT merged into it.

    .. math:: W' = W + s B A, \qquad s = \alpha / r \text{ or } \alpha / \sqrt{r} \text{ (rslora)}

    Tensors that the adapter trained whole, such as a head, take the place of those of the base. Layers are found by
    their names, also where one of both sides has a prefix beside them. ``ValueError`` names what is no plain LoRA.
    """
    folder = Path(folder)
    config = _config(folder)
    factors: dict[str, dict[str, Tensor]] = {}
    whole: State = {}
    for name, tensor in open_adapter(folder).items():
        plain = name.removeprefix(_PREFIX)
        if (found := _FACTOR.match(plain)) is not None:
            factors.setdefault(found[1], {})[found[2]] = tensor
        elif "lora_" in plain or "base_layer" in plain:
            raise _refused(folder, f"tensor {name!r}")
        else:
            whole[plain.replace(".modules_to_save.default.", ".").replace(".modules_to_save.", ".")] = tensor
    if not factors:
        raise _refused(folder, "no factors lora_A and lora_B of any layer")
    state = dict(base)
    for layer, pair in factors.items():
        if pair.keys() != {"A", "B"}:
            raise ValueError(f"{folder} has only lora_{next(iter(pair))} of the layer {layer!r}: the file is damaged.")
        name = _place(f"{layer}.weight", state, folder)
        state[name] = _with_change(state[name], pair["A"], pair["B"], config, layer, folder)
    for plain, tensor in whole.items():
        name = _place(plain, state, folder)
        if state[name].shape != tensor.shape:
            raise ValueError(
                f"Tensor {plain!r} of {folder} has shape {tuple(tensor.shape)}, and {tuple(state[name].shape)} in the "
                "base. Give the base with the head that the adapter was trained with."
            )
        state[name] = tensor.to(state[name].dtype).clone()
    return state


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_bytes())
        kind = config.get("peft_type")
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{folder / CONFIG} is no configuration of PEFT: {error!r}.") from error
    if kind != "LORA":
        raise _refused(folder, f"an adapter of the type {kind!r:.40}")
    if on := [name for name in _ON if config.get(name)]:
        raise _refused(folder, f"{on[0]}={config[on[0]]!r:.40}")
    if config.get("bias", "none") != "none":
        raise _refused(folder, f"bias={config['bias']!r:.40}")
    if (start := config.get("init_lora_weights")) not in _STARTS:
        raise _refused(folder, f"init_lora_weights={start!r:.40}, which has changed the base")
    for name in ("rank_pattern", "alpha_pattern"):
        if not isinstance(config.get(name) or {}, Mapping):
            raise ValueError(f"{name} in {folder / CONFIG} is no table of layers.")
    return dict(config)


def _with_change(W: Tensor, A: Tensor, B: Tensor, config: Mapping[str, Any], layer: str, folder: Path) -> Tensor:
    """Return a weight with the product of the factors added, at its own precision, computed in float32 or better."""
    if A.ndim != 2 or B.ndim != 2 or A.shape[0] != B.shape[1]:
        raise _refused(folder, f"factors of the layer {layer!r} of shapes {tuple(A.shape)} and {tuple(B.shape)}")
    rank, alpha = A.shape[0], float(_of(config, "alpha_pattern", layer, config.get("lora_alpha", A.shape[0])))
    if (said := _of(config, "rank_pattern", layer, config.get("r", rank))) != rank:
        raise ValueError(f"The layer {layer!r} of {folder} has rank {rank}, and {said} in {CONFIG}: not of one run.")
    scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    wide = torch.promote_types(W.dtype, torch.float32)
    change = scale * (B.to(wide) @ A.to(wide))
    change = change.T if config.get("fan_in_fan_out") else change
    if change.shape != W.shape:
        raise ValueError(
            f"The adapter in {folder} changes a layer {layer!r} of shape {tuple(change.shape)}, which has shape "
            f"{tuple(W.shape)} in the base. Give the base that it was trained on."
        )
    return (W.to(wide) + change).to(W.dtype)


def _of(config: Mapping[str, Any], pattern: str, layer: str, default: Any) -> Any:
    """Return what holds for a layer: the value of the first key that its name ends in, as PEFT matches them."""
    for key, value in (config.get(pattern) or {}).items():
        if re.fullmatch(rf"(.*\.)?{re.escape(key)}", layer):
            return value
    return default


def _place(name: str, state: Mapping[str, Any], folder: Path) -> str:
    """Return the name of a tensor in the base, which may have a prefix more or less."""
    if name in state:
        return name
    ends = [other for other in state if other.endswith(f".{name}") or name.endswith(f".{other}")]
    longest = [end for end in ends if len(end) == max(map(len, ends))]
    if len(longest) == 1:
        return longest[0]
    many = f" several like it: {longest[:3]}" if longest else f" {next(iter(state), 'nothing')!r} and others"
    raise ValueError(
        f"The adapter in {folder} changes {name!r}, which the base does not have; it has{many}. Give the base that the "
        "adapter was trained on."
    )


def _refused(folder: Path, what: str) -> ValueError:
    return ValueError(
        f"{folder} has {what}; only plain LoRA is merged here. Merge it with model.merge_and_unload() of peft, save "
        "the whole network, and give that."
    )
