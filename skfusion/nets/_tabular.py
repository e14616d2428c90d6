"""Default networks for tables: perceptrons that encode numbers piecewise linearly, and embed categories.

What has made perceptrons as good as boosted trees on tables since 2022: a preparation of numbers that outliers cannot
harm, an encoding of each column, strong weight decay with an annealed learning rate, and dropout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback, EarlyStopping
from skorch.dataset import ValidSplit
from torch import Tensor, nn

from skfusion._rows import Task
from skfusion._vectorized import FewBitsDropout
from skfusion.nets._table_inputs import TableInputs
from skfusion.nets._table_statistics import TableStatistics
from skfusion.nets.losses._smoothed import SmoothedCrossEntropyLoss

BATCH_SIZES = {1500: 32, 3000: 64, 10_000: 128, 50_000: 256}
"""Rows of a table below which a batch has so many of them; one of larger tables has 512."""


class TabularMLP(TableInputs):
    r"""A perceptron for tables, with piecewise-linear encodings of numbers and embeddings of categories.

    A number is scaled robustly and clipped smoothly, so that raw columns with outliers do no harm:

    .. math:: u = \frac{x - \mathrm{median}}{\mathrm{IQR}}, \qquad z = \frac{u}{\sqrt{1 + (u / 3)^2}}

    Its encoding has for each bin between quantiles :math:`b_t < b_{t + 1}` of the training rows the share of the bin
    that lies below it, :math:`e_t = \min(1, \max(0, (z - b_t) / (b_{t + 1} - b_t)))`. A unit of the first hidden layer
    sums a line and a piecewise-linear function of each number, of which the functions start as zero:
    :math:`\mathrm{relu}(W z + V e + c)`. A category is looked up in a table of embeddings.

    Parameters
    ----------
    n_in : int
        Columns.
    n_out : int
        Outputs: classes, labels or targets.
    table : TableStatistics
        Of the training rows; an estimator of this library fills it in.
    categorical : sequence of int, default=()
        Columns with codes of categories: 0, 1, ...; what was not in the training rows, such as -1, is a category of
        its own.
    hidden : sequence of int, default=(128, 128)
        Units of each hidden layer. More fit more and cost more.
    dropout : float, default=0.1
        Probability of zeroing a hidden unit in training.
    d_embedding : int, default=8
        Numbers that a category becomes.

    Notes
    -----
    With n numbers, T bins (32, or 2048 / n if that is fewer) and h units, the first layer costs about n T h products a
    row.

    References
    ----------
    Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular deep learning", NeurIPS 2022,
    arXiv:2203.05556 (piecewise-linear encoding). Holzmuller, Grinsztajn and Steinwart, "Better by default: strong
    pre-tuned MLPs and boosted trees on tabular data", NeurIPS 2024, arXiv:2407.04491 (robust scaling, smooth clipping).
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        table: TableStatistics,
        categorical: Sequence[int] = (),
        hidden: Sequence[int] = (128, 128),
        dropout: float = 0.1,
        d_embedding: int = 8,
    ):
        super().__init__(n_in, n_out, table, categorical, d_embedding)
        widths = [self.n_inputs, *hidden, n_out]
        self.lines = nn.Linear(widths[0], widths[1])
        self.curves = nn.Linear(table.edges.size, widths[1], bias=False) if self.numbers else None
        if self.curves is not None:
            nn.init.zeros_(self.curves.weight)
        layers: list[nn.Module] = []
        for n, m in pairwise(widths[1:]):
            layers += [nn.ReLU(), FewBitsDropout(dropout), nn.Linear(n, m)]
        self.layers = nn.Sequential(*layers)

    def forward(self, X: Tensor) -> Tensor:  # X shape: (n_samples, ...)
        """Return logits or values.

        Parameters
        ----------
        X : Tensor of shape (n_samples, ...)
            Inputs.

        Returns
        -------
        Tensor of shape (n_samples, n_out)
            Logits, or values in the units of the targets.
        """
        z, embedded = self._prepared(X)
        first = self.lines(z if embedded is None else torch.cat([z, embedded.flatten(1)], dim=1))
        if self.curves is not None:
            first = first + self.curves(self._encoded(z))
        return self.layers(first) * self.y_std + self.y_mean


class CosineAnnealing(Callback):
    """Lower learning rates, of each group of parameters its own, to a share of them along half a cosine by epochs.

    This is the schedule of Loshchilov and Hutter (ICLR 2017, arXiv:1608.03983) without restarts.

    Parameters
    ----------
    final : float, default=0.02
        The share of the rate that the last epoch would reach.
    """

    def __init__(self, final: float = 0.02):
        self.final = final

    def on_epoch_begin(self, net: Any, **_: Any) -> None:
        """Set the rates of the epoch."""
        epoch = len(net.history) - 1
        groups = net.optimizer_.param_groups
        if epoch == 0 or not hasattr(self, "rates_"):
            self.rates_ = [group["lr"] for group in groups]
        factor = self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * epoch / net.max_epochs))
        for group, rate in zip(groups, self.rates_, strict=True):
            group["lr"] = rate * factor


