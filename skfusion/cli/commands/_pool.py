"""The options of ``skfusion pool ls``, ``show``, ``verify``, ``rm`` and ``merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skfusion.cli._console import JSON, QUIET
from skfusion.cli._help import Command, Group
from skfusion.cli.commands._choices import members_in
from skfusion.cli.commands._imported import imported

FOLDER = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a pool.", show_default=False)]

pool = typer.Typer(
    cls=Group, no_args_is_help=True, help="Look into pools on disk, check, change and merge them.", add_completion=False
)


@pool.command("ls", cls=Command)
def ls(folder: FOLDER, as_json: JSON = False, quiet: QUIET = False) -> None:
    """List the members of a pool: scores, sizes, architectures and where they are from.

    Members of one architecture have tensors of the same names, shapes and dtypes. No weights are read.
    """
    imported("_pool").ls(folder, as_json, quiet)


@pool.command("show", cls=Command)
def show(
    folder: FOLDER,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The name of the member.",
            show_default=False,
            autocompletion=members_in("folder"),
        ),
    ],
    as_json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Show all that is known of a member: settings, tensors, files, where it is from. No weights are read."""
    imported("_pool").show(folder, name, as_json, quiet)


@pool.command("verify", cls=Command)
def verify(folder: FOLDER, as_json: JSON = False, quiet: QUIET = False) -> None:
    """Read all files of a pool and check their hashes.

    Files that are damaged, missing or left over are named, and the exit code is 1 where one of the first two is.
    """
    imported("_pool").verify(folder, as_json, quiet)


@pool.command("rm", cls=Command)
def rm(
    folder: FOLDER,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            help="Members, also patterns such as 'seed-*'.",
            show_default=False,
            autocompletion=members_in("folder"),
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Remove members from a pool, with the files that no other member needs."""
    imported("_pool").rm(folder, names, yes, as_json, quiet)


@pool.command("merge", cls=Command)
def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER", help="Folders of pools.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A new folder, or that of a pool to add to.", show_default=False)
    ],
    prefix: Annotated[
        bool, typer.Option("--prefix", help="Call another member of a name that is taken after its folder.")
    ] = False,
    as_json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Make one pool of the members of several, as where each worker has written into its own folder.

    The same member in several folders is written once. The folders that are read are left as they are.
    """
    imported("_pool").merge(folders, out, prefix, as_json, quiet)
