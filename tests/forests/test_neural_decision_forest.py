"""Neural decision forests: routing, the fixed point of the leaves, gradients, and the estimator on top."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_classification
from sklearn.tree import DecisionTreeClassifier
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from skorch.callbacks import EarlyStopping, EpochScoring
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split
from torch import nn
from torch.utils.data import Subset

from skfusion import NeuralDecisionForestClassifier, SoupClassifier
from skfusion.forests._routing import ForestLoss, fitted_leaves, log_reach, mean_of_trees, updated_leaves
from skfusion.nets import mlp_classifier, mlp_regressor


def small(**params):
    net = mlp_classifier(module__hidden=(16,), max_epochs=5, batch_size=32)
    return NeuralDecisionForestClassifier(**{"estimator": net, "n_trees": 3, "depth": 3, "random_state": 0, **params})


def problem(n=200, n_classes=3):
    X, y = make_classification(n, 8, n_informative=5, n_classes=n_classes, random_state=0)
    return X, y


def routing(n=50, depth=3, n_classes=4, seed=0):
    rng = torch.Generator().manual_seed(seed)
    f = 2 * torch.randn(n, 2**depth - 1, dtype=torch.float64, generator=rng)
    return f, torch.randint(n_classes, (n,), generator=rng)


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_reach_sums_to_one(depth):
    f, _ = routing(depth=depth)
    reach = log_reach(f).exp()
    assert reach.shape == (50, 2**depth)
    torch.testing.assert_close(reach.sum(dim=1), torch.ones(50, dtype=torch.float64), rtol=1e-12, atol=0)


def test_reach_is_the_product_along_the_way():
    f, _ = routing(n=4, depth=3)
    d = torch.sigmoid(f)
    for leaf in range(8):
        node, wanted = 0, torch.ones(4, dtype=torch.float64)
        for bit in f"{leaf:03b}":  # 0 goes left; the children of node i are 2i + 1 and 2i + 2
            wanted = wanted * (d[:, node] if bit == "0" else 1 - d[:, node])
            node = 2 * node + 1 + int(bit)
        torch.testing.assert_close(log_reach(f).exp()[:, leaf], wanted)


def log_likelihood(leaves, reach, y, weight=None):
    found = (reach @ leaves)[torch.arange(len(y)), y].log()
    return float((found if weight is None else weight * found).sum())


@pytest.mark.parametrize("weighted", [False, True])
def test_updates_raise_the_likelihood_and_leaves_stay_distributions(weighted):
    f, y = routing(n=300)
    weight = torch.rand(300, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) if weighted else None
    reach = log_reach(f).exp()
    leaves = torch.full((8, 4), 0.25, dtype=torch.float64)
    values = [log_likelihood(leaves, reach, y, weight)]
    for _ in range(30):
        leaves = updated_leaves(leaves, reach, y, weight)
        values.append(log_likelihood(leaves, reach, y, weight))
        torch.testing.assert_close(leaves.sum(dim=1), torch.ones(8, dtype=torch.float64), rtol=1e-12, atol=0)
    assert (np.diff(values) >= -1e-9).all()
    assert values[-1] > values[0] + 1
    torch.testing.assert_close(leaves, fitted_leaves(reach, y, 4, 30, weight))


def test_an_update_written_out():
    f, y = routing(n=10, depth=2, n_classes=3)
    reach, leaves = log_reach(f).exp(), torch.tensor([[0.2, 0.3, 0.5]] * 2 + [[0.6, 0.3, 0.1]] * 2, dtype=torch.float64)
    wanted = torch.zeros(4, 3, dtype=torch.float64)
    for i in range(10):
        p = sum(leaves[k, y[i]] * reach[i, k] for k in range(4))
        for k in range(4):
            wanted[k, y[i]] += leaves[k, y[i]] * reach[i, k] / p
    torch.testing.assert_close(updated_leaves(leaves, reach, y), wanted / wanted.sum(dim=1, keepdim=True))


def test_hard_decisions_are_an_ordinary_tree():
    X, y = problem()
    tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X, y).tree_
    right = tree.children_right[0]
    nodes = [0, tree.children_left[0], right]
    f = np.stack([tree.threshold[n] - X[:, tree.feature[n]] for n in nodes], axis=1)  # left where x <= threshold
    leaves = [tree.children_left[nodes[1]], tree.children_right[nodes[1]], tree.children_left[right]]
    leaves.append(tree.children_right[right])
    reach = log_reach(torch.from_numpy(np.sign(f) * 1e4)).exp()
    found = fitted_leaves(reach, torch.from_numpy(y), 3, 1)
    np.testing.assert_allclose(found, tree.value[leaves][:, 0], rtol=1e-5)


def test_a_leaf_that_nothing_reaches_keeps_its_distribution():
    leaves = torch.tensor([[0.5, 0.5], [0.9, 0.1]], dtype=torch.float64)
    found = updated_leaves(leaves, torch.tensor([[1.0, 0.0]] * 3).double(), torch.tensor([0, 0, 1]))
    torch.testing.assert_close(found, torch.tensor([[2 / 3, 1 / 3], [0.9, 0.1]], dtype=torch.float64))


def test_the_gradient_is_the_one_of_the_paper():
    f, y = routing(n=20)
    leaves = torch.softmax(torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)), dim=1)
    f.requires_grad_()
    loss = ForestLoss(torch.arange(7)[None], leaves[None], reduction="none")(f, y)
    (found,) = torch.autograd.grad(loss.sum(), f)
    with torch.no_grad():
        share = leaves.T[y] * log_reach(f).exp()
        share = share / share.sum(dim=1, keepdim=True)  # shape: (n_rows, n_leaves)
        for node in range(7):
            level = int(np.log2(node + 1))
            width = 8 >> level
            start = (node + 1 - 2**level) * width
            left = share[:, start : start + width // 2].sum(dim=1)
            right = share[:, start + width // 2 : start + width].sum(dim=1)
            d = torch.sigmoid(f[:, node])
            torch.testing.assert_close(found[:, node], d * right - (1 - d) * left)


def test_training_draws_a_tree_and_evaluation_takes_all():
    f, y = routing(n=20)
    leaves = torch.softmax(torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(2)), dim=2).double()
    units = torch.stack([torch.arange(7), torch.arange(7).flip(0)])
    loss = ForestLoss(units, leaves)
    p = torch.stack(
        [(log_reach(f[:, u]).exp() @ own)[torch.arange(20), y] for u, own in zip(units, leaves, strict=True)]
    )
    torch.testing.assert_close(loss.eval()(f, y), -p.mean(dim=0).log().mean())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = {round(float(loss.train()(f, y)), 9) for _ in range(20)}
    assert drawn == {round(float(-one.log().mean()), 9) for one in p}


def test_far_decisions_have_finite_losses_and_gradients():
    f = torch.full((2, 3), 500.0, requires_grad=True)
    leaves = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.5, 0.5]]])
    loss = ForestLoss(torch.arange(3)[None], leaves)(f, torch.tensor([0, 1]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(f.grad).all()


def test_depth_0_gives_the_class_frequencies():
    X, y = problem()
    forest = small(depth=0, n_leaf_updates=1).fit(X, y)
    np.testing.assert_allclose(forest.predict_proba(X), np.tile(np.bincount(y) / 200, (200, 1)), rtol=1e-6)
    weight = 1.0 + y
    heavy = small(depth=0).fit(X, y, sample_weight=weight).predict_proba(X[:1])[0]
    np.testing.assert_allclose(heavy, np.bincount(y, weight) / weight.sum(), rtol=1e-6)


def test_the_prediction_is_the_mean_of_the_trees():
    X, y = problem()
    forest = small().fit(X, y)
    assert forest.leaves_.shape == (3, 8, 3)
    np.testing.assert_allclose(forest.leaves_.sum(axis=2), 1, rtol=1e-12)
    net = forest.net_.initialize()
    net.module_.load_state_dict(forest.state_)
    with torch.no_grad():
        out = net.module_.eval()(torch.from_numpy(X.astype(np.float32)))
    wanted = (
        sum(log_reach(out[:, u]).exp().numpy() @ own for u, own in zip(forest.units_, forest.leaves_, strict=True)) / 3
    )
    np.testing.assert_allclose(forest.predict_proba(X), wanted, rtol=1e-5)


def test_the_leaves_are_those_of_the_last_weights():
    X, y = problem()
    forest = small(n_leaf_updates=3).fit(X, y)
    out = torch.from_numpy(forest._runner.raw(forest.state_, X.astype(np.float32)).numpy()).double()
    for units, own in zip(forest.units_, forest.leaves_, strict=True):
        torch.testing.assert_close(
            torch.from_numpy(own), fitted_leaves(log_reach(out[:, units]).exp(), torch.from_numpy(y), 3, 3)
        )


def test_training_helps():
    X, y = load_digits(n_class=5, return_X_y=True)
    net = mlp_classifier(max_epochs=20)
    trained = NeuralDecisionForestClassifier(net, random_state=0).fit(X[::2], y[::2])
    idle = NeuralDecisionForestClassifier(mlp_classifier(max_epochs=20, lr=0.0), random_state=0).fit(X[::2], y[::2])
    losses = [row["train_loss"] for row in trained.history_]
    assert losses[-1] < 0.5 * losses[0]
    assert trained.score(X[1::2], y[1::2]) > 0.95 > idle.score(X[1::2], y[1::2])


def test_units_are_drawn_once_while_there_are_others():
    X, y = problem(n=40)
    assert sorted(small(depth=3).fit(X, y).units_.ravel()) == list(range(21))
    shared = small(depth=3, n_units=10).fit(X, y).units_
    assert shared.shape == (3, 7)
    assert set(np.bincount(shared.ravel())) == {2, 3}
    assert all(len(set(tree)) > 1 for tree in shared)
    assert small(depth=3, n_units=100).fit(X, y).net_.module__n_out == 100


class Linear(nn.Module):
    """Puts a linear map before an end."""

    def __init__(self, n_in=8, n_out=2, end=None):
        super().__init__()
        self.layer, self.end = nn.Linear(n_in, n_out), end or nn.Identity()

    def forward(self, X):
        return self.end(self.layer(X))


def plain(**params):
    return NeuralNetClassifier(Linear, **{"max_epochs": 3, "lr": 0.1, "verbose": 0, **params})


def coins(n=150):
    rng = np.random.RandomState(0)
    return (30 * rng.normal(size=(n, 20))).astype(np.float32), rng.randint(2, size=n)


def judged(forest, X, y, seen, held):
    """Return the loss of some rows under the final weights, with leaves that are fitted on other ones."""
    out = torch.from_numpy(forest._runner.raw(forest.state_, X).numpy()).double()
    units, codes = torch.from_numpy(forest.units_), torch.from_numpy(y)
    leaves = [fitted_leaves(log_reach(out[seen][:, u]).exp(), codes[seen], 2, forest.n_leaf_updates) for u in units]
    p = mean_of_trees(out, units, torch.stack(leaves))[held, codes[held]]
    return float(-p.log().mean())


SPLITS = {
    "folds": ValidSplit(5, stratified=True),
    "drawn": ValidSplit(0.2),  # from the global generator, anew each time
    "subset-of-a-subset": lambda data, y=None: (
        Subset(Subset(data, range(10, 150)), range(100)),
        Subset(data, range(10)),
    ),
}


@pytest.mark.parametrize("split", SPLITS)
def test_held_out_rows_are_not_in_the_leaves(split):
    X, y = coins()
    seen = []

    def spied(data, y=None):
        train, valid = SPLITS[split](data, y)
        seen.append(([data.X[i].tolist() for i in np.arange(len(data))[_indices(train)]], _indices(valid)))
        return train, valid

    net = plain(lr=0.0, train_split=spied)  # a network that does not learn, so that only leaves can
    forest = small(estimator=net, n_trees=5, depth=5).fit(X, y)
    ((_, held),) = seen  # the split is drawn once
    train = np.array([i for i, x in enumerate(X.tolist()) if x in seen[0][0]])
    losses = [row["valid_loss"] for row in forest.history_]
    np.testing.assert_allclose(losses, judged(forest, X, y, train, held), rtol=1e-5)
    assert min(losses) > np.log(2)  # nobody foretells coins
    everything = judged(forest, X, y, np.arange(150), held)
    assert everything < np.log(2)  # what it was with leaves that had seen them
    np.testing.assert_allclose(forest.predict_proba(X)[held, y[held]], _likelihood(forest, X, y)[held], rtol=1e-5)


def _indices(part):
    found = np.arange(len(part.dataset.dataset)) if isinstance(part.dataset, Subset) else None
    own = np.asarray(part.indices)
    return own if found is None else np.asarray(part.dataset.indices)[own]


def _likelihood(forest, X, y):
    """Return the probabilities of labels with leaves that are fitted on all rows."""
    out = torch.from_numpy(forest._runner.raw(forest.state_, X).numpy()).double()
    units, codes = torch.from_numpy(forest.units_), torch.from_numpy(y)
    leaves = [fitted_leaves(log_reach(out[:, u]).exp(), codes, 2, forest.n_leaf_updates) for u in units]
    return mean_of_trees(out, units, torch.stack(leaves))[range(len(y)), codes]


def test_other_data_may_be_judged_on():
    X, y = problem(n_classes=2)
    other = Dataset(X[:50].astype(np.float32), y[:50])
    forest = small(estimator=plain(train_split=predefined_split(other))).fit(X[50:], y[50:])
    assert "valid_loss" in forest.history_[0]
    with pytest.raises(ValueError, match=r"no part of the data of fit.*Subset\(dataset, positions\)"):
        small(estimator=plain(train_split=lambda data, y=None: (other, data))).fit(X[50:], y[50:])


def test_callbacks_score_the_forest():
    X, y = load_digits(n_class=5, return_X_y=True)
    X = X.astype(np.float32)
    held = np.arange(0, len(X), 5)
    rest = np.setdiff1d(np.arange(len(X)), held)
    callbacks = [
        EpochScoring("accuracy", on_train=True, name="train_acc", lower_is_better=False),
        EpochScoring("neg_log_loss", name="valid_log", lower_is_better=False),
        EarlyStopping(monitor="valid_acc", lower_is_better=False, patience=4, threshold=0.01, threshold_mode="abs"),
    ]
    net = plain(module__n_in=64, optimizer=torch.optim.Adam, lr=0.005, max_epochs=100, callbacks=callbacks)
    net.set_params(train_split=lambda data, y=None: (Subset(data, rest), Subset(data, held)))
    forest = small(estimator=net, n_trees=5, depth=4).fit(X, y)
    assert 4 < len(forest.history_) < 100  # stopped where valid_acc no longer rose
    last = forest.history_[-1]
    np.testing.assert_allclose(last["valid_log"], -last["valid_loss"], rtol=1e-4)
    assert last["valid_acc"] > 0.9
    assert last["train_acc"] > 0.9
    one = small(estimator=net.set_params(max_epochs=1), n_trees=5, depth=4).fit(X, y)
    assert one.history_[0]["valid_acc"] == forest.history_[0]["valid_acc"]
    assert isinstance(one.net_.train_split, type(net.train_split))  # the user's own
    assert one.net_.predict_nonlinearity == "auto"


@pytest.mark.parametrize(
    ("end", "name"),
    [(nn.Softmax(-1), "a softmax"), (nn.LogSoftmax(-1), "a log-softmax")],
    ids=["softmax", "log-softmax"],
)
def test_probabilities_in_the_place_of_logits_are_warned_of(end, name):
    X, y = problem()
    net = plain(module__end=end, criterion=nn.NLLLoss)  # skorch's convention
    with pytest.warns(UserWarning, match=f"outputs are those of {name}"):
        small(estimator=net).fit(X, y)
    small(estimator=plain(module__end=nn.Sigmoid())).fit(X, y)  # whose rows sum to no 1


class Named(nn.Module):
    """Takes two inputs by name, of which one holds categories."""

    def __init__(self, n_out=2):
        super().__init__()
        self.table, self.layer = nn.Embedding(4, 3), nn.Linear(8 + 3, n_out)

    def forward(self, wide, kind):
        return self.layer(torch.cat([wide, self.table(kind)], dim=1))


def test_inputs_by_name():
    X, y = problem(n=120)
    inputs = {"wide": X, "kind": np.arange(120) % 4}
    forest = small(estimator=NeuralNetClassifier(Named, max_epochs=3, lr=0.1, verbose=0)).fit(inputs, y)
    assert forest.n_features_in_ == 2
    p = forest.predict_proba(inputs)
    assert p.shape == (120, 3)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(forest)).predict_proba(inputs), p)
    assert (forest.predict_proba({**inputs, "kind": np.zeros(120, int)}) != p).any()
    weight = np.arange(120) % 3
    weighted = forest.fit(inputs, y, sample_weight=weight).predict_proba(inputs)
    repeated = forest.fit({k: v.repeat(weight, axis=0) for k, v in inputs.items()}, y.repeat(weight))
    np.testing.assert_array_equal(repeated.predict_proba(inputs), weighted)
    with pytest.raises(ValueError, match=r"X must be a dict with the inputs \['kind', 'wide'\], as in fit"):
        forest.predict(X)
    with pytest.raises(ValueError, match="The inputs have sample shapes"):
        forest.predict({"wide": X})
    with pytest.raises(ValueError, match="X is an empty dict"):
        forest.fit({}, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        forest.fit(inputs, y[:-1])
    with pytest.raises(ValueError, match="asks for n_in, which a dict of inputs does not tell"):
        small().fit(inputs, y)


class One(nn.Module):
    """Has one output, as binary nets of skorch do."""

    def __init__(self, n_in=8, n_out=1):
        super().__init__()
        self.layer = nn.Linear(n_in, n_out)

    def forward(self, X):
        return self.layer(X)


@pytest.mark.parametrize(("n_trees", "depth"), [(1, 1), (3, 3)])
def test_binary_nets_are_refused(n_trees, depth):
    X, y = problem(n=40, n_classes=2)
    net = NeuralNetBinaryClassifier(One, verbose=0)
    with pytest.raises(ValueError, match=r"NeuralNetBinaryClassifier takes one output a row.*NeuralNetClassifier"):
        small(estimator=net, n_trees=n_trees, depth=depth).fit(X, y)


class Fixed(nn.Module):
    """Has 6 outputs, whatever is asked of it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.Dropout(0.1))

    def forward(self, X):
        return self.layers(X)


