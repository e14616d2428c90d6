"""The command ``skfusion merge``: checkpoints on disk to one."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import isabstract
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from skfusion import merge as mergers
from skfusion.checkpoints import MergeReport, merge_checkpoints
from skfusion.cli._console import BASE, CHECKPOINTS, KEY, STRIP_PREFIX, fail, in_bytes, message_of, progress
from skfusion.merge import Merger

BAR = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
_NUMBER = re.compile(r"[\d.,eE+-]*\d[\d.,eE+-]*")


def _dare(scale: float | None = None, seed: int = 0, **params: Any) -> Merger:
    merge = {} if scale is None else {"merge": mergers.TaskArithmetic(scale)}
    return mergers.DARE(**params, **merge, random_state=seed)


METHODS: dict[str, tuple[Callable[..., Merger], tuple[str, ...]]] = {
    "uniform": (mergers.Uniform, ("weights",)),
    "task-arithmetic": (mergers.TaskArithmetic, ("scale", "weights")),
    "interpolate": (mergers.Interpolate, ("t",)),
    "ties": (mergers.TIES, ("density", "scale")),
    "dare": (_dare, ("rate", "scale", "seed")),
    "breadcrumbs": (mergers.Breadcrumbs, ("density", "gamma", "scale")),
    "slerp": (mergers.Slerp, ("weights",)),
    "model-stock": (mergers.ModelStock, ()),
    "decay": (mergers.DecayMerge, ("decay",)),
    "post-hoc-ema": (mergers.PostHocEMA, ("sigma", "time", "profiles")),
}
"""Mergers by name, with the options of the command that they take."""


def merge(
    inputs: CHECKPOINTS,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .safetensors file to write.", show_default=False)],
    method: Annotated[str, typer.Option(help=f"Of {', '.join(METHODS)}.")] = "uniform",
    base: BASE = None,
    weights: Annotated[str | None, typer.Option(help="A number for each checkpoint, such as 1,2,3.")] = None,
    scale: Annotated[float | None, typer.Option(help="Factor of the changes from the base.")] = None,
    t: Annotated[float | None, typer.Option("--t", help="How far to go from the base, 0 to 1.")] = None,
    density: Annotated[float | None, typer.Option(help="Share of the changes that is kept.")] = None,
    gamma: Annotated[float | None, typer.Option(help="Share of the largest changes that is left out.")] = None,
    rate: Annotated[float | None, typer.Option(help="Probability of dropping a change.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of what is dropped.")] = None,
    decay: Annotated[str | None, typer.Option(help="Of the rate: linear, cosine or 1-sqrt.")] = None,
    sigma: Annotated[float | None, typer.Option(help="Length of the average, relative to the run.")] = None,
    time: Annotated[float | None, typer.Option(help="When the average is taken; at the last snapshot.")] = None,
    profiles: Annotated[
        str | None, typer.Option(help="Length and time of each snapshot, such as 0.05@100,0.1@100.")
    ] = None,
    head: Annotated[
        list[str] | None, typer.Option(help="Beginning of names that are not merged, but taken from the first; repeat.")
    ] = None,
    keep_heads: Annotated[
        bool, typer.Option("--keep-heads", help="Do so with all that is not in all, or differs in shape.")
    ] = False,
    key: KEY = None,
    strip_prefix: STRIP_PREFIX = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the result of an earlier merge.")] = False,
) -> None:
    """Merge checkpoints on disk into one, in little memory.

    A tensor has the dtype of the first checkpoint, and what is not the same in all is an error. The result appears when
    it is complete, and holds a model card with the hashes of its inputs. No code in a file is run.
    """
    options = {
        **{"weights": weights, "scale": scale, "t": t, "density": density},
        **{"gamma": gamma, "rate": rate, "seed": seed},
        **{"decay": decay, "sigma": sigma, "time": time, "profiles": profiles},
    }
    try:
        _check_weights(inputs, weights)
        merger = merger_of(method, {name: value for name, value in options.items() if value is not None}, base)
        with progress(BAR, in_bytes) as update, _ended_by_sigterm():
            report = merge_checkpoints(
                inputs,
                out,
                merger,
                base=base,
                heads=head or (),
                keep_heads=keep_heads,
                key=key,
                strip_prefix=strip_prefix or (),
                overwrite=force,
                dry_run=dry_run,
                progress=update,
            )
    except (ValueError, TypeError, OSError) as error:
        refused = isinstance(error, ValueError | TypeError | FileNotFoundError | FileExistsError)
        fail(message_of(error), 2 if refused else 1)
    _show(report, dry_run)


def merger_of(method: str, options: dict[str, Any], base: Path | None) -> Merger:
    """Return the merger of a name with the options that were given; a base is refused where it is not used."""
    if method not in METHODS:
        kinds = [kind for kind in map(vars(mergers).get, mergers.__all__) if isinstance(kind, type)]
        others = {k.__name__.lower(): k.__name__ for k in kinds if issubclass(k, Merger) and not isabstract(k)}
        if name := others.get(method.replace("-", "").lower()):
            raise ValueError(
                f"--method {method}: {name} asks for a network or for data, and files are merged without: take it in "
                f"Python, such as in SoupClassifier(net, collect=pool, merge={name}()). For files there are "
                f"{', '.join(METHODS)}."
            )
        raise ValueError(f"--method {method} is unknown; there are {', '.join(METHODS)}.")
    kind, known = METHODS[method]
    if wrong := [name for name in options if name not in known]:
        takes = ", ".join(f"--{name}" for name in known) or "no such option"
        users = ", ".join(name for name, (_, others) in METHODS.items() if wrong[0] in others)
        raise ValueError(f"--{wrong[0]} is not for --method {method}, which takes {takes}. It is for {users}.")
    if "weights" in options:
        options = {**options, "weights": _numbers(options["weights"])}
    if "profiles" in options:
        options = {**options, "profiles": _profiles(options["profiles"])}
    merger = kind(**options)
    if base is not None and not merger.needs_base:
        raise ValueError(f"--base is not for --method {method}, which does not look at it. Leave it out.")
    return merger


def _check_weights(inputs: list[Path], weights: str | None) -> None:
    """Raise ``ValueError`` where weights with spaces between them were taken for checkpoints."""
    loose = [path.name for path in inputs if _NUMBER.fullmatch(str(path)) and not path.exists()]
    if weights is not None and loose:
        given = ",".join(word.strip(",") for word in (weights, *loose))
        raise ValueError(f"There is no checkpoint {loose[0]}. Weights have commas between them: --weights {given}")


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise ValueError(f"--weights must be numbers with commas between them, such as 1,2,3; got {text!r}.") from None


def _profiles(text: str) -> tuple[tuple[float, float], ...]:
    try:
        pairs = [tuple(map(float, word.split("@"))) for word in text.split(",")]
        return tuple((sigma, time) for sigma, time in pairs)
    except ValueError:
        raise ValueError(
            "--profiles must be a length and a time for each snapshot, with commas between them, such as "
            f"0.05@100,0.1@100; got {text!r}."
        ) from None


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Turn the signal that ends a process into an exception, so that no temporary file is left."""

    def end(number: int, frame: Any) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show(report: MergeReport, planned: bool) -> None:
    console = Console()
    if planned:
        grid = Table(box=SIMPLE_HEAD, pad_edge=False)
        grid.add_column("tensor", overflow="fold")
        for name in ("shape", "dtype", "size"):
            grid.add_column(name, justify="right", no_wrap=True)
        grid.add_column("what becomes of it", overflow="fold")
        for t in report.plan:
            shape = " x ".join(map(str, t.shape)) or "number"
            grid.add_row(escape(t.name), shape, t.dtype, in_bytes(t.n_bytes), escape(t.action))
        console.print(grid)
    for note in report.notes:
        console.print(f"[yellow]Note:[/] {escape(note)}", highlight=False, soft_wrap=True)
    base = "" if report.base is None else f" from {report.base}"
    tensors = "1 tensor" if len(report.plan) == 1 else f"{len(report.plan)} tensors"
    what = f"{tensors}, {in_bytes(report.n_bytes)}, {report.method} of {len(report.inputs)}{base}"
    if planned:
        ending = f"Would write {report.out}: {what}. It takes about {in_bytes(report.peak_bytes)} of memory."
    else:
        ending = f"Wrote {report.out}: {what}."
    console.print(escape(ending), highlight=False, soft_wrap=True)
