"""Which symmetries are found in the networks of torchvision and others, and what it costs.

Writes ``docs/results/symmetry.md``: for each network the groups of units, how many of them are indexed by another one,
the share of parameters that stand on an axis that moves, the largest difference of outputs under a random element in
float64, and the seconds of one forward pass, of a trace, and of a trace with its proof.

Run ``python benchmarks/results_symmetry.py`` from the root of the repository, on one thread. Networks of
transformers are included where that is installed.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from skfusion.symmetry import Symmetry
from skfusion.tracing import symmetry_of

OUT = Path(__file__).parents[1] / "docs" / "results" / "symmetry.md"
# Name: (side of the images, options, groups, of them with a context) as they are known from the architecture.
TORCHVISION: dict[str, tuple[int, dict[str, Any], int, int]] = {
    "alexnet": (224, {}, 7, 0),
    "vgg11": (224, {}, 10, 0),
    "vgg11_bn": (224, {}, 10, 0),
    "vgg16": (224, {}, 15, 0),
    "vgg16_bn": (224, {}, 15, 0),
    "resnet18": (224, {}, 12, 0),
    "resnet50": (224, {}, 37, 0),
    "resnext50_32x4d": (224, {}, 53, 32),
    "wide_resnet50_2": (224, {}, 37, 0),
    "densenet121": (224, {}, 120, 0),
    "mobilenet_v2": (224, {}, 25, 0),
    "mobilenet_v3_small": (224, {}, 27, 0),
    "mobilenet_v3_large": (224, {}, 30, 0),
    "efficientnet_b0": (224, {}, 40, 0),
    "efficientnet_v2_s": (224, {}, 75, 0),
    "shufflenet_v2_x1_0": (224, {}, 86, 0),
    "squeezenet1_1": (224, {}, 25, 0),
    "googlenet": (224, {"init_weights": False}, 61, 0),
    "inception_v3": (299, {"init_weights": False}, 96, 0),
    "mnasnet1_0": (224, {}, 25, 0),
    "regnet_y_400mf": (224, {}, 69, 32),
    "convnext_tiny": (224, {}, 22, 0),
    "swin_t": (224, {}, 52, 24),
    "swin_v2_t": (224, {}, 64, 24),
    "vit_b_16": (224, {}, 49, 24),
    "maxvit_t": (224, {}, 117, 44),
}


def networks() -> Iterator[tuple[str, nn.Module, Any]]:
    """Name, network and example of each row."""
    for name, (side, options, _, _) in TORCHVISION.items():
        torch.manual_seed(0)
        yield name, getattr(torchvision.models, name)(weights=None, **options), torch.randn(2, 3, side, side)
    try:
        from transformers import AutoModelForSequenceClassification, BertConfig
    except ImportError:
        return
    sizes: dict[str, dict[str, int]] = {
        "BERT base": {},
        "MiniLM L6": {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
    }
    for name, options in sizes.items():
        torch.manual_seed(0)
        ids = torch.randint(1000, (2, 32))
        example = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        yield name, AutoModelForSequenceClassification.from_config(BertConfig(**options)), example


def in_general_position(module: nn.Module) -> nn.Module:
    """A copy in float64 and eval mode without zeros and ones that would hide a fault."""
    module = copy.deepcopy(module).double().eval()
    with torch.no_grad():
        for p in module.parameters():
            if p.dim() < 2 or bool((p == p.flatten()[0]).all()):
                p.add_(0.1 * torch.randn_like(p))
        for name, b in module.named_buffers():
            if name.endswith("running_mean"):
                b.normal_(std=0.1)
            elif name.endswith("running_var"):
                b.uniform_(0.5, 1.5)
    return module


@torch.no_grad()
def outputs(module: nn.Module, example: Any) -> list[Tensor]:
    """All tensors that a module returns."""
    wide = tree_map(lambda t: t.double() if t.is_floating_point() else t, example)
    out = module(**wide) if isinstance(wide, dict) else module(wide)
    return [t for t in tree_leaves(out) if isinstance(t, Tensor)]


def error(symmetry: Symmetry, module: nn.Module, example: Any) -> float:
    """Largest difference of outputs under a random element, relative to the largest number."""
    module = in_general_position(module)
    before = outputs(module, example)
    permuted = symmetry.permute(symmetry.sample(1), module.state_dict())
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            tensor.copy_(permuted[name])
    after = outputs(module, example)
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(before, after, strict=True))


def seconds(f: Callable[[], Any]) -> tuple[float, Any]:
    """Time of a call, and what it returns."""
    start = time.perf_counter()
    out = f()
    return time.perf_counter() - start, out


def row(name: str, module: nn.Module, example: Any) -> str:
    """A line of the table."""
    module.eval()
    with torch.no_grad():
        call = (lambda: module(**example)) if isinstance(example, dict) else (lambda: module(example))
        call()
        forward = min(seconds(call)[0] for _ in range(3))
    traced, _ = seconds(lambda: symmetry_of(module, example, verify=False))
    proven, found = seconds(lambda: symmetry_of(module, example))
    state = module.state_dict()
    share = sum(state[n].numel() for n in found.parameters) / sum(p.numel() for p in module.parameters())
    nested = sum(bool(g.context) for g in found.groups.values())
    known = TORCHVISION.get(name, (0, {}, len(found.groups), nested))[2:]
    if known != (len(found.groups), nested):
        print(f"{name}: {known} groups are known, {(len(found.groups), nested)} were found", flush=True)
    line = (
        f"| {name} | {len(found.groups)} | {nested} | {100 * share:.2f} | {error(found, module, example):.0e} | "
        f"{forward:.2f} | {traced:.2f} | {proven:.2f} |"
    )
    print(line, flush=True)
    return line


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="rows to print; all are written to the file when omitted")
    names = parser.parse_args().names
    torch.set_num_threads(1)
    lines = [row(name, module, x) for name, module, x in networks() if not names or name in names]
    if names:
        return
    OUT.write_text(
        "# Symmetries of well-known networks\n\n"
        "Found by `symmetry_of` on two images of the usual size (text: two rows of 32 tokens), on one CPU thread, by "
        "`benchmarks/results_symmetry.py`. *Groups* are sets of units that can change places; *nested* ones are "
        "indexed by another, as the channels within attention heads are. *Share* is the percentage of parameters that "
        "stand on an axis that moves. *Error* is the largest difference of outputs in float64 under a random element "
        "of the whole group, relative to the largest output. *Forward* is one pass in float32, *trace* without proof, "
        "*proven* with it; all in seconds.\n\n"
        "| network | groups | nested | share % | error | forward | trace | proven |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|\n" + "\n".join(lines) + "\n"
    )


if __name__ == "__main__":
    main()
