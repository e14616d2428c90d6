"""Independent runs that differ in their hyperparameters too (Wenzel et al., 2020)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid
from torch import nn

from skfusion import nets
from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.collect._base import Collector
from skfusion.collect._given_rows import n_outputs_of
from skfusion.collect.fine_tuning._fine_tunes import check_names, sampled, with_setting
from skfusion.nets import Run, VectorizeChoice

_SHAPING = ("module", "criterion", "predict_nonlinearity")
"""Parameters of a net that say what it computes."""


@dataclass(eq=False, repr=False)
class Hyper(Collector):
    """Train members from fresh initialisations, each with hyperparameters of its own.

    Members of different hyperparameters make different errors, more so than those of different seeds. They may have
    different architectures, and are then combined by their predictions; where only hidden layers have different widths,
    :class:`~skfusion.merge.Barycenter` and :class:`~skfusion.merge.ZipIt` make one network of them.

    Parameters
    ----------
    params : dict or list of dict
        A dict says what the net's parameters are drawn from, as in ``RandomizedSearchCV``: lists, or distributions
        with ``rvs``, by names such as ``lr``, ``optimizer__weight_decay`` or ``module__hidden``. A list holds settings
        that are taken as they are, in their order.
    n_members : int, optional
        Networks to train. When omitted, one for each setting of the list, or for each combination of the dict's lists.
        Where there are more members than settings, these come again with other seeds.
    vectorize : {"auto", True, False}, default="auto"
        Train members together, as one network with a member axis, where only parameters of the optimiser and the
        learning rate differ; one after another otherwise. True says why that is not possible.
    max_bytes : int, optional
        Memory for members that are trained together; half of the free memory when omitted.

    Notes
    -----
    Costs ``n_members`` trainings. The settings stand in each member's ``meta["params"]``, and the net of each, of its
    own architecture, in its ``net``. For the hyper-deep ensembles of the paper, train many and choose among them on
    held-out rows by greedy selection.

    References
    ----------
    Wenzel, Snoek, Tran and Jenatton, "Hyperparameter ensembles for robustness and uncertainty quantification", NeurIPS
    2020, arXiv:2006.13570.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import Hyper
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> hyper = Hyper({"lr": [0.01, 0.003], "module__hidden": [(4,), (8, 8)]})
    >>> pool = hyper.collect(mlp_regressor(max_epochs=2), x, x**2)
    >>> sorted(member.state["layers.0.weight"].shape[0] for member in pool)
    [4, 4, 8, 8]
    """

    params: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    n_members: int | None = None
    vectorize: VectorizeChoice = "auto"
    max_bytes: int | None = None

    def _sized(self, net: Any, rows: Rows) -> Any:
        """Return the net as it is where settings shape it, as then it may be one that cannot be sized without them."""
        self._number()  # raises where params are no settings
        drawn = self.params if isinstance(self.params, Mapping) else {k for setting in self.params for k in setting}
        return net if any(name.partition("__")[0] in _SHAPING for name in drawn) else super()._sized(net, rows)

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return runs with different settings; see :meth:`Collector.runs`."""
        seeds = draw_seeds(rng, self._number(), "n_members")
        (drawn,) = draw_seeds(rng, 1, "seeds")
        settings = self._settings(len(seeds), drawn)
        for setting in settings:
            check_names(net, setting, "params")
        names = sorted({name for setting in settings for name in setting})
        shaping = [name for name in names if name.partition("__")[0] in _SHAPING]
        if isinstance(net.module, nn.Module) and (wrong := [n for n in shaping if n.partition("__")[0] == "module"]):
            raise ValueError(
                f"params has {wrong[0]!r}, but the net was given a module that is made already. Give the net its class."
            )
        by_shape: list[tuple[dict[str, Any], Any]] = []  # a net for each architecture
        sized_nets = []
        for setting in settings:
            shape = {k: setting[k] for k in shaping if k in setting}
            sized = next((made for asked, made in by_shape if same(asked, shape)), None)
            if sized is None:
                sized = net
                if shaping:
                    n_outputs = n_outputs_of(clone(net).set_params(**shape), rows)
                    sized = nets.resized(net, rows, n_outputs, **shape)
                by_shape.append((shape, sized))
            sized_nets.append(sized)
        others = [name for name in names if name.partition("__")[0] not in ("lr", "optimizer")]
        if others and self.vectorize is True:
            raise ValueError(
                f"vectorize=True needs members that differ in lr and parameters of the optimizer only, and params has "
                f"{others[0]!r}; leave it at 'auto'."
            )
        return [
            with_setting(Run(f"hyper-{i}", seed, net=sized, meta={"own_net": True}), setting)
            for i, (seed, setting, sized) in enumerate(zip(seeds, settings, sized_nets, strict=True))
        ]

    def _number(self) -> Any:
        given = self.params
        if not given or not (isinstance(given, Mapping) or all(isinstance(setting, Mapping) for setting in given)):
            raise ValueError(f"params must be a dict of lists and distributions, or a list of dicts; got {given!r}.")
        if self.n_members is not None:
            return self.n_members
        if not isinstance(given, Mapping):
            return len(given)
        if drawn := [name for name, values in given.items() if hasattr(values, "rvs")]:
            raise ValueError(
                f"params has a distribution, of {drawn[0]!r}, so there is no end of settings: give n_members."
            )
        return len(ParameterGrid(dict(given)))

    def _settings(self, n: int, seed: int) -> list[dict[str, Any]]:
        if isinstance(self.params, Mapping):
            return sampled(self.params, n, seed)
        return [dict(setting) for setting in islice(cycle(self.params), n)]

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"params": {"lr": [0.01, 0.003, 0.03], "optimizer__weight_decay": [0.0, 0.1]}, "n_members": 4}


def same(a: Any, b: Any) -> bool:
    """Return whether two values are sure to make the same network: one object, or plain values that are equal."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(value, b[key]) for key, value in a.items())
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return isinstance(a, (str, bytes, int, float, complex, np.generic)) and bool(a == b)
