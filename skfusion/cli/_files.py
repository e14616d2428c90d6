"""Checkpoints on disk, in the terms of a command and of Python."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skfusion.cli._modules import parameters_of
from skfusion.diagnose import Recipes

_HOMES = {
    "skfusion": (
        *("CurveClassifier", "CurveRegressor", "EnsembleClassifier", "EnsembleRegressor"),
        *("ModelPool", "SoupClassifier", "SoupRegressor"),
    ),
    "skfusion.align": ("ActivationMatching", "MergeMany", "WeightMatching"),
    "skfusion.merge": ("Uniform",),
    "skfusion.nets": ("mlp_classifier", "mlp_regressor", "with_module"),
    "skfusion.objective": ("Batch", "Objective"),
    "skfusion.pool": ("Member", "read_checkpoint"),
    "skfusion.repair": ("Recalibrate", "Repair"),
}
"""Where to import names in code from."""


def recipes_for(inputs: Sequence[Path], checkpoints: Sequence[str], names: Sequence[str]) -> Recipes:
    """Return how to write code about checkpoints.

    Parameters
    ----------
    inputs : sequence of Path
        What the command was given.
    checkpoints : sequence of str
        Names of the checkpoints: paths, or ``path[member]`` where they are in a pool.
    names : sequence of str
        What the report calls them.

    Returns
    -------
    Recipes
        For the report.
    """
    given = {str(path) for path in inputs}
    files = {name: path for name, path in zip(names, checkpoints, strict=True) if path in given}
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
    """Return the lines of Python that code in a report needs before it, as a note.

    Parameters
    ----------
    inputs, checkpoints, names : sequence
        As in :func:`recipes_for`.
    prefixes : sequence of str
        What the names of the tensors of each checkpoint begin with, which the module lacks.
    classes : ndarray or None
        Labels in the order of the outputs.
    net : sequence of str
        Lines that make the skorch net; of the first ones, imports.
    said : str
        The report, of which code is imported for.
    read : tuple of (str or None, sequence of str), optional
        The entry of files of ``torch.save`` that holds a state, and the prefixes that were to be taken off.

    Returns
    -------
    str
        Words in the first line, and code in the others.
    """
    given = {str(path) for path in inputs}
    members = [
        _member(path, name, read[0], [*read[1], prefix], path in given)
        for path, name, prefix in zip(checkpoints, names, prefixes, strict=True)
    ]
    whole = [f"members = ModelPool.load({str(inputs[0])!r})"]
    if len(inputs) > 1 or members != [f"ModelPool.load({str(inputs[0])!r})[{name!r}]" for name in names]:
        end = "])" if classes is None or _is_counted(classes) else f"], classes=np.array({classes.tolist()!r}))"
        whole = ["members = ModelPool([", *(f"    {member}," for member in members), end]
    code = [*net, *whole]
    used = {*re.findall(r"\w+", "\n".join([*code, *re.findall(r"\w+\(.*?\)(?= |\.|,)", said)]))}
    imports = [f"from {home} import {', '.join(own)}" for home in _HOMES if (own := _used(home, used))]
    plain = [line for name, line in {"np": "import numpy as np", "torch": "import torch"}.items() if name in used]
    return "\n".join(
        [
            "In Python, run these lines first. Fit what they make on rows that none was trained on, by fit(X, y).",
            *plain,
            *imports,
            *code,
        ]
    )


def _used(home: str, used: set[str]) -> list[str]:
    return [name for name in _HOMES[home] if name in used]


def _is_counted(classes: np.ndarray) -> bool:
    return bool(np.array_equal(classes, np.arange(len(classes))))


def _member(path: str, name: str, key: str | None, prefixes: Sequence[str], is_file: bool) -> str:
    cut = "".join(f".removeprefix({p.removesuffix('.') + '.'!r})" for p in prefixes if p)
    if is_file:
        state = f"read_checkpoint({path!r}{f', key={key!r}' if key else ''})"
        return f"Member({name!r}, {f'{{k{cut}: t for k, t in {state}.items()}}' if cut else state})"
    pool, _, own = path.rpartition("[")
    text = f"ModelPool.load({pool!r})[{own.removesuffix(']')!r}]"
    return text if own.removesuffix("]") == name else f"{text}.replace(name={name!r})"


def net_lines(module: str, param: Sequence[str], offers: Mapping[str, Any], skorch: str) -> list[str]:
    """Return lines of Python that make a skorch net.

    Parameters
    ----------
    module, param, offers : str, sequence of str and dict
        As for :func:`skfusion.cli._modules.architecture`, which has built it.
    skorch : str
        The net without its module.

    Returns
    -------
    list of str
        An import, and the net.
    """
    where, _, what = module.partition(":")
    given = parameters_of(module, param, offers)
    built = what if given is None else f"{what}({', '.join(f'{k}={v!r}' for k, v in given.items())})"
    return [f"from {where} import {what.partition('.')[0]}", f"net = with_module({skorch}, {built})"]
