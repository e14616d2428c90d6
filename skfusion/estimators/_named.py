"""Parameters of members that are given as a list of (name, estimator)."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import BaseEstimator


class NamedMembers(BaseEstimator):
    """Reach the parameters of ``estimators`` by their names, as in scikit-learn's stacking and pipelines."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name.

        Parameters
        ----------
        deep : bool, default=True
            Also return the members by their names, and their parameters as ``name__parameter``.

        Returns
        -------
        dict
            Parameter names mapped to their values.
        """
        params = super().get_params(deep=deep)
        for name, member in self._by_name().items() if deep else ():
            params[name] = member
            if hasattr(member, "get_params") and not isinstance(member, type):
                params |= {f"{name}__{key}": value for key, value in member.get_params(deep=True).items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; a member's name replaces that member.

        Parameters
        ----------
        **params : dict
            New values.

        Returns
        -------
        estimator
            This object.
        """
        if "estimators" in params:
            self.estimators = params.pop("estimators")
        given = {name: params.pop(name) for name in self._by_name() if name in params}
        if given:
            self.estimators = [(name, given.get(name, member)) for name, member in self.estimators]
        return super().set_params(**params)

    def _by_name(self) -> dict[str, Any]:
        try:
            return dict(self.estimators or [])
        except (TypeError, ValueError):  # for fit to complain of
            return {}
