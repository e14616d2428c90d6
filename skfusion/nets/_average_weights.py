"""A callback for skorch that averages the weights of a run while it goes: SWA, EMA, SWAD, LAWA in one's own loop."""

from __future__ import annotations

import io
import warnings
from typing import Any, Literal

import torch
from skorch.callbacks import Callback
from torch import Tensor

from skfusion._numbers import is_summed
from skfusion.average import Average, Running
from skfusion.nets._average_checks import BLIND, check, validates_average
from skfusion.nets._optimizer_modes import trained_parameters
from skfusion.nets._training_callback import check_validates, mean_loss
from skfusion.nets._training_data import module_of, tensors_of, with_own_statistics
from skfusion.state import State, copy

_KEPT = ("running_", "raw_", "left_")
"""What is pickled as tensors that any machine can load."""


class AverageWeights(Callback):
    """Average the weights of a skorch net while it trains, and leave the average in its module (SWA, EMA, SWAD, ...).

    The training itself does not change: an average runs along, and the optimiser only ever sees the weights that it
    has made. When the training ends, the module holds the average, and BatchNorm statistics that are estimated for it
    on the training rows, exactly, as :class:`~skfusion.repair.Recalibrate` does. Where these rows cannot be run again,
    as those of a stream, the statistics are averaged like weights, and this warns.

    Parameters
    ----------
    average : Average
        Which states become one, such as ``EMA(0.999)``, ``Mean(0.75)``, ``Latest(6)`` or ``Dense()`` of
        :mod:`skfusion.average`. Steps and epochs are counted from the first training on.
    validate : {"averaged", "raw"}, optional
        Which weights are in the module while the net validates, and when the callbacks act after an epoch: so which
        ones ``valid_loss`` and scores are of, ``EarlyStopping`` watches, and ``Checkpoint`` saves. When omitted, the
        average, from the first state on that has entered it; but the raw weights for averages such as ``Dense``, which
        find their states by the loss of these.

    Attributes
    ----------
    n_averaged_ : int
        States that have entered the average.
    raw_ : dict of Tensor or None
        While the module holds the average, the tensors that the training goes on from.

    Notes
    -----
    Costs a copy of the state for the raw weights and what the average keeps, and of time one addition of states a step.
    Nets with BatchNorm that validate with the average have its statistics estimated after each epoch, too, in one pass
    over the training rows; ``validate="raw"`` spares it, and so does a net without validation rows and without
    callbacks that look at its weights.

    Training that goes on, by ``partial_fit`` or ``warm_start``, also of a pickled net, takes the raw weights back
    first, and the average goes on; if other weights have been loaded meanwhile, from these, and the average begins
    anew. An interrupt leaves the average so far, as does the end. Give each net a callback of its own.

    It must come before callbacks that load or save weights at the end, or change them before an epoch; it asks for
    this. The best weights that ``EarlyStopping(load_best=True)`` or ``Checkpoint(load_best=True)`` loads in the end
    are then the averaged ones of the best epoch, with the statistics of its validation. With ``validate="raw"`` they
    would replace the average, and are refused.

    In the estimators of this package a net with this callback trains alone, not vectorized, and only with collectors
    that keep the last state of a run, such as :class:`~skfusion.collect.Seeds`;
    :class:`~skfusion.collect.Averages` does the same without a callback.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.average import Mean
    >>> from skfusion.nets import AverageWeights, mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> average = AverageWeights(Mean(0.5))
    >>> net = mlp_regressor(
    ...     module__n_in=1, module__n_out=1, max_epochs=8, batch_size=16, callbacks=[average]
    ... )
    >>> net = net.fit(x, x**2)
    >>> average.n_averaged_
    9
    """

    running_: Running | None
    raw_: State | None
    left_: tuple[Running | None, State | None]

    def __init__(self, average: Average, validate: Literal["averaged", "raw"] | None = None):
        self.average = average
        self.validate = validate

    def initialize(self) -> AverageWeights:
        """Begin anew, but know what is in a module already; see :meth:`skorch.callbacks.Callback.initialize`."""
        left = getattr(self, "running_", None), getattr(self, "raw_", None)
        self.left_ = getattr(self, "left_", left) if left[1] is None else left
        self._reset()
        return self

    def _reset(self) -> None:
        self.running_, self.raw_, self.dataset_ = None, None, None
        self.step_ = self.epoch_ = 0
        self.averaged_in_ = self.open_ = self.unjudged_ = False
        self.looked_at_ = True

    @property
    def n_averaged_(self) -> int:
        """States that have entered the average."""
        return 0 if self.running_ is None else self.running_.n

    # ------------------------------------------------------------------------------------------- what skorch calls

    def on_train_begin(self, net: Any, **_: Any) -> None:
        """Take the raw weights back where a training goes on; see :meth:`skorch.callbacks.Callback.on_train_begin`."""
        check(self, net)
        running, raw = self.left_ if self.raw_ is None else (self.running_, self.raw_)
        if running is not None and raw is not None:
            if holds(net, running):
                write(net, raw)
            elif self.raw_ is not None:
                warnings.warn(
                    "The net's weights are not those that AverageWeights left there: the training goes on from them, "
                    "and the average begins anew.",
                    stacklevel=2,
                )
                self._reset()
        self.left_, self.raw_, self.averaged_in_ = (None, None), None, False

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **_: Any) -> None:
        """Put the raw weights back, which the epoch trains; see :meth:`skorch.callbacks.Callback.on_epoch_begin`."""
        self._take_out(net)
        if self.average.needs_validation:
            check_validates(net, self.average, held_out=dataset_valid is not None)
        if self.running_ is None:
            self.running_ = self.average.begin(total_of(self.average, net, dataset_train))
        self.dataset_, self.open_, self.unjudged_ = dataset_train, True, True
        others = [type(c) for _, c in net.callbacks_ if c is not self]
        self.looked_at_ = dataset_valid is not None or not BLIND.issuperset(others)

    def on_batch_begin(self, net: Any, training: bool = False, **_: Any) -> None:
        """See the first state, or put the average in; see :meth:`skorch.callbacks.Callback.on_batch_begin`."""
        if not training:
            self._close_epoch(net)
        elif self.step_ == 0:
            self._see_step(net)

    def on_batch_end(self, net: Any, training: bool = False, **_: Any) -> None:
        """See the state after a step; see :meth:`skorch.callbacks.Callback.on_batch_end`."""
        if training:
            self.step_ += 1
            self._see_step(net)

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """See the state after an epoch, and its loss; see :meth:`skorch.callbacks.Callback.on_epoch_end`."""
        self._close_epoch(net)
        self._judge(net)

    def on_train_end(self, net: Any, **_: Any) -> None:
        """Leave the average in the module; see :meth:`skorch.callbacks.Callback.on_train_end`."""
        if self.open_ and len(net.history) and "train_batch_count" in net.history[-1]:  # a callback before has ended it
            self._close_epoch(net)
        if not self.open_:
            self._judge(net)
        if self.averaged_in_:
            self._check_unchanged(net)
        self._put_in(net, n_passes=None)
        self.dataset_ = None
        why = None if self.running_ is None else self.running_.shortfall()
        if why or (why := self.average.shortfall(max(self.n_averaged_, 1))):
            warnings.warn(f"The training was too short for its average. {why}", stacklevel=2)

    # --------------------------------------------------------------------------------------- what the average sees

    def _see_step(self, net: Any) -> None:
        if self.running_ is not None and self.average.changes_run:
            self.running_.rewrite(trained_parameters(net, self.average))
        if self.running_ is not None and self.average.unit == "step":
            self.running_.update(self.step_, tensors_of(module_of(net)))

    def _close_epoch(self, net: Any) -> None:
        """See the state after the steps of an epoch, once, and put the average in where it is to be validated."""
        if not self.open_:
            return
        self.open_ = False
        self.epoch_ += 1
        if self.running_ is not None and self.average.unit == "epoch":
            self.running_.update(self.epoch_, tensors_of(module_of(net)))
        if validates_average(self) and self.looked_at_:
            self._put_in(net, n_passes=1)

    def _judge(self, net: Any) -> None:
        loss = mean_loss(net, "valid") if self.average.needs_validation and self.unjudged_ else None
        if self.running_ is not None and loss is not None:
            self.running_.validated(loss, tensors_of(module_of(net)))
        self.unjudged_ = False

    # ------------------------------------------------------------------------------------- what is in the module

    def _put_in(self, net: Any, n_passes: int | None) -> None:
        """Write the average into the module, and keep what was there."""
        if self.running_ is None or self.running_.n == 0:
            return
        if self.raw_ is None:
            self.raw_ = copy(tensors_of(module_of(net)))
        raw = self.raw_
        average = {**raw, **{k: t.to(raw[k]) for k, t in self.running_.result().items()}}
        write(net, with_own_statistics(net, self.dataset_, average, raw, n_passes=n_passes))
        self.averaged_in_ = True

    def _take_out(self, net: Any) -> None:
        """Write the raw weights back."""
        if self.raw_ is None:
            return
        if self.averaged_in_:
            self._check_unchanged(net)
        self.averaged_in_ = False
        write(net, self.raw_)
        self.raw_ = None

    def _check_unchanged(self, net: Any) -> None:
        if self.running_ is not None and not holds(net, self.running_):
            raise ValueError(
                "A callback has changed the weights of the net after an epoch, while the average was in its place for "
                "validation, so that the change would be lost. Let it act while batches are trained on, or before an "
                "epoch and after AverageWeights in the list of callbacks, or give AverageWeights validate='raw'."
            )

    def __getstate__(self) -> dict[str, Any]:
        kept, buffer = {k: v for k, v in vars(self).items() if k not in _KEPT}, io.BytesIO()
        torch.save({k: v for k, v in vars(self).items() if k in _KEPT}, buffer)
        return {**kept, "dataset_": None, "tensors_": buffer.getvalue()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        buffer = io.BytesIO(state.pop("tensors_"))
        vars(self).update(state, **torch.load(buffer, map_location="cpu", weights_only=False))


def total_of(average: Average, net: Any, dataset: Any) -> int:
    """Return the steps or epochs of a training, which a burn-in may be a share of."""
    if average.unit == "epoch":
        return int(net.max_epochs)
    try:
        return len(net.get_iterator(dataset, training=True)) * int(net.max_epochs)
    except TypeError as error:
        if isinstance(getattr(average, "burn_in", None), float):
            raise ValueError(
                f"{average!r} begins after a share of the steps, and how many there are is not known, as the data has "
                "no length. Give burn_in as a whole number of steps, or unit='epoch'."
            ) from error
        return 1


def holds(net: Any, running: Running) -> bool:
    """Return whether the parameters of a net are an average; buffers may change when a net validates."""
    if running.n == 0:
        return False
    average = running.result()
    named = module_of(net).named_parameters(remove_duplicate=False)
    parameters = {k: p for k, p in named if is_summed(p)}
    return parameters.keys() <= average.keys() and all(_same(p.detach(), average[k]) for k, p in parameters.items())


def _same(tensor: Tensor, value: Tensor) -> bool:
    if tensor.shape != value.shape:
        return False
    value = value.to(tensor.dtype).to(tensor.device)
    return torch.equal(tensor, value) or bool(((tensor == value) | (tensor.isnan() & value.isnan())).all())


def write(net: Any, state: State) -> None:
    """Write a state into the module of a net, in place: optimisers hold its tensors."""
    with torch.no_grad():
        for key, tensor in tensors_of(module_of(net)).items():
            tensor.copy_(state[key])
