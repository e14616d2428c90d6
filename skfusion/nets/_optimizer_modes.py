"""Optimisers that have modes, as schedule-free ones (Defazio et al., 2024): which weights the module holds, and when.

A schedule-free optimiser takes gradients at one point, y, and is to be judged at another, x, the weighted mean of its
steps; ``optimizer.eval()`` puts x into the module, and ``optimizer.train()`` puts y back. A state that is read in the
wrong mode is silently that of y. Every optimiser that has both methods is taken to be of this kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from skorch.callbacks import Callback

from skfusion.nets._training_data import module_of, tensors_of, with_own_statistics
from skfusion.state import copy


class OptimizerModes(Callback):
    """Lets optimisers train while batches are trained on, and evaluate whenever weights are judged or kept.

    It comes before all other callbacks, which then see x after each epoch: scores, checkpoints and recorders. As the
    statistics of BatchNorm are those that the training met at y, they are estimated for x: after each epoch in one
    pass over the training rows, and at the end exactly.
    """

    def initialize(self) -> OptimizerModes:
        self.dataset_, self.training_ = None, False
        return self

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, **_: Any) -> None:
        self.dataset_, self.training_ = dataset_train, True
        set_modes(net, training=True)

    def on_batch_begin(self, net: Any, training: bool = False, **_: Any) -> None:
        if not training:
            self._judge(net)

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        self._judge(net)

    def on_train_end(self, net: Any, **_: Any) -> None:
        set_modes(net, training=False)
        self._estimate(net, n_passes=None)
        self.initialize()

    def _judge(self, net: Any) -> None:
        if self.training_:
            self.training_ = False
            set_modes(net, training=False)
            self._estimate(net, n_passes=1)

    def _estimate(self, net: Any, n_passes: int | None) -> None:
        module = module_of(net)
        live = tensors_of(module)
        state = with_own_statistics(net, self.dataset_, copy(live), n_passes=n_passes)
        with torch.no_grad():
            for key, tensor in live.items():
                tensor.copy_(state[key])


def optimizers_of(net: Any) -> list[torch.optim.Optimizer]:
    """Return the optimisers of an initialised net."""
    return [v for v in vars(net).values() if isinstance(v, torch.optim.Optimizer)]


def optimizers_with_modes(net: Any) -> list[Any]:
    """Return the optimisers of an initialised net that have a mode of training and one of evaluation."""
    return [o for o in optimizers_of(net) if all(callable(getattr(o, mode, None)) for mode in ("train", "eval"))]


def set_modes(net: Any, training: bool) -> None:
    """Put the optimisers of a net that have modes into one of them."""
    for optimizer in optimizers_with_modes(net):
        optimizer.train() if training else optimizer.eval()


@contextmanager
def evaluating(optimizers: Sequence[Any]) -> Iterator[None]:
    """Have the module hold what is to be judged or kept, between two steps of the training by optimisers with modes."""
    for optimizer in optimizers:
        optimizer.eval()
    yield
    for optimizer in optimizers:
        optimizer.train()


def let_optimizers_evaluate(net: Any) -> None:
    """Give an initialised net an :class:`OptimizerModes` where one of its optimisers has modes."""
    if optimizers_with_modes(net):
        net.callbacks_.insert(0, ("skfusion_modes", OptimizerModes().initialize()))


def trained_parameters(net: Any, asks: Any) -> list[torch.Tensor]:
    """Return the parameters of a net that are trained, for ``asks`` to change them after a step."""
    if optimizers_with_modes(net):
        raise ValueError(
            f"{asks!r} changes the weights after each step, which a schedule-free optimiser computes from others that "
            "it keeps. Take an optimiser without train() and eval(), such as torch.optim.SGD."
        )
    return [p for p in module_of(net).parameters() if p.requires_grad]
