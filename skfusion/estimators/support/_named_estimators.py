"""Parameters of members that are given as a list of (name, estimator)."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import BaseEstimator

from skfusion._component import HasParts


class NamedMembers(HasParts, BaseEstimator):
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
        members = self._by_name() if deep else {}
        for name, member in ((n, m) for n, m in members.items() if n not in params):  # fit refuses the others
            params[name] = member
            if hasattr(member, "get_params") and not isinstance(member, type):
                params |= {f"{name}__{key}": value for key, value in member.get_params(deep=True).items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; a member's name replaces that member, unless it is the name of a parameter.

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
        own = super().get_params(deep=False)
        given = {name: params.pop(name) for name in self._by_name() if name in params and name not in own}
        if given:
            self.estimators = [(name, given.get(name, member)) for name, member in self.estimators]
        return super().set_params(**params)

    def _check_names(self, names: list[str]) -> None:
        """Raise an error where ``set_params`` could not tell the members by these names."""
        if len(set(names)) < len(names):
            raise ValueError(f"Names of members must be unique; got {names}.")
        if taken := sorted(set(names) & set(super().get_params(deep=False))):
            raise ValueError(
                f"Names of members must not be those of parameters of {type(self).__name__}: rename {taken}."
            )
        if split := [name for name in names if "__" in name]:
            raise ValueError(
                f"Names of members must not contain '__', which stands before their parameters: rename {split}."
            )

    def _by_name(self) -> dict[str, Any]:
        try:
            return dict(self.estimators or [])
        except (TypeError, ValueError):  # for fit to complain of
            return {}
