"""What ``skfusion compare`` does: a leaderboard of fusions on one data set, and its report."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import typer
from rich.console import Console
from rich.markup import escape

from skfusion._progress import Bar
from skfusion.cli import _json, _leaderboard, _report, _scoring
from skfusion.cli._console import fail, warn, working
from skfusion.cli._folds import check_folds
from skfusion.cli._fusions import about_nets, chosen, net_for, prepared
from skfusion.cli._plain import print_json
from skfusion.cli._sources import DataError
from skfusion.cli._table import Data, load
from skfusion.cli._verdict import verdict_of
from skfusion.compare import ComparisonBar, compare_fusions, of_few_folds

BASELINES = ("dummy", "linear", "boosting")


def run(
    *,
    context: typer.Context,
    data: str,
    target: str | None,
    task: str,
    fusion: list[str] | None,
    net: str,
    baselines: bool,
    reference: str | None,
    scoring: list[str] | None,
    cv: int,
    members: int,
    epochs: int | None,
    time_limit: float | None,
    seed: int,
    n_jobs: int,
    as_json: bool,
    quiet: bool,
    out: Path | None,
) -> None:
    """Compare fusions on a data set as the options say, and show the leaderboard."""
    torch.set_num_threads(1)  # small networks are faster so, and processes do not compete
    try:
        dataset = load(data, target, task)
        fusions = chosen(fusion or [], net_for(net, dataset, epochs), dataset.task, members, time_limit)
        _check_reference(reference, fusions, baselines)
        scorers = _scoring.checked(scoring or [], dataset.y, dataset.task)
        rare = check_folds(dataset, cv)
        if out is not None:
            _report.check_folder(out)
    except ValueError as error:
        fail(str(error), 2)
    reference = reference or ("single" if "single" in fusions else None)
    fusions = {name: prepared(e.set_params(random_state=seed), dataset, net) for name, e in fusions.items()}
    console = Console(stderr=as_json, quiet=quiet)

    def show_notes(notes: Iterable[str]) -> None:
        for note in notes:
            console.print(f"[dim]{escape(note)}[/]", highlight=False)

    before = [*dataset.notes, *about_nets(net, dataset, fusions, _given(context, "members", "epochs", "net")), *rare]
    show_notes(before)
    asked = {"baselines": [*BASELINES] if baselines else [], "reference": reference}
    settings = {"scoring": scorers or None, "cv": cv, "n_jobs": n_jobs, "random_state": seed}
    try:
        table, warned = _compared(dataset, fusions, {**asked, **settings}, quiet)
    except RuntimeError as error:
        fail(str(error), 1)
    score = table.attrs["scores"][0]
    others = [name for name in table.index if name not in fusions]
    best = _best_of(table.loc[[*fusions], f"{score}_mean"])
    verdict = verdict_of(table, others)
    notes = [*_alone(table), *_held_out(table), *_about_baselines(table[f"{score}_mean"], best, others)]
    notes += filter(None, [of_few_folds(table.attrs["n_folds"], len(table))])
    if as_json:
        said = {"verdict": asdict(verdict)}
        print_json(_json.record(table, dataset, others, [*before, *notes], warned, best, context.params) | said)
    else:
        title = f"{dataset.name}: {len(dataset.y)} rows, {table.attrs['n_folds']} folds"
        _leaderboard.show(console, title, table, score, others)
        console.print(f"[bold]{escape(verdict.headline)}[/] {escape(' '.join(verdict.details))}", highlight=False)
    show_notes(notes)
    if best is None:
        fail(f"No fusion has a score, {score}, in all folds, so none is the best.", 1)
    if out is not None:
        with working(f"Fitting {best} on all rows and writing the report", quiet):
            _report.write(out, dataset, fusions, table, best, verdict, [*before, *notes], context.params)
        console.print(escape(f"The report is in {out / 'index.html'}."), highlight=False, soft_wrap=True)
    if quiet and not as_json:
        typer.echo(best if out is None else out / "index.html")


def _given(context: typer.Context, *names: str) -> list[str]:
    """Return the options that were given, of some, as they are written."""
    sources = {name: context.get_parameter_source(name) for name in names}
    return [f"--{name}" for name, source in sources.items() if source is not None and source.name != "DEFAULT"]


def _check_reference(reference: str | None, fusions: Iterable[str], baselines: bool) -> None:
    """Raise where a reference will be no row of the table, in which baselines are marked if a fusion has their name."""
    rows = [*fusions]
    rows += [f"{name} (baseline)" if name in rows else name for name in BASELINES if baselines]
    if reference is not None and reference not in rows:
        near = get_close_matches(reference, rows, 1)
        meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(rows)}."
        raise DataError(f"--reference {reference} is no row of the table; {meant}")


def _compared(
    dataset: Data, fusions: dict[str, Any], settings: dict[str, Any], quiet: bool = False
) -> tuple[pd.DataFrame, list[str]]:
    """Return the table, and the warnings that came up, which are shown, too."""
    bar = Bar(console=Console(stderr=True, quiet=quiet), each=True)
    with bar, warnings.catch_warnings(record=True) as caught:
        for category in (UserWarning, RuntimeWarning):
            warnings.simplefilter("always", category)
        for said in ("Classes of fewer", "With 2 folds"):  # notes say it
            warnings.filterwarnings("ignore", said, UserWarning)
        table = compare_fusions(fusions, dataset.X, dataset.y, callback=ComparisonBar(bar), **settings)
    messages = [*dict.fromkeys(" ".join(str(w.message).split()) for w in caught)]
    for message in messages:
        warn(message)
    return table, messages


def _best_of(means: pd.Series) -> str | None:
    """Return the name with the largest mean; None where there is no number."""
    known = means[np.isfinite(means)]
    return None if known.empty else str(known.idxmax())


def _about_baselines(means: pd.Series, best: str | None, baselines: Sequence[str]) -> list[str]:
    """Return a note where baselines have a larger mean than the best fusion."""
    ahead = [name for name in baselines if best is not None and means[name] > means[best]]
    return [f"No fusion has a better mean than {' and '.join(ahead)}; the best fusion is {best}."] if ahead else []


def _held_out(table: pd.DataFrame) -> list[str]:
    """Return notes on the fusions whose members are not trained on all rows that a fold trains on."""
    trained: dict[str, list[str]] = {}
    for name, rows in table.attrs.get("trained_on", {}).items():
        trained.setdefault(rows, []).append(name)
    return [f"Trained on {rows}: {', '.join(names)}." for rows, names in trained.items() if rows != "all rows"]


def _alone(table: Any) -> list[str]:
    """Return a note on each soup that was a single one of its members in some folds."""
    folds = table.attrs["folds"]
    counts = folds[(folds["n_merged"] == 1) & (folds["n_collected"] > 1)].groupby("fusion", sort=False).size()
    return [
        f"In {n} of {table.attrs['n_folds']} folds {name} kept its best member alone: no mean of that with another one "
        "scored better on held-out rows, as between independent networks there are barriers."
        for name, n in counts.items()
    ]
