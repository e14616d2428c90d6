"""The options of ``skfusion compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skfusion.cli._console import JSON, QUIET, TASK
from skfusion.cli.commands._choices import BUILT_IN, among
from skfusion.cli.commands._imported import imported

FUSIONS = (
    *("single", "uniform-soup", "greedy-soup", "finetune-soup", "rebasin", "curve", "swa", "snapshot", "fge"),
    *("ensemble", "selection", "vote", "bagging", "boosting", "stack", "boosted-stack", "tuned", "portfolio"),
)
"""The names in ``FUSIONS`` of `_fusions`, and those in ``EXTRA``."""
EXTRA = ("greedy-soup", "fge", "selection", "vote", "boosting", "stack", "portfolio")
NETS = ("table", "plain")
"""The names in ``NETS`` of `_fusions`."""
BASELINES = ("dummy", "linear", "boosting")
"""The names in ``BASELINES`` of `_compare`."""
SCORERS = (
    *("accuracy", "balanced_accuracy", "f1_macro", "neg_log_loss", "neg_brier_score", "neg_ece", "roc_auc_ovr", "r2"),
    *("neg_root_mean_squared_error", "neg_mean_absolute_error"),
)
"""The usual ones, as in ``USUAL`` of `_scoring`."""


def compare(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Option(help=f"{', '.join(BUILT_IN)}, or a .csv or .parquet file.", autocompletion=among(BUILT_IN)),
    ],
    target: Annotated[str | None, typer.Option(help="Column to predict, in files.")] = None,
    task: TASK = "auto",
    fusion: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Of {', '.join(FUSIONS)}; can be repeated. By default all that suit but {', '.join(EXTRA)}.",
            autocompletion=among(FUSIONS),
        ),
    ] = None,
    net: Annotated[
        str,
        typer.Option(
            help="table: one that encodes numbers and embeds categories; plain: a small perceptron.",
            autocompletion=among(NETS),
        ),
    ] = "table",
    baselines: Annotated[
        bool, typer.Option(help="Compare with a dummy, a linear model, and boosted trees of scikit-learn, too.")
    ] = True,
    reference: Annotated[
        str | None,
        typer.Option(
            help="Fusion or baseline that all are compared with: by default single, or the best row without it.",
            autocompletion=among([*FUSIONS, *BASELINES]),
        ),
    ] = None,
    scoring: Annotated[
        list[str] | None,
        typer.Option(
            help="Scorer of scikit-learn, or neg_ece; can be repeated, the first ranks. Accuracy or R2 by default.",
            autocompletion=among(SCORERS),
        ),
    ] = None,
    cv: Annotated[int, typer.Option(min=2, help="Folds.")] = 5,
    members: Annotated[int, typer.Option(min=1, help="Networks of a fusion.")] = 5,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of a training; as many as the net has.")] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Of each fit of portfolio, after which none of its members begins."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of all randomness.")] = 0,
    n_jobs: Annotated[int, typer.Option(help="Folds at a time; -1 for all cores.")] = 1,
    as_json: JSON = False,
    quiet: QUIET = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the report, the table and the best model.")] = None,
) -> None:
    """Cross-validate fusions of networks on one data set and show a leaderboard.

    Columns of files are prepared: numbers are imputed by their median, dates become numbers, text and truth values are
    categories, with missing ones as a value of their own. The net for tables embeds categories; with --net plain they
    are one-hot encoded, and numbers standardised. Constant columns, identifiers and free text are dropped. Notes say
    what was done to which column.
    """
    imported("_compare").run(
        context=context,
        data=data,
        target=target,
        task=task,
        fusion=fusion,
        net=net,
        baselines=baselines,
        reference=reference,
        scoring=scoring,
        cv=cv,
        members=members,
        epochs=epochs,
        time_limit=time_limit,
        seed=seed,
        n_jobs=n_jobs,
        as_json=as_json,
        quiet=quiet,
        out=out,
    )
