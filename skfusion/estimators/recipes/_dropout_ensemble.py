"""Monte Carlo dropout (MC dropout): the sub-networks that dropout leaves of a network as an ensemble."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion._random import seed_scope
from skfusion._rows import Inputs, Rows
from skfusion.collect import Seeds
from skfusion.estimators._base import Collected
from skfusion.estimators._ensemble import EnsembleDriver
from skfusion.estimators._targets import Classifies, Regresses
from skfusion.estimators.support._predictors import on_devices
from skfusion.nets import Runner
from skfusion.objective import first_output
from skfusion.pool import ModelPool
from skfusion.state import State

_CHANNELS = {nn.Dropout1d: 2, nn.Dropout3d: 4}
"""Axes of an input in which torch sees no samples; ``Dropout2d`` does see them in three."""


def dropouts(module: nn.Module) -> list[_DropoutNd]:
    """Return the dropout modules of a network."""
    return [part for part in module.modules() if isinstance(part, _DropoutNd)]


class DropoutPasses:
    """Networks that predict with some of their units dropped: ``n_passes`` masks of each state, from a seed.

    A pass draws one mask for all rows, so that it is one sub-network. More passes begin with the masks of fewer.
    """

    def __init__(self, runners: Sequence[Runner], states: Sequence[State], n_passes: int, seed: int):
        self.runners, self.states = runners, states
        self.dtype = np.result_type(*(runner.precision for runner in runners))
        seeds = np.random.RandomState(seed).randint(np.iinfo(np.int32).max, size=(n_passes, len(states)))
        self.seeds = seeds.T.tolist()

    def predict(self, X: Inputs, logs: bool = False) -> np.ndarray:
        """Return what all passes of each state predict, shape (n_states * n_passes, n_samples, n_outputs)."""
        predictions = []
        for runner, state, seeds in zip(self.runners, self.states, self.seeds, strict=True):
            chunks = list(runner.chunks(X))
            for seed in seeds:
                outputs = []
                with runner.computing(state) as module, seed_scope(seed), _masked(module) as next_chunk:
                    for chunk in chunks:
                        next_chunk()
                        x = {k: v.clone() for k, v in chunk.items()} if isinstance(chunk, dict) else chunk.clone()
                        outputs.append(first_output(module(**x) if isinstance(x, dict) else module(x)))
                predictions.append(runner.read(torch.cat(outputs), logs))
        return np.stack(predictions)


@contextmanager
def _masked(module: nn.Module) -> Iterator[Any]:
    """Let dropout modules apply masks that are drawn at their first call; what is yielded starts the next chunk."""
    masks: list[tuple[Tensor, Tensor]] = []
    calls = 0

    def next_chunk() -> None:
        nonlocal calls
        calls = 0

    def apply(part: nn.Module, _args: Any, x: Tensor) -> Tensor:
        nonlocal calls
        if calls == len(masks):
            masks.append(_drawn(part, x))
        shift, scale = masks[calls]
        calls += 1
        return shift + scale * x

    hooks = [part.register_forward_hook(apply) for part in dropouts(module)]
    try:
        yield next_chunk
    finally:
        for hook in hooks:
            hook.remove()


def _drawn(part: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return a mask for a row as shift and scale, which is what any kind of dropout is once it is drawn."""
    axes = next((n for kind, n in _CHANNELS.items() if isinstance(part, kind)), None)
    if x.ndim == axes:
        raise ValueError(
            f"{type(part).__name__} is given a tensor of {axes} axes, the first of which it reads as channels, and not "
            "as samples: it drops whole rows, in training too. Use torch.nn.Dropout."
        )
    shape, before = (1, *x.shape[1:]), torch.get_rng_state()
    part.train()
    try:
        shift = part.forward(torch.zeros(shape, dtype=x.dtype))  # on the CPU: the same masks on any device
        torch.set_rng_state(before)
        scale = part.forward(torch.ones(shape, dtype=x.dtype)) - shift
    finally:
        part.eval()
    return shift.to(x.device), scale.to(x.device)


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
    first axis of what dropout is applied to must count samples. BatchNorm keeps its statistics. What attention and
    recurrent layers drop inside is not dropped here. With an integer ``random_state``, ``fuse`` draws the masks that
    ``fit`` drew; otherwise it draws others.

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

    def _net(self, rows: Rows, pool: ModelPool | None = None) -> Any:
        if not isinstance(self.n_passes, Integral) or self.n_passes < 1:
            raise ValueError(f"n_passes must be a whole number of at least 1; got {self.n_passes!r}.")
        net = super()._net(rows, pool)
        if not dropouts(Runner(net, self._task, rows).module):
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