def batch_size_for(n_rows: int) -> int:
    """Return the rows of a batch, for a table of so many rows."""
    return next((size for limit, size in BATCH_SIZES.items() if n_rows < limit), 512)


_DEFAULTS: dict[str, Any] = {
    "optimizer": torch.optim.AdamW,
    "optimizer__fused": True,
    "optimizer__weight_decay": 2.0,
    "lr": 0.003,
    "max_epochs": 40,
    "batch_size": "auto",
    "iterator_train__shuffle": True,
    "train_split": None,
    **{f"callbacks__{name}": None for name in ("epoch_timer", "train_loss", "print_log")},
    "verbose": 0,
}


def tabular_classifier(
    *, multilabel: bool = False, early_stopping: bool = False, label_smoothing: float | None = None, **params: Any
) -> NeuralNetClassifier:
    """Return a skorch net with a :class:`TabularMLP`, for classification.

    Parameters
    ----------
    multilabel : bool, default=False
        Labels do not exclude each other.
    early_stopping : bool, default=False
        Validate on a tenth of the rows after each epoch, stop when 8 epochs have brought no lower loss, and keep the
        best state.
    label_smoothing : float, optional
        Share of the target that is spread over all classes. More gives probabilities farther from 0 and 1. Only for
        classes that exclude each other, where it is 0.1 when omitted, and no ``criterion`` is given.
    **params : dict
        Passed on to ``skorch.NeuralNetClassifier``: ``lr``, ``max_epochs``, ``batch_size`` (``"auto"``: by the number
        of rows), ``module__categorical``, ``module__hidden``, ``module__dropout``, ...

    Returns
    -------
    skorch.NeuralNetClassifier
        An unfitted net; an estimator of this library sizes it to the data.
    """
    if label_smoothing and multilabel:
        raise ValueError("label_smoothing is for classes that exclude each other: leave it or multilabel out.")
    criterion = nn.BCEWithLogitsLoss if multilabel else nn.CrossEntropyLoss
    settings: dict[str, Any] = {"callbacks__valid_acc": None, "optimizer__weight_decay": 0.5}
    if label_smoothing:
        settings["criterion__label_smoothing"] = label_smoothing
    elif label_smoothing is None and not multilabel:
        criterion = SmoothedCrossEntropyLoss
    settings["criterion"] = criterion
    return _net(NeuralNetClassifier, early_stopping, {**settings, **params})


def tabular_regressor(*, early_stopping: bool = False, **params: Any) -> NeuralNetRegressor:
    """Return a skorch net with a :class:`TabularMLP`, for regression.

    Parameters
    ----------
    early_stopping : bool, default=False
        Validate on a tenth of the rows after each epoch, stop when 8 epochs have brought no lower loss, and keep the
        best state.
    **params : dict
        Passed on to ``skorch.NeuralNetRegressor``: ``lr``, ``max_epochs``, ``batch_size`` (``"auto"``: by the number of
        rows), ``module__categorical``, ``module__hidden``, ``module__dropout``, ...

    Returns
    -------
    skorch.NeuralNetRegressor
        An unfitted net; an estimator of this library sizes it to the data.
    """
    return _net(NeuralNetRegressor, early_stopping, {"criterion": nn.MSELoss, **params})


def default_net(task: Task) -> NeuralNetClassifier | NeuralNetRegressor:
    """Return the net that an estimator uses when it is given none: that for tables.

    Parameters
    ----------
    task : {"classification", "multilabel", "regression"}
        What the outputs are.

    Returns
    -------
    skorch net
        Unfitted, not sized yet: :func:`tabular_classifier` or :func:`tabular_regressor`.
    """
    return tabular_regressor() if task == "regression" else tabular_classifier(multilabel=task == "multilabel")


def _net(kind: Any, early_stopping: bool, params: dict[str, Any]) -> Any:
    others = params.pop("callbacks", None) or []
    if isinstance(others, str):
        raise ValueError(f"callbacks={others!r} would take the annealed rate away: give a list of further callbacks.")
    callbacks: list[Any] = [("annealing", CosineAnnealing()), *others]
    settings: dict[str, Any] = {"callbacks__valid_loss": None}
    if early_stopping:
        callbacks.append(("early_stopping", EarlyStopping(patience=8, load_best=True)))
        settings = {"train_split": ValidSplit(0.1, stratified=kind is NeuralNetClassifier, random_state=0)}
    return kind(TabularMLP, **{**_DEFAULTS, **settings, **params, "callbacks": callbacks})