def test_a_module_with_a_width_of_its_own():
    X, y = problem()
    net = NeuralNetClassifier(Fixed, max_epochs=3, lr=0.1, verbose=0)  # holds rows out: the loss is asked there too
    forest = small(estimator=net, n_units=6).fit(X.reshape(-1, 2, 4), y)
    assert set(forest.units_.ravel()) <= set(range(6))
    assert {"train_loss", "valid_loss"} <= set(forest.history_[0])
    with pytest.raises(ValueError, match=r"output of shape \(2, 6\), but the forest asks for 21 outputs.*set n_units"):
        small(estimator=net).fit(X, y)


def test_the_same_seed_gives_the_same_forest():
    X, y = problem()
    one, again, other = (small(random_state=s).fit(X, y) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.predict_proba(X), again.predict_proba(X))
    assert (one.predict_proba(X) != other.predict_proba(X)).any()
    assert not hasattr(one.estimator, "module_")


def test_whole_weights_are_repetitions_and_fractions_count():
    X, y = problem(n=90)
    weight = np.random.RandomState(0).randint(0, 4, size=90)
    weighted = small().fit(X, y, sample_weight=weight).predict_proba(X)
    repeated = small().fit(X.repeat(weight, axis=0), y.repeat(weight)).predict_proba(X)
    np.testing.assert_array_equal(weighted, repeated)
    halves = small().fit(X, y, sample_weight=np.where(y == 0, 2.5, 0.5)).predict_proba(X)[:, 0].mean()
    assert halves > small().fit(X, y).predict_proba(X)[:, 0].mean() + 0.05


