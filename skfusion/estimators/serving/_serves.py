"""Estimators that can be served without scikit-learn: as one module, and as an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skfusion import nets
from skfusion.combine import Average, Combiner
from skfusion.estimators.serving._combined import combined
from skfusion.estimators.serving._folding import folded
from skfusion.estimators.serving._fused_module import (
    FusedModule,
    InUnits,
    NamedNetworks,
    Networks,
    OfSeveralNets,
    Ordered,
)
from skfusion.estimators.serving._onnx import write_onnx
from skfusion.state import State


class Serves:
    """Return the fitted predictor as a module, and write it to an ONNX file; a mixin for estimators of networks."""

    _task: Any
    _outputs: Any
    _shape_in: Any

    def _networks(self) -> Sequence[tuple[Any, State]]:
        """Return the networks that predict, each as a net and a state; raise ``ValueError`` where others predict."""
        raise NotImplementedError

    def _combiner(self) -> Combiner:
        """Return what combines the predictions of the networks."""
        return Average()

    def as_module(self) -> nn.Module:
        """Return what the estimator predicts as one ``torch.nn.Module``, to be served without scikit-learn.

        It has the networks, their combination, the order of the classes and the units of the targets. BatchNorm is
        merged into the layer before it where nothing else reads what that layer returns. ``torch.export``,
        ``torch.onnx.export`` and ``torch.jit.trace`` take it, with any number of rows where the networks allow that.

        Returns
        -------
        nn.Module
            In evaluation mode, on the CPU, in the dtype of the networks, with tensors of its own that require no
            gradients. ``module(X)`` takes a tensor of inputs as ``fit`` takes arrays, or a dict of tensors, and
            returns ``predict_proba(X)`` in the order of ``module.classes_``, or ``predict(X)`` of a regressor, as a
            tensor. Both differ from those of the estimator by rounding.

        Raises
        ------
        ValueError
            Where a member is no network, or members are not combined by sums, medians or linear models.
        """
        check_is_fitted(self)
        combine, networks, task = self._combiner(), self._networks(), self._task
        combination = combined(combine, task, len(networks))
        modules = [nets.module_of(net, state, task) for net, state in networks]
        double = any(nets.dtype_of(module) == torch.float64 for module in modules)
        common = torch.float64 if double else torch.float32
        members: dict[int, list[int]] = {}
        for k, (net, _) in enumerate(networks):
            members.setdefault(id(net), []).append(k)
        groups = [
            self._group(networks[some[0]][0], [modules[k] for k in some], common, combine.by_logs)
            for some in members.values()
        ]
        values, scaling = task == "regression", self._outputs.scaling
        flat = values and self._flat
        dtype = torch.float64 if scaling is not None or (values and not flat) else common
        read: nn.Module = nn.Identity()
        if self._outputs.order is not None:
            read = Ordered(self._outputs.order)
        elif scaling is not None:
            read = InUnits(*scaling)
        together = groups[0] if len(groups) == 1 else OfSeveralNets(groups, [*members.values()])
        classes = None if values else np.array(self.classes_)
        return FusedModule(together, read, combination, dtype, flat, classes).eval()

    def _group(self, net: Any, modules: list[nn.Module], common: torch.dtype, logs: bool) -> nn.Module:
        """Return the networks of one net as a module, with predictions in a dtype, or logarithms."""
        head, dtype = nets.Head(net, self._task, common, logs), nets.dtype_of(modules[0])
        if isinstance(self._shape_in, Mapping):
            return NamedNetworks([nets.FirstOutput(module) for module in modules], head, dtype)
        return Networks([_prepared(module, self._shape_in, dtype) for module in modules], head, dtype)

    def to_onnx(self, path: str | PathLike[str], X: Any) -> None:
        """Write what the estimator predicts to an ONNX file, for any number of rows; see :meth:`as_module`.

        The file takes inputs named ``X``, float32, or those of the dict that the estimator was fitted on, whose
        integers are int64; and returns ``probabilities``, or ``predictions`` of a regressor. It appears whole, in the
        place of what was there, or not at all.

        Parameters
        ----------
        path : str or path-like
            Where to write.
        X : array-like of shape (n_samples, ...), or dict of array-like
            Some rows of inputs, as in ``fit``. Where ``onnxruntime`` is installed, what it predicts for them and for
            the first one alone is compared with the estimator's predictions before anything is written.

        Raises
        ------
        ValueError
            Where ONNX cannot take a layer, which the message names; and as in :meth:`as_module`.
        RuntimeError
            Where the predictions differ by more than 1e-5, absolutely and of their size.
        ImportError
            Where ``onnx`` or ``onnxscript`` are missing, which ``pip install skfusion[onnx]`` brings.
        """
        module, arrays = self.as_module(), self._inputs(X)
        tensors = {k: torch.from_numpy(v) for k, v in arrays.items()} if isinstance(arrays, dict) else None
        values = self._task == "regression"
        expected = self.predict(X) if values else self.predict_proba(X)
        inputs = torch.from_numpy(arrays) if tensors is None else tensors
        write_onnx(Path(path), module, inputs, expected, "predictions" if values else "probabilities")


def _prepared(module: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> nn.Module:
    """Return a module that returns one tensor, with BatchNorm merged into other layers; a trial on four rows tells."""
    example = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    with nets.seed_scope(0), torch.no_grad():
        try:
            one = isinstance(module(example), Tensor)  # which also settles the sizes of lazy layers
        except Exception:  # numbers that are no inputs of this module
            return nets.FirstOutput(module)
        return folded(module if one else nets.FirstOutput(module), example)
