"""What ``skfusion merge`` does: checkpoints on disk to one."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import isabstract
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from skfusion import merge as mergers
from skfusion.checkpoints import MergeReport, merge_checkpoints
from skfusion.cli._console import fail, in_bytes, message_of, progress
from skfusion.cli._grid import print_grid
from skfusion.cli._near import did_you_mean
from skfusion.cli._plain import print_json
from skfusion.merge import Merger

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


def run(
    inputs: list[Path],
    out: Path,
    method: str,
    options: Mapping[str, Any],
    *,
    base: Path | None,
    heads: Sequence[str],
    keep_heads: bool,
    key: str | None,
    strip_prefix: Sequence[str],
    hashes: bool,
    dry_run: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Merge checkpoints by the method of a name, with the options that were given for it, and say what was done."""
    try:
        _check_weights(inputs, options.get("weights"))
        merger = merger_of(method, options, base)
        with progress(in_bytes, quiet=quiet) as update, _ended_by_sigterm():
            report = merge_checkpoints(
                inputs,
                out,
                merger,
                base=base,
                heads=heads,
                keep_heads=keep_heads,
                key=key,
                strip_prefix=strip_prefix,
                overwrite=overwrite,
                dry_run=dry_run,
                hashes=hashes,
                progress=update,
            )
    except (ValueError, TypeError, OSError) as error:
        refused = isinstance(error, ValueError | TypeError | FileNotFoundError | FileExistsError)
        fail(message_of(error), 2 if refused else 1)
    if as_json:
        print_json(record(report, dry_run))
    elif quiet:
        typer.echo(report.out)
    else:
        _show(report, dry_run)


def record(report: MergeReport, planned: bool) -> dict[str, Any]:
    """Return what a merge has done, or would do, for programs."""
    return {
        "path": str(report.out),
        "written": not planned,
        "method": report.method,
        "inputs": report.inputs,
        "base": report.base,
        "n_bytes": report.n_bytes,
        "peak_bytes": report.peak_bytes,
        "tensors": [tensor._asdict() for tensor in report.plan],
        "notes": report.notes,
        "card": report.card,
    }


def merger_of(method: str, options: Mapping[str, Any], base: Path | None) -> Merger:
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
        near = did_you_mean(method, METHODS)
        raise ValueError(f"--method {method} is unknown; there are {', '.join(METHODS)}.{near}")
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
        columns = {
            "tensor": [t.name for t in report.plan],
            "shape": [" x ".join(map(str, t.shape)) or "number" for t in report.plan],
            "dtype": [t.dtype for t in report.plan],
            "size": [in_bytes(t.n_bytes) for t in report.plan],
            "what becomes of it": [t.action for t in report.plan],
        }
        print_grid(console, columns, ("tensor", "what becomes of it"), can_go=("dtype", "size", "shape"))
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
