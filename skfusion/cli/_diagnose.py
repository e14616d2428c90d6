"""What ``skfusion diagnose`` does: can the networks in these checkpoints be merged?"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.markup import escape
from torch import nn

from skfusion.checkpoints import Checkpoint, differing_prefixes, open_many
from skfusion.cli._console import fail, message_of
from skfusion.cli._judged import inputs_for, net_for, rows, unlabelled_rows
from skfusion.cli._modules import architecture, fitted, ran_a_module
from skfusion.cli._plain import print_json
from skfusion.cli._table import Data
from skfusion.diagnose import FusionReport, Recipes, report_on
from skfusion.pool import Member, ModelPool


def run(
    *,
    inputs: list[Path],
    module: str | None,
    param: list[str] | None,
    data: str | None,
    fit_data: str | None,
    target: str | None,
    task: str,
    base: Path | None,
    key: str | None,
    strip_prefix: list[str] | None,
    n_points: int,
    tolerance: float,
    seed: int,
    html: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Diagnose the networks in checkpoints as the options say, and print the report."""
    torch.set_num_threads(1)  # small networks are faster so
    try:
        with warnings.catch_warnings(record=True) as caught:
            _check_options(module, param, data, fit_data, target, task)
            checkpoints, start = open_many(inputs, base, key, strip_prefix or [])
            for checkpoint in [*checkpoints, *([] if start is None else [start])]:
                checkpoint.check_sums()
            if len(checkpoints) < 2:
                raise ValueError(f"A diagnosis compares at least two checkpoints; got {checkpoints[0].name} alone.")
            paths, notes = [c.name for c in checkpoints], [note for c in checkpoints for note in c.notes]
            names = short(paths)
            judged = None if data is None else rows(data, target, task, notes)
            sizes = {"n_in": None, "n_out": None} if judged is None else judged.sizes
            network, arguments = (None, None) if module is None else architecture(module, param or [], sizes)
            pool, X, code = _pool(checkpoints, start, names, network, judged, notes)
            X_fit = None if fit_data is None else inputs_for(network, unlabelled_rows(fit_data, target))
            y, recipes = None if judged is None else judged.y, recipes_for(inputs, paths, names)
            report = report_on(
                pool, X, y, recipes, X_fit=X_fit, n_points=n_points, tolerance=tolerance, random_state=seed
            )
            report.notes.extend(notes)
            if judged is not None:
                report.notes.append(
                    "Scores hold where no network was trained on these rows; otherwise they are too good."
                )
                firsts = [(next(iter(c.state)), next(iter(m.state))) for c, m in zip(checkpoints, pool, strict=True)]
                removed = [before.removesuffix(after) for before, after in firsts]
                lines, read = net_lines(module, arguments, code), (key, strip_prefix or [])
                report.notes.append(in_python(inputs, paths, names, removed, pool.classes, lines, str(report), read))
        report.notes.extend(str(w.message) for w in caught)
        if html is not None:
            report.to_html(html)
    except (ValueError, TypeError, OSError) as error:
        fail(message_of(error), 2)
    except Exception as error:
        if not ran_a_module(error):
            raise
        fail(
            f"The module failed as networks were run on the rows: {type(error).__name__}: {error}. Averages of "
            "checkpoints are run, too, and in training mode to estimate statistics of BatchNorm.",
            2,
        )
    if as_json:
        print_json(record(report))
    elif quiet:
        for line in report.recommendation if html is None else [html]:
            typer.echo(line)
    else:
        console = Console()
        console.print(report, highlight=False, crop=False)
        if html is not None:
            console.print(escape(f"The report is in {html}."), highlight=False, soft_wrap=True)


def record(report: FusionReport) -> dict[str, Any]:
    """Return a report for programs; what was not measured is null, or empty."""
    pairs = report.pairs.reset_index().to_dict("records")
    layers = [report.similarity.get((pair["member"], pair["other"])) for pair in pairs]
    return {
        "recommendation": report.recommendation._asdict(),
        "advice": report.advice.reset_index().to_dict("records"),
        "members": report.members.reset_index().to_dict("records"),
        "pairs": [{**p, "cka": {} if cka is None else cka.to_dict()} for p, cka in zip(pairs, layers, strict=True)],
        "together": report.pool.to_dict(),
        "basins": report.basins,
        "tolerance": report.tolerance,
        "n_rows": report.n_rows,
        "loss_name": report.loss_name,
        "score_name": report.score_name,
        "notes": report.notes,
    }


def _pool(
    checkpoints: Sequence[Checkpoint],
    start: Checkpoint | None,
    names: Sequence[str],
    module: nn.Module | None,
    judged: Data | None,
    notes: list[str],
) -> tuple[ModelPool, Any, str]:
    """Return the networks as a pool, the inputs as the module takes them, and the code of the members' net."""
    states, first = [c.state for c in checkpoints], None if start is None else start.state
    net, X, classes, code = None, None, None, ""
    if module is not None:
        states = [fitted(s, module, c.name, notes) for s, c in zip(states, checkpoints, strict=True)]
        first = None if first is None else fitted(first, module, start.name, notes)
        if judged is not None:
            module.load_state_dict(states[0])
            net, X, classes, code = net_for(module, states, judged, notes)
    pool = ModelPool([Member(n, s, net=net) for n, s in zip(names, states, strict=True)], first, classes)
    try:
        pool.check_compatible()
    except ValueError as error:
        if prefixes := differing_prefixes(checkpoints):
            raise ValueError(f"{error} {prefixes}") from error
        raise
    return pool, X, code


def _check_options(
    module: str | None, param: list[str] | None, data: str | None, fit_data: str | None, target: str | None, task: str
) -> None:
    if data is not None and module is None:
        raise ValueError("--data needs --module, the architecture that runs on it: package.module:Class.")
    if param and module is None:
        raise ValueError("--param is for --module, which is not given.")
    if data is None and fit_data is not None:
        raise ValueError("--fit-data is for --data, which is not given.")
    if data is None and (target is not None or task != "auto"):
        raise ValueError(f"--{'target' if target is not None else 'task'} is for --data, which is not given.")


def short(names: list[str]) -> list[str]:
    """Return the ends of paths that distinguish checkpoints, unique in any case."""
    members = [name.rpartition("[")[2].rstrip("]") if name.endswith("]") else Path(name).stem for name in names]
    for candidates in (members, [Path(name).name for name in names], names):
        if len({*candidates}) == len(names):
            return candidates
    return [f"{name} ({k + 1})" for k, name in enumerate(names)]


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
        end = "])"
        if classes is not None and not np.array_equal(classes, np.arange(len(classes))):
            end = f"], classes=np.array({classes.tolist()!r}))"
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
