"""The picture of an estimator in a notebook: its parts in their order, each with its parameters and a link.

scikit-learn draws it, and asks each estimator by ``_sk_visual_block_`` for what is in it. Nothing is trained or made
ready for it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skfusion._component import Component, is_net_like
from skfusion._readable._shown import Text, base_of, net_shown, shown, stand_in

DOCS = "https://skfusion.readthedocs.io/en/stable"
_SKORCH = "https://skorch.readthedocs.io/en/stable"


class Drawn:
    """Show an estimator with its parts; a mixin for estimators, before their base."""

    _doc_link_module = "skfusion"
    _doc_link_template = f"{DOCS}/api/generated/{{name}}.html"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"name": public_name(type(self))}

    def _drawn_parts(self) -> Mapping[str, Any]:
        """Return the parts to show, by what they are for; those among the parameters, if a class does not say more."""
        params: dict[str, Any] = self.get_params(deep=False)  # type: ignore[attr-defined]
        return {name: params[name] for name in inspect.signature(type(self)).parameters if name in params}

    def _sk_visual_block_(self) -> Block:
        parts = {name: part for name, part in self._drawn_parts().items() if _is_part(part)}
        if not parts:
            return Block("single", self, type(self).__name__, str(self))
        given = self.get_params(deep=False)  # type: ignore[attr-defined]
        blocks = [_drawn(name, part, base_of(self), given.get(name, part) is None) for name, part in parts.items()]
        return Block("serial", blocks, *_labels(parts, base_of(self)))

    def _get_params_html(self, deep: bool = True, doc_link: str = "") -> Any:
        table = super()._get_params_html(deep, doc_link)  # type: ignore[misc]
        for name, value in table.items():
            table[name] = _short(value, base_of(self))
        return table

    def _get_fitted_attr_html(self, doc_link: str = "") -> Any:
        table = super()._get_fitted_attr_html(doc_link)  # type: ignore[misc]
        for fitted in table.values():
            fitted["value"] = _short(fitted["value"], base_of(self))
        return table


@dataclass
class Block:
    """What scikit-learn asks an estimator for, to draw it; by its names: one thing, some in a row, or side by side."""

    kind: str
    estimators: Any
    names: Any
    name_details: Any
    name_caption: str | None = None
    doc_link_label: str | None = None
    dash_wrapped: bool = True

    def _sk_visual_block_(self) -> Block:
        return self


class _Plain:
    """A part that has no parameters, such as a pool, which shows as its text."""

    def __init__(self, block: Block, link: str) -> None:
        self.block, self.link = block, link

    def _sk_visual_block_(self) -> Block:
        return self.block

    def _get_doc_link(self) -> str:
        return self.link


def public_name(kind: type) -> str:
    """Return the shortest name under which a class of this package is public."""
    package, room, *_ = kind.__module__.split(".")
    name: str = kind.__name__
    return f"{package}.{name}" if name in sys.modules[package].__all__ else f"{package}.{room}.{name}"


def _is_part(value: Any) -> bool:
    if isinstance(value, type):
        return False
    return hasattr(value, "get_params") or _is_list(value) or _is_pool(value)


def _is_pool(value: Any) -> bool:
    return type(value).__module__.startswith("skfusion.") and hasattr(value, "names")


def _is_list(value: Any) -> bool:
    """Return whether a value is a list of estimators with their names."""
    pairs = isinstance(value, list | tuple) and all(isinstance(v, tuple) and len(v) == 2 for v in value)
    return pairs and bool(value) and all(isinstance(n, str) and hasattr(part, "get_params") for n, part in value)


def _label(name: str, part: Any) -> str:
    return name if _is_list(part) else f"{name}: {type(part).__name__}"


def _labels(parts: Mapping[str, Any], base: Any) -> tuple[list[str], list[str | None]]:
    """Return what parts are called, and what they show as; lists of estimators only have a name."""
    texts = [None if _is_list(part) else str(shown(part, base)) for part in parts.values()]
    return [_label(name, part) for name, part in parts.items()], texts


def _drawn(name: str, part: Any, base: Any, by_default: bool = False) -> Any:
    """Return what scikit-learn draws as a part."""
    if _is_list(part):
        names, parts = zip(*part, strict=True)
        blocks = [_drawn("", inner, base) for inner in parts]
        return Block("parallel", blocks, list(names), [str(shown(inner, base)) for inner in parts])
    label = _label(name, part) if name else type(part).__name__
    if is_net_like(part):
        block = Block("single", part, label, "", _module_of(part))
        return net_shown(part, base, _sk_visual_block_=lambda self: block, _get_doc_link=lambda self: _link(part))
    if not hasattr(part, "get_params"):
        return _Plain(Block("single", part, label, repr(part), f"{len(part)} members"), _link(part))
    if hasattr(part, "_sk_visual_block_") and part._sk_visual_block_().kind != "single":
        return part
    caption = "by default" if by_default else None
    params = part.get_params(deep=False)
    own = {n: shown(value, base) for n, value in params.items()}
    inner = {n: value for n, value in params.items() if _is_part(value)}
    block = Block("single", part, label, str(part), caption)
    if inner and isinstance(part, Component):
        block = Block("serial", [_drawn(n, v, base) for n, v in inner.items()], *_labels(inner, base))
    members = {"_sk_visual_block_": lambda self: block, "_get_doc_link": lambda self: _link(part)}
    return stand_in(type(part), type(part).__init__, own, base, **members)


def _short(value: Any, base: Any) -> Any:
    """Return what shows in a cell as a value does, where nets are their class and that of their module."""
    if is_net_like(value):
        return Text(f"{type(value).__name__}({_module_of(value)})")
    if type(value) in (list, tuple):
        return type(value)(_short(item, base) for item in value)
    return shown(value, base)


def _module_of(net: Any) -> str:
    """Return the name of the class of a net's module."""
    module = net.module
    return str(getattr(module, "__name__", type(module).__name__))


def _link(part: Any) -> str:
    """Return the address of the documentation of a part; none where it is not known."""
    package, *rest = type(part).__module__.split(".")
    if package == "skfusion":
        return f"{DOCS}/api/generated/{public_name(type(part))}.html"
    if package == "skorch" and rest:
        return f"{_SKORCH}/{rest[-1]}.html"
    return str(part._get_doc_link()) if hasattr(part, "_get_doc_link") else ""
