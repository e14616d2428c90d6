"""Checkpoints on disk, in the terms of a command and of Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skfusion.diagnose._recipes import Recipes


def recipes_for(inputs: Sequence[Path], checkpoints: Sequence[str], names: Sequence[str]) -> tuple[Recipes, str]:
    """Return how to write code about checkpoints, and a note on what it speaks of.

    Parameters
    ----------
    inputs : sequence of Path
        What the command was given.
    checkpoints : sequence of str
        Names of the checkpoints: paths, or ``path[member]`` where they are in a pool.
    names : sequence of str
        What the report calls them.

    Returns
    -------
    recipes : Recipes
        For the report.
    note : str
        How the networks are read in Python.
    """
    given = {str(path) for path in inputs}
    files = {name: path for name, path in zip(names, checkpoints, strict=True) if path in given}
    recipes = Recipes("members", "--fit-data", True, files, [str(path) for path in inputs])
    members = [_member(path, name, path in given) for path, name in zip(checkpoints, names, strict=True)]
    whole = f"ModelPool.load({str(inputs[0])!r})"
    if len(inputs) > 1 or members != [f"{whole}[{name!r}]" for name in names]:
        whole = f"ModelPool([{', '.join(members)}])"
    return recipes, (
        f"In Python, members = {whole}, of skfusion.pool, and net is a skorch net with your module; fit what is made "
        "of them on rows that none was trained on."
    )


def _member(path: str, name: str, is_file: bool) -> str:
    if is_file:
        return f"Member({name!r}, read_checkpoint({path!r}))"
    pool, _, own = path.rpartition("[")
    text = f"ModelPool.load({pool!r})[{own.removesuffix(']')!r}]"
    return text if own.removesuffix("]") == name else f"{text}.replace(name={name!r})"
