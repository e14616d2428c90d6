"""Monte Carlo dropout (MC dropout): the sub-networks that dropout leaves of a network as an ensemble."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils import check_random_state

from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion._rows import Rows
from skfusion.collect import Seeds
from skfusion.estimators._base import Collected
from skfusion.estimators._ensemble import EnsembleDriver
from skfusion.estimators._targets import Classifies, Regresses
from skfusion.estimators.support._dropout_passes import DropoutPasses, has_random_layers
from skfusion.nets import Runner, on_devices
from skfusion.pool import ModelPool


@template
@dataclass(eq=False, repr=False)
class _DropoutEnsemble(EnsembleDriver):
    """{Predict} by the sub-networks that dropout leaves of one network (Monte Carlo dropout, MC dropout).

    ``fit`` trains one network. A prediction is the mean of those of ``n_passes`` sub-networks, in each of which other
    units are dropped; ``predict_members`` gives them all, and their spread says how sure the network is.

    Parameters
    ----------
    estimator : skorch net, optional
        The network, with modules such as ``torch.nn.Dropout``; the one for tables, which drops a tenth of its hidden
        units, when omitted.
    n_passes : int, default=30
        Sub-networks. More cost proportionally more, and the noise of the mean falls with their square root.
    {memory}
    random_state : int or RandomState, optional
        Seed of the training and of the masks.
    {verbose}
    {class_weight}

    Attributes
    ----------
    pool_ : ModelPool
        The network, as the only member.
    estimators_ : list of skorch nets
        A fitted copy of the net, which predicts without dropout.
    n_passes_ : int
        Sub-networks, as many as ``fit`` was asked for.
    mask_seed_ : int
        Seed of the masks, which are the same in every call of ``predict``.
    {classes_}

    Notes
    -----
    A mask is drawn once a pass and not once a row: what is predicted for a row does not depend on the other rows. The
    first axis of what dropout is applied to must count samples, or the axis that a layer names as ``sample_axis``.
    Dropout is any layer without parameters that passes its input on in evaluation mode, and scales and shifts it by
    random numbers in training mode: that of other libraries, stochastic depth and noise too. A
    :class:`~skfusion.nets.TabM` drops units of each of its k members, and a pass is their mean. BatchNorm keeps its
    statistics. What attention and recurrent layers drop inside is not dropped here. With an integer ``random_state``,
    ``fuse`` draws the masks that ``fit`` drew; otherwise it draws others.

    References
    ----------
    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014. Gal and
    Ghahramani, "Dropout as a Bayesian approximation: representing model uncertainty in deep learning", ICML 2016,
    arXiv:1506.02142.

    Examples
    --------
    {example}
    """

    estimator: Any = None
    _: KW_ONLY
    n_passes: int = 30
    memory: Any = None
    random_state: Any = None
    verbose: int = 0

    @property
    def collect(self) -> Seeds:
        """The collector that the recipe stands for."""
        return Seeds(1)

    _takes_estimators: ClassVar[bool] = False  # which have no units to drop

    def _net(self, rows: Rows, pool: ModelPool | None = None) -> Any:
        if not isinstance(self.n_passes, Integral) or self.n_passes < 1:
            raise ValueError(f"n_passes must be a whole number of at least 1; got {self.n_passes!r}.")
        net = super()._net(rows, pool)
        if not has_random_layers(Runner(net, self._task, rows), rows.X):
            raise ValueError(
                "The net has no dropout, so all its sub-networks are the same. Give it modules such as "
                "torch.nn.Dropout, as mlp_classifier(module__dropout=0.1) has them; what attention and recurrent "
                "layers drop inside, and torch.nn.functional.dropout, cannot be told apart from the rest of their code."
            )
        return net

    def _fuse(self, collected: Collected) -> None:
        self.n_passes_ = int(self.n_passes)
        self.mask_seed_ = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        super()._fuse(collected)
        self._runner.predict(collected.fit_rows.take(np.arange(1)).X)  # so that fit raises what predict would raise

    def _predictor(self, members: list[Any], runners: list[Runner]) -> Any:
        return DropoutPasses(runners, on_devices(members, runners), self.n_passes_, self.mask_seed_)

    def _networks(self) -> Any:
        raise ValueError(
            f"{type(self).__name__} draws masks of dropout in each pass, which a module in evaluation mode does not. "
            "For the networks without them, fuse its pool: EnsembleClassifier(net).fuse(pool_, X, y).as_module()."
        )

    def _fitted_as(self, state: Any, net: Any) -> dict[str, Any]:
        return {**super()._fitted_as(state, net), "n_passes_": self.n_passes, "mask_seed_": 0}

    @classmethod
    def _test_skips(cls) -> dict[str, str]:
        reason = "the mean over masks is another function of a network than the network without dropout"
        return {"check_one_member_is_its_own_fusion": reason}


_CLASSIFY = """
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import DropoutEnsembleClassifier, ModelPool
    >>> X, y = load_iris(return_X_y=True)
    >>> ensemble = DropoutEnsembleClassifier(n_passes=20, random_state=0).fit(X, y)
    >>> ensemble.score(X, y) > 0.9
    True
    >>> ensemble.predict_members(X).shape
    (20, 150, 3)

    A trained network needs no more training. ``fuse`` reads only shapes and classes of the data here:

    >>> from skfusion.nets import mlp_classifier
    >>> net = mlp_classifier(module__n_in=4, module__n_out=3, module__dropout=0.2)
    >>> pool = ModelPool.from_estimators([net.fit(X.astype("float32"), y)])
    >>> DropoutEnsembleClassifier(net, random_state=0).fuse(pool, X, y).predict_members(X).shape
    (30, 150, 3)
"""


@dataclass(eq=False, repr=False, kw_only=True)
@doc(CLASSIFIER, example=_CLASSIFY)
class DropoutEnsembleClassifier(Classifies, _DropoutEnsemble):
    class_weight: Any = None


@doc(REGRESSOR, least="0.4")
class DropoutEnsembleRegressor(Regresses, _DropoutEnsemble): ...
