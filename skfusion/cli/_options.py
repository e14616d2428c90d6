"""Options of all commands that read checkpoints."""

from __future__ import annotations

from typing import Annotated

import typer

KEY = Annotated[
    str | None, typer.Option(help="The entry with the state in files of torch.save, such as ema or ema.module.")
]
STRIP_PREFIX = Annotated[
    list[str] | None, typer.Option(help="Beginning of names, such as model., to take off where it is; repeat.")
]
