"""Check the members of a pool; a message says how something else becomes one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from skfusion.pool._member import Member


def members_in(argument: Any) -> tuple[Member, ...]:
    """Return members as a tuple, or raise an error that says how the argument becomes a pool."""
    if isinstance(argument, str | os.PathLike):
        raise TypeError(
            f"A pool is made of members; got the path {os.fspath(argument)!r}. Read the folder of a pool by "
            "ModelPool.load(path), and checkpoints by ModelPool.from_files({name: path, ...})."
        )
    if isinstance(argument, Mapping):
        if any(isinstance(value, Tensor) for value in argument.values()):
            raise TypeError(
                "A pool is made of members; got one state dict. Give it a name: ModelPool([Member('a', state)])."
            )
        raise TypeError(
            f"A pool is made of a list of members; got a {type(argument).__name__}. States by name become one by "
            "ModelPool([Member(name, s) for name, s in states.items()]), paths by name by ModelPool.from_files(paths)."
        )
    try:
        members = tuple(argument)
    except TypeError:
        raise TypeError(
            f"A pool is made of a list of members; got a {type(argument).__name__}. Give [member, ...]."
        ) from None
    for place, item in enumerate(members):
        if not isinstance(item, Member):
            raise TypeError(f"Item {place} of a pool must be a Member; got {_remedy(item)}")
    if not members:
        raise ValueError("A pool needs at least one member; got none.")
    if twice := sorted(name for name, n in Counter(m.name for m in members).items() if n > 1):
        raise ValueError(f"Member names must be unique in a pool; these occur more than once: {twice}.")
    return members


def _remedy(item: Any) -> str:
    """Return what an item is that is no member, and how a member is made of it."""
    if isinstance(item, str | os.PathLike):
        return f"the path {os.fspath(item)!r}. Read checkpoints by ModelPool.from_files({{name: path, ...}})."
    if isinstance(item, Mapping):
        return f"a {type(item).__name__}. Give a state dict a name: Member('a', state)."
    if hasattr(item, "module_"):
        return f"a fitted {type(item).__name__}. Fitted nets become a pool by ModelPool.from_estimators(nets)."
    if isinstance(item, nn.Module):
        return f"a module, {type(item).__name__}. Give its state a name: Member('a', module.state_dict())."
    return f"a {type(item).__name__}. Members are made by Member(name, state)."
