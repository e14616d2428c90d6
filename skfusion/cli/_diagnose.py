"""The command ``skfusion diagnose``: can the networks in these checkpoints be merged?"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.markup import escape

from skfusion.cli._files import in_python, net_lines, recipes_for
from skfusion.cli._judged import inputs as unlabelled_rows
from skfusion.cli._judged import rows
from skfusion.cli._modules import architecture, fitted, ran_a_module
from skfusion.cli._options import KEY, STRIP_PREFIX
from skfusion.cli._outputs import inputs_for, net_for
from skfusion.cli._table import BUILT_IN
from skfusion.diagnose import FusionReport, report_on
from skfusion.pool import Member, ModelPool
from skfusion.pool._archive import check_sums
from skfusion.pool._checkpoint import Checkpoint, open_many
from skfusion.pool._prefixes import differing_prefixes, without_prefixes
from skfusion.state import State


def diagnose(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="CHECKPOINT",
            help="Files (.safetensors, .pt, .pth, .bin, .ckpt), folders with one, indices of shards, or pools.",
            show_default=False,
        ),
    ],
    module: Annotated[
        str | None,
        typer.Option(help="The architecture, package.module:Class, from here or installed. Its code is run."),
    ] = None,
    param: Annotated[list[str] | None, typer.Option(help="A parameter of it, name=value in JSON; repeat.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help=f"Rows that none was trained on: {', '.join(BUILT_IN)}, a .csv, .parquet or .npz."),
    ] = None,
    fit_data: Annotated[
        str | None,
        typer.Option(help="Rows for BatchNorm statistics and matched activations, as --data; the same if omitted."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column to predict, in tables.")] = None,
    task: Annotated[str, typer.Option(help="auto, classification or regression.")] = "auto",
    base: Annotated[Path | None, typer.Option(help="What the checkpoints were fine-tuned from.")] = None,
    key: KEY = None,
    strip_prefix: STRIP_PREFIX = None,
    n_points: Annotated[int, typer.Option(help="Positions on each line; an odd number.")] = 11,
    tolerance: Annotated[float, typer.Option(min=0.0, help="A fall of the score up to this counts as none.")] = 0.02,
    seed: Annotated[int, typer.Option(min=0, help="Of the matching of units.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Write the report to this page, too.")] = None,
) -> None:
    """Say whether networks on disk can be merged, and what to do with them.

    With --module and --data the lines between them are measured, and so are soups, alignment and their ensemble;
    without, only weights are compared. No code in a checkpoint is run.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            _check_options(module, param or [], data, fit_data, target, task)
            opened, how = _opened(inputs, base, key, strip_prefix or []), (key, strip_prefix or [])
            report = _report(
                inputs, *opened, how, module, param or [], data, fit_data, target, task, n_points, tolerance, seed
            )
        report.notes.extend(str(w.message) for w in caught)
        if html is not None:
            report.to_html(html)
    except Exception as error:
        if not (isinstance(error, ValueError | TypeError | OSError) or ran_a_module(error)):
            raise
        Console(stderr=True).print(f"[bold red]Error:[/] {escape(_told(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    console = Console()
    console.print(report, highlight=False, crop=False)
    if html is not None:
        console.print(escape(f"The report is in {html}."), highlight=False, soft_wrap=True)


def _told(error: Exception) -> str:
    if isinstance(error, OSError):
        message = f"{error.strerror or error}"
        return message if error.filename is None else f"{error.filename}: {message}."
    if isinstance(error, ValueError | TypeError):
        return str(error)
    return (
        f"The module failed as networks were run on the rows: {type(error).__name__}: {error}. Averages of checkpoints "
        "are run, too, and in training mode to estimate statistics of BatchNorm."
    )


def _opened(
    inputs: list[Path], base: Path | None, key: str | None, strip_prefix: list[str]
) -> tuple[list[Checkpoint], Checkpoint | None]:
    opened, start = open_many([*inputs], base, key)
    for checkpoint in (*opened, *([] if start is None else [start])):
        for file in checkpoint.files:
            check_sums(file)
    if len(opened) < 2:
        raise ValueError(f"A diagnosis compares at least two checkpoints; got {opened[0].name} alone.")
    return without_prefixes(opened, start, strip_prefix)


def _report(
    inputs: list[Path],
    opened: list[Checkpoint],
    start: Checkpoint | None,
    read: tuple[str | None, list[str]],
    module: str | None,
    param: list[str],
    data: str | None,
    fit_data: str | None,
    target: str | None,
    task: str,
    n_points: int,
    tolerance: float,
    seed: int,
) -> FusionReport:
    torch.set_num_threads(1)  # small networks are faster so
    notes = [note for checkpoint in opened for note in checkpoint.notes]
    names = short([checkpoint.name for checkpoint in opened])
    states = [checkpoint.state for checkpoint in opened]
    first = None if start is None else start.state
    net, X, y, classes, X_fit = None, None, None, None, None
    recipes, lines = recipes_for(inputs, [checkpoint.name for checkpoint in opened], names), []
    if module is not None:
        found = None if data is None else rows(data, target, task, notes)
        offers = {"n_in": None, "n_out": None} if found is None else {"n_in": found.n_in, "n_out": found.n_out}
        built = architecture(module, param, offers)
        states = [fitted(s, built, c.name, notes) for s, c in zip(states, opened, strict=True)]
        first = None if first is None else fitted(first, built, start.name, notes)
        if found is not None:
            built.load_state_dict(states[0])
            (net, X, classes, code), y = net_for(built, states, found, notes), found.y
            lines = net_lines(module, param, offers, code)
            if fit_data is not None:
                X_fit = inputs_for(built, unlabelled_rows(fit_data, target))
            notes.append("Scores hold where no network was trained on these rows; otherwise they are too good.")
    pool = ModelPool([Member(n, s, net=net) for n, s in zip(names, states, strict=True)], first, classes)
    _check_compatible(pool, opened)
    report = report_on(pool, X, y, recipes, X_fit=X_fit, n_points=n_points, tolerance=tolerance, random_state=seed)
    report.notes.extend(notes)
    if lines:
        taken = [_prefix(c.state, s) for c, s in zip(opened, states, strict=True)]
        given = (inputs, [checkpoint.name for checkpoint in opened], names, taken, classes)
        report.notes.append(in_python(*given, lines, str(report), read))
    return report


def _check_compatible(pool: ModelPool, opened: list[Checkpoint]) -> None:
    try:
        pool.check_compatible()
    except ValueError as error:
        if told := differing_prefixes(opened):
            raise ValueError(f"{error} {told}") from error
        raise


def _prefix(given: State, used: State) -> str:
    """Return what was taken off the names of a checkpoint."""
    return next(iter(given)).removesuffix(next(iter(used)))


def _check_options(
    module: str | None, param: list[str], data: str | None, fit_data: str | None, target: str | None, task: str
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
    """Return the ends of paths that tell checkpoints apart, unique in any case."""
    members = [name.rpartition("[")[2].rstrip("]") if name.endswith("]") else Path(name).stem for name in names]
    for found in (members, [Path(name).name for name in names], names):
        if len({*found}) == len(names):
            return found
    return [f"{name} ({k + 1})" for k, name in enumerate(names)]
