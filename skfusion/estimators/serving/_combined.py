"""Combiners in tensors: modules from the predictions of members to one, equal to the fitted combiner in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression
from torch import Tensor, nn

from skfusion._rows import Task
from skfusion.combine import (
    Average,
    Calibrated,
    Cascade,
    Combiner,
    DynamicSelection,
    DynamicWeighting,
    EnsembleSelection,
    GeometricAverage,
    Median,
    Stack,
    Vote,
    WeightedAverage,
)


@singledispatch
def combined(combine: Combiner, task: Task, n_members: int) -> nn.Module:
    """Return a module from predictions, shape (n_members, n_samples, n_outputs), to the combined one.

    Predictions of combiners that combine logarithms, by ``by_logs``, are these.
    """
    reason = "its __call__ is not known in operations of tensors"
    for kinds, why in _REASONS.items():
        if isinstance(combine, kinds):
            reason = why
    raise ValueError(
        f"{combine!r} cannot be part of a module: {reason}. Fuse the same pool again with another combiner, such as "
        "Average(), WeightedAverage(), EnsembleSelection(), Median(), GeometricAverage(), Calibrated() or Stack()."
    )


_REASONS = {
    (Cascade,): "it asks members only for the rows that need them, and so runs other networks for each row",
    (DynamicSelection, DynamicWeighting): "it looks up the rows that it has learned from for each prediction",
    (Vote,): "votes jump where two probabilities are equal but for rounding, which runtimes do differently",
}


class _Mean(nn.Module):
    """The mean over members."""

    def forward(self, P: Tensor) -> Tensor:
        return P.mean(0)


class _WeightedMean(nn.Module):
    """The weighted mean over the members of positive weight."""

    def __init__(self, weights: np.ndarray):
        super().__init__()
        self.used: Tensor
        self.weights: Tensor
        used = np.flatnonzero(weights)
        self.register_buffer("used", torch.as_tensor(used))
        self.register_buffer("weights", torch.as_tensor(weights[used], dtype=torch.float64).reshape(-1, 1, 1))

    def forward(self, P: Tensor) -> Tensor:
        return (P.index_select(0, self.used).double() * self.weights).sum(0).to(P.dtype)


class _Median(nn.Module):
    """The median over members, of classes divided by their sum."""

    def __init__(self, n_members: int, classes: bool):
        super().__init__()
        self.low, self.high, self.classes = (n_members - 1) // 2, n_members // 2, classes

    def forward(self, P: Tensor) -> Tensor:
        ordered = torch.sort(P, dim=0)[0]
        median = (ordered[self.low] + ordered[self.high]) / 2
        if not self.classes:
            return median
        median = torch.where(median.sum(1, keepdim=True) > 0, median, P.mean(0))
        return median / median.sum(1, keepdim=True)


class _FromLogs(nn.Module):
    """The probabilities of the weighted mean of log-probabilities of classes, or of log-odds of labels."""

    def __init__(self, mean: nn.Module, labels: bool):
        super().__init__()
        self.mean, self.labels = mean, labels

    def forward(self, logs: Tensor) -> Tensor:
        z = self.mean(logs)
        return z.sigmoid() if self.labels else z.softmax(-1)


class _Tempered(nn.Module):
    """Probabilities at temperatures, one a member."""

    def __init__(self, temperatures: np.ndarray, labels: bool):
        super().__init__()
        self.temperatures: Tensor
        self.register_buffer("temperatures", torch.as_tensor(temperatures, dtype=torch.float64).reshape(-1, 1, 1))
        self.labels = labels

    def forward(self, P: Tensor) -> Tensor:
        z = _logs(P, self.labels) / self.temperatures
        return (z.sigmoid() if self.labels else z.softmax(-1)).to(P.dtype)


class _OfProbabilities(nn.Module):
    """What combines logarithms, applied to probabilities."""

    def __init__(self, of_logs: nn.Module, labels: bool):
        super().__init__()
        self.of_logs, self.labels = of_logs, labels

    def forward(self, P: Tensor) -> Tensor:
        return self.of_logs(_logs(P, self.labels)).to(P.dtype)


class _OfOne(nn.Module):
    """What is meant for several members, applied to the prediction of one."""

    def __init__(self, part: nn.Module):
        super().__init__()
        self.part = part

    def forward(self, p: Tensor) -> Tensor:
        return self.part(p.unsqueeze(0))[0]


def _logs(P: Tensor, labels: bool) -> Tensor:
    """Return log-probabilities of classes, or log-odds of labels, in float64; a rounding error is the least one."""
    smallest = 2.0**-23 if P.dtype == torch.float32 else 2.0**-52
    wide = P.double()
    if not labels:
        return wide.clamp_min(smallest).log()
    wide = wide.clamp(smallest, 1 - smallest)
    return wide.log() - torch.log1p(-wide)


class _LinearOfMembers(nn.Module):
    """A linear meta-learner on the members' outputs side by side."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray, link: str, place: np.ndarray, constant: np.ndarray):
        super().__init__()
        self.weight: Tensor
        self.bias: Tensor
        self.constant: Tensor
        self.place: Tensor
        for name, value in {"weight": weight.T, "bias": bias, "constant": constant, "place": place}.items():
            self.register_buffer(name, torch.as_tensor(np.array(value), dtype=torch.float64))
        self.link, self.second_only = link, len(constant) == 2 and link == "softmax"

    def forward(self, P: Tensor) -> Tensor:
        if self.second_only:
            P = P[:, :, 1:]
        z = P.double().transpose(0, 1).flatten(1) @ self.weight + self.bias
        if self.link == "softmax":
            z = z.softmax(1)
        if self.link == "sigmoid":
            z = z.sigmoid()
        return z @ self.place + self.constant


