"""Deep neural decision forests (Kontschieder et al., 2015): a network routes samples through trees."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from skfusion import nets
from skfusion._rows import Rows
from skfusion.data import PredictsClasses, check_inputs
from skfusion.forests._checked import check_counts, class_rows
from skfusion.forests._routing import ForestLoss, fitted_leaves, log_reach, mean_of_trees
from skfusion.state import State, map_tensors


@dataclass(eq=False, repr=False)
class NeuralDecisionForestClassifier(PredictsClasses, nets.KeepsNetworks, BaseEstimator):
    r"""Classify by trees whose decisions are a network's outputs, trained together with it.

    A node of a tree sends a sample to its left with probability :math:`d_n(x) = \sigma(f_{u(n)}(x))`, where
    :math:`u(n)` is the output of the network that was drawn for it. With :math:`\mu_{t\ell}(x)` for the probability to
    end in a leaf and :math:`\pi_{t\ell}` for its distribution of classes,

    .. math:: P(y \mid x) = \frac{1}{T} \sum_{t=1}^T \sum_\ell \pi_{t \ell y}\, \mu_{t\ell}(x).

    The outputs are logits, of which the trees take the sigmoid: a module must not end in a softmax. The
    leaves are fitted before each epoch by a fixed point that never lowers the likelihood; the network is trained
    with its optimiser, batch size and epochs, and with the loss :math:`-\log P_t(y \mid x)` of one tree, drawn at
    random for each batch.

    Parameters
    ----------
    estimator : skorch net, optional
        Gives the network, whose outputs route, and how it is trained; its criterion and ``predict_nonlinearity`` are
        not used. A module class that takes ``n_out`` is sized to ``n_units`` outputs.
        :func:`skfusion.nets.tabular_classifier` when omitted.
    n_trees : int, default=5
        Trees, :math:`T`.
    depth : int, default=4
        Decisions on the way to a leaf: a tree has ``2 ** depth`` leaves. 0 gives the class frequencies.
    n_units : int, optional
        Outputs of the network, which the trees share where there are fewer than nodes. One a node when omitted. Set it
        to the width of a module whose width is fixed.
    n_leaf_updates : int, default=20
        Steps of the fixed point before an epoch. It begins with uniform leaves each time.
    random_state : int, RandomState or None, default=None
        Seed of the draw of outputs, the initial weights, the shuffling and the trees of batches.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    net_ : skorch net
        The net, sized to the data, unfitted.
    state_ : dict of Tensor
        The weights of the network.
    units_ : ndarray of int, shape (n_trees, 2 ** depth - 1)
        The output that decides at each node, level by level from the root.
    leaves_ : ndarray of shape (n_trees, 2 ** depth, n_classes)
        Class probabilities of each leaf.
    history_ : list of dict
        The losses of each epoch, and the scores of callbacks, which are those of the forest.
    n_features_in_ : int
        Columns of the inputs, or inputs of a dict.

    Notes
    -----
    Where the net's ``train_split`` holds rows out, the leaves are fitted without them until the last epoch is over, so
    that ``valid_loss``, ``valid_acc`` and what stops or schedules by them are those of rows that the forest has not
    seen. ``leaves_``, which predict, are then fitted on all rows.

    The fixed point takes ``n_samples * 2 ** depth`` numbers in memory, and ``n_leaf_updates`` passes over them for each
    tree and epoch. Whole-number weights are repetitions of a row.

    References
    ----------
    Kontschieder, Fiterau, Criminisi and Rota Bulò, "Deep neural decision forests", ICCV 2015,
    doi:10.1109/ICCV.2015.172.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from skfusion import NeuralDecisionForestClassifier
    >>> X, X_test, y, y_test = train_test_split(*load_digits(n_class=4, return_X_y=True), random_state=0)
    >>> forest = NeuralDecisionForestClassifier(random_state=0).fit(X, y)
    >>> forest.score(X_test, y_test) > 0.95
    True
    """

    estimator: Any = None
    n_trees: int = 5
    depth: int = 4
    n_units: int | None = None
    n_leaf_updates: int = 20
    random_state: Any = None

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> NeuralDecisionForestClassifier:
        """Train the network and the leaves in turn.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), or dict of array-like
            Inputs. A dict names the arguments of the module's ``forward``.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights. Whole numbers are repetitions of the row.

        Returns
        -------
        NeuralDecisionForestClassifier
            The fitted estimator.
        """
        X, y = check_inputs(self, X, y, reset=True)
        check_counts(self, n_trees=1, depth=0, n_leaf_updates=1)
        rows, self.classes_ = class_rows(X, y, sample_weight, None)
        rows = rows.expanded()
        rng = check_random_state(self.random_state)
        seed = int(rng.randint(np.iinfo(np.int32).max))
        self.units_ = self._drawn_units(rng)
        loss = ForestLoss(
            torch.from_numpy(self.units_),
            torch.full((self.n_trees, 2**self.depth, len(self.classes_)), 1 / len(self.classes_), dtype=torch.float64),
        )
        net = self._sized(loss, rows)
        self.net_ = type(net)(**{**clone(net).get_params(deep=False), "criterion": nn.CrossEntropyLoss})
        self._runner = nets.Runner(self.net_, "classification", rows)
        with nets.seed_scope(seed, net.device):
            state = map_tensors(lambda t: t.detach().clone(), nets.initialised(net, rows).state_dict())
        self.history_ = []
        if self.depth:  # else there is nothing to route
            self._warn_of_probabilities(state, rows)
            with nets.seed_scope(seed, net.device):
                split, train = kept_split(net, rows)
            net.set_params(train_split=split, predict_nonlinearity=loss.probabilities)
            seen = rows if train is None else rows.take(train)
            loss.leaves.copy_(self._leaves(state, seen))

            def refit(epoch: int, trained: Any) -> None:
                loss.leaves.copy_(self._leaves(nets.state_of(trained), seen))

            trained = nets.fit(net, rows, seed, nets.Watch(on_epoch=refit), state=state)
            state, self.history_ = nets.state_of(trained), nets.history_of(trained)
        self.state_ = state
        self.leaves_ = self._leaves(state, rows).numpy()
        return self

    def _drawn_units(self, rng: np.random.RandomState) -> np.ndarray:
        """Return an output for each node; no output is used twice while there are others."""
        n_nodes = self.n_trees * (2**self.depth - 1)
        n_units = self._width()
        order = [rng.permutation(n_units) for _ in range(-(-n_nodes // n_units))]
        return np.concatenate([np.empty(0, np.int64), *order])[:n_nodes].reshape(self.n_trees, -1).astype(np.int64)

    def _width(self) -> int:
        if self.n_units is None:
            return max(1, self.n_trees * (2**self.depth - 1))
        if isinstance(self.n_units, bool) or not isinstance(self.n_units, (int, np.integer)) or self.n_units < 1:
            raise ValueError(f"n_units must be None or a whole number of at least 1; got {self.n_units!r}.")
        return int(self.n_units)

    def _sized(self, loss: ForestLoss, rows: Rows) -> Any:
        """Return the net with the forest as its criterion and an output for each unit."""
        net = nets.default_net("classification") if self.estimator is None else self.estimator
        if not nets.is_net(net):
            raise nets.no_net(net)
        if any(kind.__name__ == "NeuralNetBinaryClassifier" for kind in type(net).__mro__):
            raise ValueError(
                f"{type(net).__name__} takes one output a row, the logit of a class, but here outputs route: give a "
                "NeuralNetClassifier."
            )
        criterion = sorted(name for name in net.get_params(deep=False) if name.startswith("criterion__"))
        if criterion:
            raise ValueError(f"The forest is the criterion here, and takes no {criterion}: leave them out of the net.")
        net = type(net)(**{**clone(net).get_params(deep=False), "criterion": loss})  # no module may be set later
        try:
            return nets.sized(net, rows, self._width())
        except ValueError as error:
            if "returns an output of shape" not in str(error):
                raise
            shape = str(error).partition("of shape ")[2].partition(" for")[0]
            raise ValueError(
                f"The net returns an output of shape {shape}, but the forest asks for {self._width()} outputs a row, "
                "which route. Give the module class an n_out parameter, or set n_units to its width."
            ) from error

    def _warn_of_probabilities(self, state: State, rows: Rows) -> None:
        """Warn where the outputs of a batch are probabilities, or their logarithms."""
        out = self._runner.raw(state, rows.take(np.arange(min(len(rows), 128))).X).cpu().double()
        for p, end in ((out, "softmax"), (out.exp(), "log-softmax")):
            if bool(((p >= 0) & (p <= 1)).all()) and bool(((p.sum(dim=1) - 1).abs() < 1e-4).all()):
                warnings.warn(
                    f"The module's outputs are those of a {end}: probabilities that sum to 1 in each row. The forest "
                    "takes them for logits, and learns little or nothing. Let the module return what goes into the "
                    f"{end}.",
                    stacklevel=3,
                )

    def _leaves(self, state: State, rows: Rows) -> Tensor:
        """Return the leaves that fit the routing of a state best, shape (n_trees, n_leaves, n_classes), float64."""
        out = self._runner.raw(state, rows.X).cpu().double()
        y = torch.from_numpy(rows.y)
        weight = None if rows.weight is None else torch.from_numpy(rows.weight)
        return torch.stack(
            [
                fitted_leaves(log_reach(out[:, units]).exp(), y, len(self.classes_), self.n_leaf_updates, weight)
                for units in torch.from_numpy(self.units_)
            ]
        )

    def _inputs(self, X: Any) -> Any:
        check_is_fitted(self)
        return check_inputs(self, X, reset=False)[0]

    def _predict(self, X: Any) -> np.ndarray:
        if not hasattr(self, "_runner"):  # as after unpickling
            self._runner = nets.Runner(self.net_, "classification")
        out = self._runner.raw(self.state_, X).cpu()
        return mean_of_trees(out, torch.from_numpy(self.units_), torch.from_numpy(self.leaves_)).numpy()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "leaves_")


class KeptSplit:
    """A ``train_split`` that divides rows as another one did; None stands for all rows, a dataset for other data."""

    keeps_units = True  # as it divides them

    def __init__(self, train: np.ndarray | None, valid: np.ndarray | Dataset[Any] | None):
        self.train, self.valid = train, valid

    def __call__(self, dataset: Any, y: Any = None, **_: Any) -> tuple[Any, Any]:
        """Return the data to train on, and the data that is held out."""
        valid = Subset(dataset, self.valid) if isinstance(self.valid, np.ndarray) else self.valid
        return (dataset if self.train is None else Subset(dataset, self.train)), valid


def kept_split(net: Any, rows: Rows) -> tuple[KeptSplit | None, np.ndarray | None]:
    """Return a ``train_split`` that divides the rows in the same way each time, and the positions that it trains on.

    The split is None where the net has none, and the positions are None for all rows. The net is sized to the data; its
    own ``train_split`` may draw from the global generators.
    """
    net = clone(net)
    net.train_split = nets.unit_split(net.train_split, rows)
    dataset = net.get_dataset(rows.X, rows.y)
    net.get_dataset = lambda X, y=None: dataset
    train, valid = net.get_split_datasets(rows.X, rows.y)
    positions, source = _within(train)
    if source is not dataset:
        raise ValueError(
            f"The net trains on {train!r}, which is no part of the data of fit, so that the leaves cannot be fitted on "
            "it. Let its train_split return torch.utils.data.Subset(dataset, positions), as skorch's ValidSplit does."
        )
    if valid is None and positions is None:
        return None, None
    held_out, source = _within(valid)
    return KeptSplit(positions, held_out if source is dataset and held_out is not None else valid), positions


def _within(part: Any) -> tuple[np.ndarray | None, Any]:
    """Return positions in the data that a part was taken from, None where it is all of it, and that data."""
    positions = None
    while isinstance(part, Subset):
        indices = np.asarray(part.indices)
        positions, part = indices if positions is None else indices[positions], part.dataset
    return positions, part