def test_it_survives_pickling():
    X, y = problem()
    forest = small().fit(X, y)
    again = pickle.loads(pickle.dumps(forest))
    np.testing.assert_array_equal(again.predict_proba(X), forest.predict_proba(X))
    assert isinstance(forest.__getstate__()["state_"]["layers.0.weight"], np.ndarray)  # no tensors, whose bytes vary


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"n_trees": 0}, ValueError, "n_trees must be a whole number of at least 1; got 0"),
        ({"depth": -1}, ValueError, "depth must be a whole number of at least 0"),
        ({"n_leaf_updates": 0}, ValueError, "n_leaf_updates must be"),
        ({"n_units": 0}, ValueError, "n_units must be None or a whole number"),
        ({"estimator": SoupClassifier()}, TypeError, "estimator must be a skorch net"),
        ({"estimator": mlp_regressor()}, ValueError, "is a regressor and cannot classify"),
        ({"estimator": mlp_classifier(criterion__label_smoothing=0.1)}, ValueError, "criterion__label_smoothing"),
    ],
    ids=["trees", "depth", "updates", "units", "no-net", "regressor", "criterion"],
)
def test_wrong_parameters_are_named(params, error, message):
    X, y = problem(n=40)
    with pytest.raises(error, match=message):
        small(**params).fit(X, y)


def test_several_labels_a_row_are_refused():
    X, y = problem(n=40)
    with pytest.raises(ValueError, match="MultiOutputClassifier"):
        small().fit(X, np.stack([y, y], axis=1) % 2)