# ---- what each combiner becomes ----------------------------------------------------------------------------------


@combined.register
def _(combine: Average, task: Task, n_members: int) -> nn.Module:
    weights = combine.member_weights(n_members)
    return _Mean() if weights is None else _WeightedMean(weights)


@combined.register(WeightedAverage)
@combined.register(EnsembleSelection)
def _(combine: Any, task: Task, n_members: int) -> nn.Module:
    return _WeightedMean(combine.member_weights(n_members))


@combined.register
def _(combine: GeometricAverage, task: Task, n_members: int) -> nn.Module:
    weights = combine.member_weights(n_members)
    return _FromLogs(_Mean() if weights is None else _WeightedMean(weights), task == "multilabel")


@combined.register
def _(combine: Median, task: Task, n_members: int) -> nn.Module:
    return _Median(n_members, task == "classification")


@combined.register
def _(combine: Calibrated, task: Task, n_members: int) -> nn.Module:
    inside, labels = combined(combine.combine_, task, n_members), task == "multilabel"
    if combine.combine_.by_logs:
        inside = _OfProbabilities(inside, labels)
    tempered = _Tempered(combine.temperatures_, labels)
    parts: Sequence[nn.Module] = [tempered, inside] if combine.of_ == "members" else [inside, _OfOne(tempered)]
    return nn.Sequential(*parts)


@combined.register
def _(combine: Stack, task: Task, n_members: int) -> nn.Module:
    """Take linear and logistic regression as matrices, where these give what the combiner gives."""
    meta, n = combine.final_estimator_, len(combine.constant_)
    if meta is None:  # there was one class only
        return _LinearOfMembers(np.zeros((1, n_members * n)), np.zeros(1), "", np.zeros((1, n)), combine.constant_)
    metas = [*meta.estimators_] if task == "multilabel" and hasattr(meta, "estimators_") else [meta]
    if all(type(part) is (LinearRegression if task == "regression" else LogisticRegression) for part in metas):
        module = _linear(combine, task, metas)
        P = np.random.RandomState(0).uniform(size=(n_members, 20, n))
        P = P / P.sum(2, keepdims=True) if task == "classification" else P
        if np.allclose(module(torch.from_numpy(P)).numpy(), combine(P), rtol=1e-9, atol=1e-9):
            return module
    raise ValueError(
        f"Stack with the meta-learner {meta!r} cannot be part of a module, which has linear and logistic regression "
        "only: LinearRegression(), LogisticRegression(), and one LogisticRegression() for each label."
    )


def _linear(combine: Stack, task: Task, metas: Sequence[Any]) -> nn.Module:
    """Return what a linear meta-learner computes, or one for each label."""
    weight = np.concatenate([np.atleast_2d(meta.coef_) for meta in metas])
    bias = np.concatenate([np.broadcast_to(meta.intercept_, len(np.atleast_2d(meta.coef_))) for meta in metas])
    place = np.eye(len(combine.constant_))
    if task == "regression":
        return _LinearOfMembers(weight, bias, "", place, combine.constant_)
    if task == "multilabel":
        place, constant = place[combine.varied_], combine.constant_.copy()
        constant[combine.varied_] = 0
        return _LinearOfMembers(weight, bias, "sigmoid", place, constant)
    if len(weight) == 1:  # two classes, of which the first has the logit 0
        weight, bias = np.concatenate([0 * weight, weight]), np.concatenate([0 * bias, bias])
    return _LinearOfMembers(weight, bias, "softmax", place[metas[0].classes_], combine.constant_)
