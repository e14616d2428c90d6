"""How a report writes about checkpoints on disk: as arguments of a command, and as lines of Python."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skfusion.diagnose import Recipes

_HOMES = {
    "skfusion": (
        *("CurveClassifier", "CurveRegressor", "EnsembleClassifier", "EnsembleRegressor"),
        *("ModelPool", "SoupClassifier", "SoupRegressor"),
    ),
    "skfusion.align": ("ActivationMatching", "MergeMany", "WeightMatching"),
    "skfusion.checkpoints": ("read_checkpoint",),
    "skfusion.merge": ("Uniform",),
    "skfusion.nets": ("mlp_classifier", "mlp_regressor", "with_module"),
    "skfusion.objective": ("Batch", "ModuleObjective"),
    "skfusion.pool": ("Member",),
    "skfusion.repair": ("Recalibrate", "Repair"),
}
"""Where to import names in code from."""


def recipes_for(inputs: Sequence[Path], checkpoints: Sequence[str], names: Sequence[str]) -> Recipes:
    """Return how a report writes code about checkpoints, which it calls by ``names``.

    ``inputs`` are what the command was given; ``checkpoints`` are paths, or ``path[member]`` where they are in a pool.
    """
    listed = {str(path) for path in inputs}
    files = {name: path for name, path in zip(names, checkpoints, strict=True) if path in listed}
    where = ", after the lines of Python below"
    return Recipes("members", "--fit-data", True, files, [str(path) for path in inputs], where=where)


def in_python(
    inputs: Sequence[Path],
    checkpoints: Sequence[str],
    names: Sequence[str],
    prefixes: Sequence[str],
    classes: np.ndarray | None,
    net: Sequence[str],
    said: str,
    read: tuple[str | None, Sequence[str]] = (None, ()),
) -> str:
    """Return the lines of Python that code in a report needs before it, as a note: words, and then code.

    ``prefixes`` were removed from the names of the tensors of each checkpoint, ``net`` are lines that make the skorch
    net, and ``said`` is the report, whose code needs imports. ``read`` are the options ``--key`` and
    ``--strip-prefix``.
    """
    listed = {str(path) for path in inputs}
    members = [
        _member(path, name, read[0], [*read[1], prefix], path in listed)
        for path, name, prefix in zip(checkpoints, names, prefixes, strict=True)
    ]
    whole = [f"members = ModelPool.load({str(inputs[0])!r})"]
    if len(inputs) > 1 or members != [f"ModelPool.load({str(inputs[0])!r})[{name!r}]" for name in names]:
        end = "])" if classes is None or _is_counted(classes) else f"], classes=np.array({classes.tolist()!r}))"
        whole = ["members = ModelPool([", *(f"    {member}," for member in members), end]
    code = [*net, *whole]
    used = {*re.findall(r"\w+", "\n".join([*code, *re.findall(r"\w+\(.*?\)(?= |\.|,)", said)]))}
    of_homes = {home: [name for name in names if name in used] for home, names in _HOMES.items()}
    imports = [f"from {home} import {', '.join(names)}" for home, names in of_homes.items() if names]
    plain = [line for name, line in {"np": "import numpy as np", "torch": "import torch"}.items() if name in used]
    return "\n".join(
        [
            "In Python, run these lines first. Fit what they make on rows that none was trained on, by fit(X, y).",
            *plain,
            *imports,
            *code,
        ]
    )


def _is_counted(classes: np.ndarray) -> bool:
    return bool(np.array_equal(classes, np.arange(len(classes))))


def _member(path: str, name: str, key: str | None, prefixes: Sequence[str], is_file: bool) -> str:
    cut = "".join(f".removeprefix({p.removesuffix('.') + '.'!r})" for p in prefixes if p)
    if is_file:
        state = f"read_checkpoint({path!r}{f', key={key!r}' if key else ''})"
        return f"Member({name!r}, {f'{{k{cut}: t for k, t in {state}.items()}}' if cut else state})"
    pool, _, in_pool = path.removesuffix("]").rpartition("[")
    text = f"ModelPool.load({pool!r})[{in_pool!r}]"
    return text if in_pool == name else f"{text}.replace(name={name!r})"


def net_lines(module: str, arguments: Mapping[str, Any] | None, skorch: str) -> list[str]:
    """Return lines of Python, of which the first is an import, that put an architecture into the code of a net."""
    where, _, what = module.partition(":")
    built = what if arguments is None else f"{what}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})"
    return [f"from {where} import {what.partition('.')[0]}", f"net = with_module({skorch}, {built})"]
