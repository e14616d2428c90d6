"""The options of ``skfusion merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skfusion.cli._console import BASE, CHECKPOINTS, JSON, KEY, QUIET, STRIP_PREFIX
from skfusion.cli.commands._choices import among
from skfusion.cli.commands._imported import imported

METHODS = (
    *("uniform", "task-arithmetic", "interpolate", "ties", "dare", "breadcrumbs", "slerp", "model-stock", "decay"),
    "post-hoc-ema",
)
"""The names in ``METHODS`` of `_merge`."""
DECAYS = ("linear", "cosine", "1-sqrt")
"""The names that ``DecayMerge`` knows."""


def merge(
    inputs: CHECKPOINTS,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .safetensors file to write.", show_default=False)],
    method: Annotated[str, typer.Option(help=f"Of {', '.join(METHODS)}.", autocompletion=among(METHODS))] = "uniform",
    base: BASE = None,
    weights: Annotated[str | None, typer.Option(help="A number for each checkpoint, such as 1,2,3.")] = None,
    scale: Annotated[float | None, typer.Option(help="Factor of the changes from the base.")] = None,
    t: Annotated[float | None, typer.Option("--t", help="How far to go from the base, 0 to 1.")] = None,
    density: Annotated[float | None, typer.Option(help="Share of the changes that is kept.")] = None,
    gamma: Annotated[float | None, typer.Option(help="Share of the largest changes that is left out.")] = None,
    rate: Annotated[float | None, typer.Option(help="Probability of dropping a change.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of what is dropped.")] = None,
    decay: Annotated[
        str | None, typer.Option(help="Of the rate: linear, cosine or 1-sqrt.", autocompletion=among(DECAYS))
    ] = None,
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
    no_hash: Annotated[
        bool, typer.Option("--no-hash", help="Leave the hashes of the checkpoints out of the card, which saves time.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the result of an earlier merge.")] = False,
    as_json: JSON = False,
    quiet: QUIET = False,
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
    imported("_merge").run(
        inputs,
        out,
        method,
        {name: value for name, value in options.items() if value is not None},
        base=base,
        heads=head or (),
        keep_heads=keep_heads,
        key=key,
        strip_prefix=strip_prefix or (),
        hashes=not no_hash,
        dry_run=dry_run,
        overwrite=force,
        as_json=as_json,
        quiet=quiet,
    )
