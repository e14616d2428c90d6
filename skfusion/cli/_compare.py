"""The command ``skfusion compare``: a leaderboard of fusions on one data set, and its report."""

from __future__ import annotations

import importlib.util
import os
import shlex
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import joblib
import numpy as np
import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from sklearn.base import clone
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

import skfusion
from skfusion._rows import rows_at
from skfusion.cli import _report
from skfusion.cli._console import TASK, fail, progress
from skfusion.cli._folds import check_folds
from skfusion.cli._table import Data, DataError, load
from skfusion.collect import Bootstrap, Seeds, Tail
from skfusion.combine import EnsembleSelection, Stack, Vote
from skfusion.compare import compare_fusions
from skfusion.merge import Greedy, OneMemberWarning, Uniform
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.pool import LeakageWarning

BAR = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
ENSEMBLE = (skfusion.EnsembleClassifier, skfusion.EnsembleRegressor)


@dataclass(frozen=True)
class Choice:
    """A fusion by name."""

    says: str  # what it is, in one sentence
    parts: Callable[[int], dict[str, Any]]  # ``parts(n_members)`` are the parameters
    kinds: tuple[type, type] = ENSEMBLE  # the classifier and the regressor
    regression: bool = True  # whether it can predict values

    def build(self, task: str, n_members: int, n_epochs: int) -> Any:
        """Return the unfitted estimator."""
        classify = task == "classification"
        net = (mlp_classifier if classify else mlp_regressor)(max_epochs=n_epochs)
        return self.kinds[not classify](net, **self.parts(n_members))


SOUP = (skfusion.SoupClassifier, skfusion.SoupRegressor)
AVERAGING = (skfusion.WeightAveragingClassifier, skfusion.WeightAveragingRegressor)
SNAPSHOT = (skfusion.SnapshotEnsembleClassifier, skfusion.SnapshotEnsembleRegressor)
FAST_GEOMETRIC = (skfusion.FastGeometricEnsembleClassifier, skfusion.FastGeometricEnsembleRegressor)
FUSIONS = {
    "single": Choice("One network: what all others must beat.", lambda n: {"collect": Seeds(1)}),
    "uniform-soup": Choice(
        "One network with the mean weights of independent networks; expected to fail, as these lie in different "
        "valleys of the loss and their mean lies between.",
        lambda n: {"collect": Seeds(n), "merge": Uniform()},
        SOUP,
    ),
    "greedy-soup": Choice(
        "One network: the best member, averaged with each other one that does not lower the held-out score.",
        lambda n: {"collect": Seeds(n), "merge": Greedy()},
        SOUP,
    ),
    "swa": Choice(
        "One network with the mean weights of the last quarter of a single training (stochastic weight averaging).",
        lambda n: {},
        AVERAGING,
    ),
    "snapshot": Choice(
        "Many networks from a single training whose learning rate falls and starts again; their predictions are "
        "averaged.",
        lambda n: {"n_cycles": n},
        SNAPSHOT,
    ),
    "fge": Choice(
        "Many networks from short cycles of the learning rate at the end of a single training; their predictions are "
        "averaged (fast geometric ensembling).",
        lambda n: {"n_members": n},
        FAST_GEOMETRIC,
    ),
    "ensemble": Choice(
        "Many independent networks, whose predictions are averaged (deep ensemble).", lambda n: {"collect": Seeds(n)}
    ),
    "selection": Choice(
        "Many independent networks, averaged with the weights that greedy selection on held-out rows gives them; some "
        "have none.",
        lambda n: {"collect": Seeds(n), "combine": EnsembleSelection()},
    ),
    "vote": Choice(
        "Many independent networks, each with one vote for a class.",
        lambda n: {"collect": Seeds(n), "combine": Vote()},
        regression=False,
    ),
    "bagging": Choice(
        "Many networks, each trained on rows drawn with replacement; their predictions are averaged.",
        lambda n: {"collect": Bootstrap(n)},
    ),
    "boosting": Choice(
        "Many networks trained one after another, each on what those before it get wrong, with a weighted vote or "
        "median.",
        lambda n: {"n_members": n},
        (skfusion.BoostingFusion, skfusion.BoostingFusion),
    ),
    "stack": Choice(
        "Many independent networks and a linear model, fitted on out-of-fold predictions, that combines theirs.",
        lambda n: {"collect": Seeds(n), "combine": Stack()},
    ),
}


