"""A fitted estimator as one module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn


class FusedModule(nn.Module):
    """What a fitted estimator predicts, as a module of tensors: its networks, their combination and their units.

    ``forward(X)`` takes a tensor of inputs of shape (n_samples, ...), as ``fit`` takes arrays, or a dict of them where
    the estimator was fitted on one, and any number of rows. It returns ``predict_proba(X)``, shape (n_samples,
    n_classes), in the order of ``classes_``; or ``predict(X)`` of a regressor, in the units of its targets and in their
    shape, (n_samples,) or (n_samples, n_outputs).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class of each column, of a classifier.
    """

    def __init__(
        self,
        networks: nn.Module,
        read: nn.Module,
        combine: nn.Module,
        dtype: torch.dtype,
        flat: bool,
        classes: np.ndarray | None,
    ):
        super().__init__()
        if classes is not None:
            self.classes_ = classes
        self.networks, self.read, self.combine = networks, read, combine
        self.dtype, self.flat = dtype, flat

    def forward(self, X: Tensor) -> Tensor:
        """Return probabilities or values; see the class."""
        out = self.combine(self.read(self.networks(X))).to(self.dtype)
        return out[:, 0] if self.flat else out


class Networks(nn.Module):
    """The networks of one net, whose outputs are read together: from inputs to (n_members, n_samples, n_outputs).

    Inputs get the dtypes that first the estimator and then the net gives them.
    """

    def __init__(self, modules: Sequence[nn.Module], head: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.like: Tensor
        self.modules_, self.head, self.n = nn.ModuleList(modules), head, len(modules)
        self.register_buffer("like", torch.empty(0, dtype=dtype), persistent=False)

    def forward(self, X: Tensor) -> Tensor:
        """Return what all networks predict."""
        x = X.float().to(self.like.dtype)
        return self._read([module(x) for module in self.modules_])

    def _read(self, outputs: list[Tensor]) -> Tensor:
        out: Tensor = self.head(torch.cat(outputs))
        return out.unflatten(0, (self.n, -1))


class NamedNetworks(Networks):
    """The same of modules that take several inputs, by name."""

    def forward(self, X: Mapping[str, Tensor]) -> Tensor:  # type: ignore[override]
        """Return what all networks predict."""
        parts = {name: x.float().to(self.like.dtype) if x.is_floating_point() else x.long() for name, x in X.items()}
        return self._read([module(**parts) for module in self.modules_])


class OfSeveralNets(nn.Module):
    """Networks of several nets, in the order of the members."""

    def __init__(self, groups: Sequence[nn.Module], members: Sequence[Sequence[int]]):
        super().__init__()
        self.places: Tensor
        self.groups = nn.ModuleList(groups)
        self.register_buffer("places", torch.as_tensor(np.argsort(np.concatenate(members))))

    def forward(self, X: Tensor) -> Tensor:
        """Return what all networks predict."""
        return torch.cat([group(X) for group in self.groups]).index_select(0, self.places)


class Ordered(nn.Module):
    """Columns in another order: that of the sorted classes."""

    def __init__(self, order: np.ndarray):
        super().__init__()
        self.order: Tensor
        self.register_buffer("order", torch.as_tensor(order))

    def forward(self, P: Tensor) -> Tensor:  # P shape: (n_members, n_samples, n_outputs)
        """Return the columns of all members in that order."""
        return P.index_select(2, self.order)


class InUnits(nn.Module):
    """Standardised values in the units of the targets, in float64."""

    def __init__(self, shift: Sequence[float], scale: Sequence[float]):
        super().__init__()
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))

    def forward(self, P: Tensor) -> Tensor:  # P shape: (n_members, n_samples, n_outputs)
        """Return the values of all members in these units."""
        return P.double() * self.scale + self.shift
