"""The options of ``skfusion diagnose``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skfusion.cli._console import BASE, CHECKPOINTS, JSON, KEY, QUIET, STRIP_PREFIX, TARGET, TASK
from skfusion.cli.commands._choices import BUILT_IN, among
from skfusion.cli.commands._imported import imported


def diagnose(
    inputs: CHECKPOINTS,
    module: Annotated[
        str | None,
        typer.Option(help="The architecture, package.module:Class, from here or installed. Its code is run."),
    ] = None,
    param: Annotated[list[str] | None, typer.Option(help="A parameter of it, name=value in JSON; repeat.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help=f"Rows that none was trained on: {', '.join(BUILT_IN)}, a .csv, .parquet or .npz.",
            autocompletion=among(BUILT_IN),
        ),
    ] = None,
    fit_data: Annotated[
        str | None,
        typer.Option(
            help="Rows for BatchNorm statistics and matched activations, as --data; the same if omitted.",
            autocompletion=among(BUILT_IN),
        ),
    ] = None,
    target: TARGET = None,
    task: TASK = "auto",
    base: BASE = None,
    key: KEY = None,
    strip_prefix: STRIP_PREFIX = None,
    n_points: Annotated[int, typer.Option(help="Positions on each line; an odd number.")] = 11,
    tolerance: Annotated[float, typer.Option(min=0.0, help="A fall of the score up to this counts as none.")] = 0.02,
    seed: Annotated[int, typer.Option(min=0, help="Of the matching of units.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Write the report to this page, too.")] = None,
    as_json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Say whether networks on disk can be merged, and what to do with them.

    With --module and --data the lines between them are measured, and so are soups, alignment and their ensemble;
    without, only weights are compared. No code in a checkpoint is run.
    """
    imported("_diagnose").run(
        inputs=inputs,
        module=module,
        param=param,
        data=data,
        fit_data=fit_data,
        target=target,
        task=task,
        base=base,
        key=key,
        strip_prefix=strip_prefix,
        n_points=n_points,
        tolerance=tolerance,
        seed=seed,
        html=html,
        as_json=as_json,
        quiet=quiet,
    )
