"""What estimators print: themselves with their parts, and nets by what was chosen of them."""

from __future__ import annotations

import sys
from typing import Any, Self

from skfusion._component import check_part
from skfusion._readable._diagram import Drawn
from skfusion._readable._shown import base_of, shown

_PRINTER = "sklearn.utils._pprint"


class Readable(Drawn):
    """Show the nets in an estimator without skorch's internals; a mixin for estimators, before their base.

    scikit-learn prints an estimator, also one in a pipeline or a search, by what its ``get_params`` returns, and nets
    of skorch have internal parameters, such as a set whose order changes from run to run. So ``get_params`` gives what
    is to be shown where scikit-learn's printer asks, and the parameters themselves everywhere else. Nothing of
    scikit-learn or skorch is changed, and if that printer gets another name, nets are printed in full.
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; see :meth:`sklearn.base.BaseEstimator.get_params`."""
        params: dict[str, Any] = super().get_params(deep)  # type: ignore[misc]
        if deep or not _is_for_print():
            return params
        return {name: shown(part, base_of(self)) for name, part in params.items()}


class HasParts(Readable):
    """Tell which part is not there, where a parameter of it is set; a mixin for estimators, before their base."""

    def set_params(self, **params: Any) -> Self:
        """Set parameters; ``part__inner`` needs the part to be given; see :meth:`Component.set_params`."""
        own = self.get_params(deep=False)
        for name in params:
            head, _, tail = name.partition("__")
            if tail and head in own:
                check_part(self, name, params.get(head, own[head]))
        super().set_params(**params)  # type: ignore[misc]
        return self


def _is_for_print() -> bool:
    """Return whether scikit-learn's printer asks for parameters, maybe by a ``get_params`` of ours that extends this.

    One of a class of a user may do with the parameters what it likes, so it gets themselves.
    """
    frame = sys._getframe(2)
    while frame.f_code.co_name == "get_params" and _is_ours(frame.f_globals) and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_globals.get("__name__") == _PRINTER


def _is_ours(names: dict[str, Any]) -> bool:
    return str(names.get("__name__")).partition(".")[0] == __name__.partition(".")[0]