def compare(
    context: typer.Context,
    data: Annotated[str, typer.Option(help="breast_cancer, diabetes, digits, iris, wine, or a .csv or .parquet file.")],
    target: Annotated[str | None, typer.Option(help="Column to predict, in files.")] = None,
    task: TASK = "auto",
    fusion: Annotated[
        list[str] | None, typer.Option(help=f"Of {', '.join(FUSIONS)}; can be repeated. All that suit by default.")
    ] = None,
    cv: Annotated[int, typer.Option(min=2, help="Folds.")] = 5,
    members: Annotated[int, typer.Option(min=1, help="Networks of a fusion.")] = 5,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of a training.")] = 30,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of all randomness.")] = 0,
    n_jobs: Annotated[int, typer.Option(help="Folds at a time; -1 for all cores.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder for the report, the table and the best model.")] = None,
) -> None:
    """Cross-validate fusions of networks on one data set and show a leaderboard.

    Columns of files are prepared: numbers are imputed by their median and standardised, text and truth values are
    one-hot encoded with missing ones as a value of their own. Constant columns and identifiers are dropped with a note.
    """
    torch.set_num_threads(1)  # small networks are faster so, and processes do not compete
    try:
        dataset = load(data, target, task)
        networks = _chosen(fusion or [], dataset.task, members, epochs)
        rare = check_folds(dataset, cv)
        if out is not None:
            _check_folder(out)
    except ValueError as error:
        fail(str(error), 2)
    fusions = {name: estimator.set_params(random_state=seed) for name, estimator in networks.items()}
    if dataset.prepare is not None:
        fusions = {name: Pipeline([("prepare", dataset.prepare), ("fusion", e)]) for name, e in fusions.items()}
    console = Console()

    def show_notes(notes: Iterable[str]) -> None:
        for note in notes:
            console.print(f"[dim]{escape(note)}[/]", highlight=False)

    show_notes([*dataset.notes, *rare])
    try:
        table = _compared(dataset, fusions, cv, n_jobs, seed)
    except RuntimeError as error:
        fail(str(error), 1)
    score = table.attrs["scores"][0]
    best = str(table[f"{score}_mean"].idxmax())
    title = f"{dataset.name}: {len(dataset.y)} rows, {table.attrs['n_folds']} folds"
    _report.show(console, title, table, score, best)
    alone = _alone(table)
    show_notes(alone)
    if out is not None:
        with console.status(f"Fitting {best} on all rows and writing the report"):
            _write(out, dataset, fusions, table, best, [*dataset.notes, *rare, *alone], context.params)
        console.print(escape(f"The report is in {out / 'index.html'}."), highlight=False, soft_wrap=True)


def _chosen(names: list[str], task: str, n_members: int, n_epochs: int) -> dict[str, Any]:
    """Return unfitted estimators by name, of all fusions that suit the task where no names are given."""
    suited = [name for name, choice in FUSIONS.items() if choice.regression or task == "classification"]
    if wrong := [name for name in names if name not in suited]:
        why = "is not for regression" if wrong[0] in FUSIONS else "is unknown"
        raise ValueError(f"--fusion {wrong[0]} {why}; there are {', '.join(suited)}.")
    return {name: FUSIONS[name].build(task, n_members, n_epochs) for name in dict.fromkeys(names or suited)}


def _check_folder(out: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        raise DataError('The report of --out needs matplotlib: pip install "skfusion[plots]".')
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"The folder of --out cannot be made: {error}.") from error
    if not os.access(out, os.W_OK):
        raise DataError(f"The folder {out} of --out cannot be written to.")


def _compared(dataset: Data, fusions: dict[str, Any], cv: int, n_jobs: int, seed: int) -> Any:
    total, n_done = cv * len(fusions), 0
    with progress(BAR) as update:
        update("Comparing", 0, total)

        def done(name: str, fold: int) -> None:
            nonlocal n_done
            n_done += 1
            update(f"fold {fold + 1}, {name}", n_done, total)

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Classes of fewer", UserWarning)  # a note says it
            return compare_fusions(
                fusions, dataset.X, dataset.y, cv=cv, n_jobs=n_jobs, random_state=seed, callback=done
            )


