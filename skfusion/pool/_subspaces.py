"""Subspaces in the directory of a pool, whose members are the control states."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from skfusion import connect
from skfusion._component import Component
from skfusion.checkpoints.format import PoolFormatError
from skfusion.connect import Basis, Complex, Subspace
from skfusion.pool._member import Member
from skfusion.pool._pool import ModelPool

_KEY = "subspace"
_PLAIN = bool, int, float, str
_OF_ALL = {"controls", "basis", "history"}


def save_subspace(subspace: Subspace, path: Any) -> None:
    """Write a subspace into the directory of a pool, in place of the pool that is there.

    Parameters
    ----------
    subspace : Subspace
        Its control states become members, ``"control-0"`` and so on, so that :meth:`ModelPool.load` reads them too.
    path : path-like
        The directory; see :class:`DirectoryStore`. Nothing in it is code: the basis is written by its name and numbers.

    Examples
    --------
    >>> import tempfile, torch
    >>> from skfusion.connect import Simplicial
    >>> from skfusion.pool import load_subspace, save_subspace
    >>> line = Simplicial(n_connectors=0)([{"w": torch.tensor([v])} for v in (0.0, 4.0)])
    >>> with tempfile.TemporaryDirectory() as path:
    ...     save_subspace(line, path)
    ...     load_subspace(path).at([0.75, 0.25])["w"].item()
    1.0
    """
    more = {f.name: getattr(subspace, f.name) for f in dataclasses.fields(subspace) if f.name not in _OF_ALL}
    about = {
        "kind": _name(type(subspace)),
        "basis": _basis_to_json(subspace.basis),
        "history": [float(loss) for loss in subspace.history],
        "more": {k: [*v] if isinstance(v, tuple) else v for k, v in more.items()},
    }
    metas = ({_KEY: about} if k == 0 else {} for k in range(len(subspace.controls)))
    pairs = zip(subspace.controls, metas, strict=True)
    ModelPool([Member(f"control-{k}", s, meta=m) for k, (s, m) in enumerate(pairs)]).save(path)


def load_subspace(path: Any, basis: Basis | None = None) -> Subspace:
    """Read a subspace from the directory of a pool.

    Parameters
    ----------
    path : path-like
        A directory that :func:`save_subspace` has written.
    basis : Basis, optional
        That of the subspace, where it is one of yours: only those of this library are found by their names.

    Returns
    -------
    Subspace
        The same control states, bit for bit, and the same points.

    Raises
    ------
    PoolFormatError
        If the pool holds no subspace, or one of another version of this library.
    """
    pool = ModelPool.load(path)
    about = pool[0].meta.get(_KEY)
    if not isinstance(about, Mapping):
        raise PoolFormatError(
            f"The pool in {path} holds networks and no subspace. Read it by ModelPool.load, and join its members by a "
            "connector."
        )
    states = pool.states
    try:
        kind = _named(about["kind"], Subspace)
        used = basis or _basis_from_json(about["basis"])
        subspace: Subspace = kind(states, used, about["history"], **about["more"])
    except (KeyError, TypeError, ValueError) as error:
        raise PoolFormatError(
            f"The subspace in {path} cannot be read: {error}. Where its basis is a class of your own, give it as "
            "basis=; else read it by the version of the library that has written it."
        ) from error
    return subspace


def _basis_to_json(basis: Basis) -> dict[str, Any]:
    """Return the name and the numbers of a basis; those of a basis that is not of this library are left out."""
    name = _name(type(basis))
    if type(basis) is Complex:
        return {"name": name, "simplexes": [[*s] for s in basis.simplexes], "shares": basis.shares.tolist()}
    if type(basis) is connect.ByLength:
        arrays = {"t": np.asarray(basis.t).tolist(), "share": np.asarray(basis.share).tolist()}
        return {"name": name, "basis": _basis_to_json(basis.basis), **arrays}
    if getattr(connect, name, None) is not type(basis):
        return {"name": name, "params": {}}
    if isinstance(basis, Component):
        params = basis.get_params(deep=False)
        plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in params.items()}
        return {"name": name, "params": {k: v for k, v in plain.items() if v is None or isinstance(v, _PLAIN)}}
    numbers = {f.name: np.asarray(getattr(basis, f.name)).tolist() for f in dataclasses.fields(cast(Any, basis))}
    return {"name": name, "params": numbers}


def _basis_from_json(about: Mapping[str, Any]) -> Basis:
    name = about["name"]
    if name == "Complex":
        return Complex(about["simplexes"], about["shares"])
    if name == "ByLength":
        return connect.ByLength(_basis_from_json(about["basis"]), np.array(about["t"]), np.array(about["share"]))
    basis: Basis = _named(name, Basis)(**about["params"])
    return basis


def _name(cls: type) -> str:
    """Return the name of a class; with its module where it is not of this library, so that none stands in for it."""
    ours = getattr(connect, cls.__name__, None) is cls
    return cls.__name__ if ours else f"{cls.__module__}.{cls.__qualname__}"


def _named(name: str, base: type) -> Any:
    """Return the class of a name, of those that the room of connectors offers."""
    found = getattr(connect, name, None) if name in connect.__all__ else None
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"there is no {base.__name__} of the name {name!r} in skfusion.connect")
    return found