def _alone(table: Any) -> list[str]:
    """Return a note on each soup that was a single one of its members in some folds."""
    folds = table.attrs["folds"]
    counts = folds[(folds["n_merged"] == 1) & (folds["n_collected"] > 1)].groupby("fusion", sort=False).size()
    return [
        f"In {n} of {table.attrs['n_folds']} folds {name} kept its best member alone: no mean of that with another one "
        "scored better on held-out rows, as between independent networks there are barriers."
        for name, n in counts.items()
    ]


def _command(options: dict[str, Any]) -> str:
    """Return the command with all of its options, but with a task only where there is a target."""
    words = ["skfusion", "compare"]
    for name, given in options.items():
        values = given if isinstance(given, list) else [given]
        if name != "task" or options["target"] is not None:
            words += [w for value in values if value is not None for w in (f"--{name.replace('_', '-')}", str(value))]
    return shlex.join(words)


def _write(
    out: Path, dataset: Data, fusions: dict[str, Any], table: Any, best: str, notes: list[str], options: dict[str, Any]
) -> None:
    from skfusion.plots import LeaderboardDisplay

    score = table.attrs["scores"][0]
    table.to_csv(out / "leaderboard.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OneMemberWarning)  # the notes say so
        warnings.filterwarnings("ignore", "Classes of fewer", UserWarning)
        model = clone(fusions[best]).fit(dataset.X, dataset.y)
    joblib.dump(model, out / "model.joblib.part")
    os.replace(out / "model.joblib.part", out / "model.joblib")
    (model[-1] if dataset.prepare is not None else model).pool_.save(out / "pool")
    ranking = LeaderboardDisplay.from_frame(table, score).plot()
    text = _report.page(
        table,
        score,
        notes,
        title=f"Fusions compared on {dataset.name}",
        lead=f"{len(dataset.y)} rows, {dataset.task}, {table.attrs['n_folds']} folds. Best by mean {score}: {best}, "
        f"{table.loc[best, f'{score}_mean']:.3f}.",
        leaderboard=_report.image(ranking.figure_, f"{score} of each fusion with its interval"),
        barriers=_barriers(dataset, options["epochs"], options["seed"]),
        says={name: FUSIONS[name].says for name in table.index},
        best=best,
        command=_command(options),
        seed=str(options["seed"]),
        takes="an array" if dataset.prepare is None else "a DataFrame with the columns of the file",
    )
    (out / "index.html").write_text(text, encoding="utf-8")


def _barriers(dataset: Data, epochs: int, seed: int) -> list[tuple[str, str]]:
    """Draw the line between two independent networks, and between two states of one training, on the same scales."""
    from skfusion.plots import BarrierDisplay

    classify = dataset.task == "classification"
    kept = np.arange(len(dataset.y))
    if classify:  # without classes of one row, which would be on one side alone
        _, code, counts = np.unique(dataset.y, return_inverse=True, return_counts=True)
        kept = np.flatnonzero(counts[code] >= 2)
    first, second = train_test_split(kept, random_state=seed, stratify=dataset.y[kept] if classify else None)
    A, B, y_A, y_B = (rows_at(data, part) for data in (dataset.X, dataset.y) for part in (first, second))
    if dataset.prepare is not None:
        prepare = clone(dataset.prepare).fit(A)
        A, B = prepare.transform(A), prepare.transform(B)
    net = (mlp_classifier if classify else mlp_regressor)(max_epochs=epochs)
    displays = {}
    for title, collect in [("Two independent networks", Seeds(2)), ("One training, two epochs of its end", Tail())]:
        pool = ENSEMBLE[not classify](net, collect=collect, random_state=seed).fit(A, y_A).pool_
        if len(pool) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", LeakageWarning)  # about equal rows, which the table itself has
                displays[title] = BarrierDisplay.from_pool(pool, B, y_B, members=(0, -1)).plot()
    for axis in ("ax_", "score_ax_"):
        limits = np.array([getattr(d, axis).get_ylim() for d in displays.values()])
        for d in displays.values():
            getattr(d, axis).set_ylim(limits[:, 0].min(), limits[:, 1].max())
    return [(title, _report.image(d.figure_, f"{title}: barrier {d.barrier:.3g}")) for title, d in displays.items()]
