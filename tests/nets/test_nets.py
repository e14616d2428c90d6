"""The bridge to skorch: loaders, training, sizes and predictions."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from skorch.dataset import Dataset, ValidSplit
from torch import nn
from torch.utils.data import DataLoader, Subset

from skfusion import nets
from skfusion._rows import Rows
from skfusion.nets import MLP, DivergedError, Runner, mlp_classifier, mlp_regressor
from skfusion.nets._tensor_loader import TensorLoader
from skfusion.testing import _problems as problems

RNG = np.random.RandomState(0)
X = RNG.normal(size=(50, 3)).astype(np.float32)
CLASSES = Rows(X, (X[:, 0] > X[:, 1]).astype(np.int64) + (X[:, 2] > 1))
BINARY = Rows(X, (X[:, 0] > X[:, 1]).astype(np.int64))
LABELS = Rows(X, (X[:, :2] > 0).astype(np.int64))
VALUES = Rows(X, X[:, :2] - X[:, 1:])
QUIET = {"train_split": None, "verbose": 0, "callbacks": "disable"}


class Small(nn.Module):
    """A perceptron whose outputs, and so its head, are set from outside."""

    def __init__(self, n_in=3, n_out=3, hidden=4, dropout=0.0, end=None, flat=False):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_in, hidden), nn.Tanh(), nn.Dropout(dropout), nn.Linear(hidden, n_out))
        self.end, self.flat = end, flat

    def forward(self, X):
        z = self.body(X)
        z = z if self.end is None else self.end(z)
        return z.squeeze(1) if self.flat else z


class Log(Callback):
    """Writes down what happens in a training."""

    rates: list = []  # noqa: RUF012
    batches: list = []  # noqa: RUF012

    def on_train_begin(self, net, **_):
        self.rates.clear()
        self.batches.clear()

    def on_batch_end(self, net, batch=None, training=False, **_):
        if training:
            self.rates.append(net.optimizer_.param_groups[0]["lr"])
            self.batches.append(len(batch[1]))


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def trained(net, rows=CLASSES, task="classification", n_outputs=3, seed=0, **kwargs):
    watch = nets.Watch(**{name: kwargs.pop(name) for name in ("schedule", "recorder", "on_epoch") if name in kwargs})
    return nets.fit(nets.sized(net, rows, n_outputs), rows, seed, watch, **kwargs)


def own_loader(dataset, **kwargs):
    """A loader of the user's own, so that skorch's way is taken."""
    return DataLoader(dataset, **kwargs)


# ---- loader ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("subset", [None, [7, 3, 3, 21, 40, 8, 9, 11, 12]])
def test_loader_gives_the_batches_of_torchs(shuffle, drop_last, subset):
    x, y = torch.from_numpy(X), torch.from_numpy(CLASSES.y)
    data = Dataset(x, y)
    data = data if subset is None else Subset(Subset(data, list(range(49, -1, -1))), subset)
    params = {"batch_size": 4, "shuffle": shuffle, "drop_last": drop_last}
    found, ends = [], []
    for kind in (DataLoader, TensorLoader):
        with nets.seed_scope(3):
            loader = kind(data, **params)
            found.append([*loader, *loader])  # two epochs
            ends.append(torch.get_rng_state())
            assert len(loader) == len(found[-1]) // 2
    for a, b in zip(*found, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])
    assert torch.equal(*ends)


def test_loader_takes_a_generator():
    data = Dataset(torch.from_numpy(X), torch.from_numpy(CLASSES.y))
    found = []
    for kind in (DataLoader, TensorLoader):
        generator = torch.Generator().manual_seed(5)
        found.append([y for _, y in kind(data, batch_size=8, shuffle=True, generator=generator)])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_loader_takes_dicts():
    data = Dataset({"a": torch.from_numpy(X), "b": torch.arange(50)}, torch.arange(50))
    (x, y), *_ = TensorLoader(data, batch_size=np.int64(6), shuffle=True)
    assert torch.equal(x["b"], y)
    assert torch.equal(x["a"], torch.from_numpy(X)[y])


def test_loader_hands_out_the_weights_of_the_batch():
    box = [None]
    data = Dataset(torch.from_numpy(X), torch.arange(50))
    loader = TensorLoader(Subset(data, range(10, 40)), 7, True, weight=torch.arange(50.0), current_weight=box)
    for _, y in loader:
        assert torch.equal(box[0], y.float())


@pytest.mark.parametrize(("n", "sizes"), [(9, [4, 5]), (8, [4, 4]), (10, [4, 4, 2]), (1, [1])])
def test_loader_joins_a_single_last_row(n, sizes):
    loader = TensorLoader(Dataset(torch.zeros(n, 1), torch.arange(n)), 4, join_single=True)
    found = [y for _, y in loader]
    assert [len(y) for y in found] == sizes
    assert len(loader) == len(sizes)
    assert torch.cat(found).tolist() == list(range(n))


# ---- training ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"iterator_train__shuffle": True},
        {"iterator_train__shuffle": True, "iterator_train__drop_last": True},
        {"iterator_train__shuffle": True, "train_split": ValidSplit(3)},
        {"iterator_train__shuffle": True, "train_split": ValidSplit(0.3, stratified=True, random_state=0)},
        {"optimizer": torch.optim.Adam, "module__dropout": 0.3},
    ],
    ids=["plain", "shuffle", "drop_last", "folds", "stratified", "dropout"],
)
def test_fast_loader_trains_the_same_weights_as_torchs(params, monkeypatch):
    net = NeuralNetClassifier(Small, criterion=nn.CrossEntropyLoss, max_epochs=3, batch_size=8, lr=0.1,
                              **{**QUIET, **params})  # fmt: skip
    made = []
    monkeypatch.setattr(TensorLoader, "__len__", lambda self: made.append(1) or len(self.cuts))
    fast = trained(net, schedule=lambda step, per_epoch: 1.0)  # which asks for the length
    assert len(made) == 1
    slow = trained(clone(net).set_params(iterator_train=own_loader, iterator_valid=own_loader))
    assert len(made) == 1
    assert equal(nets.state_of(fast), nets.state_of(slow))


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_training_is_that_of_skorch_itself(dropout):
    net = NeuralNetClassifier(Small, criterion=nn.CrossEntropyLoss, max_epochs=3, batch_size=8, lr=0.1,
                              iterator_train__shuffle=True, module__dropout=dropout, **QUIET)  # fmt: skip
    with nets.seed_scope(11):
        theirs = clone(net).initialize().partial_fit(X, CLASSES.y)
    ours = trained(net, seed=11)
    assert equal(nets.state_of(ours), {k: v.clone() for k, v in theirs.module_.state_dict().items()})


def test_seeds_decide_and_global_generators_are_left_alone(untouched_rng):
    net = mlp_classifier(max_epochs=2, module__dropout=0.5, module__hidden=(4,), batch_size=16)
    first, again, other = (nets.state_of(trained(net, seed=s)) for s in (0, 0, 1))
    assert equal(first, again)
    assert not equal(first, other)


def test_generators_are_restored_after_an_error(untouched_rng):
    with pytest.raises(DivergedError):
        trained(mlp_regressor(max_epochs=2, lr=float("inf")), VALUES, "regression", 2)


def test_net_is_not_changed():
    net = mlp_classifier(max_epochs=1, module__hidden=(4,))
    before = problems.snapshot(net)
    fitted = trained(net)
    assert problems.snapshot(net) == before
    assert not getattr(net, "initialized_", False)
    assert not fitted.module_.training


def test_training_starts_from_a_given_state():
    net = mlp_classifier(max_epochs=1, module__hidden=(4,), lr=0.0)
    state = nets.state_of(trained(net, seed=5))
    assert equal(nets.state_of(trained(net, seed=6, state=state)), state)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression", "binary"])
def test_fractional_weights_weigh_the_loss_of_one_step(task):
    base = {"classification": CLASSES, "multilabel": LABELS, "regression": VALUES, "binary": BINARY}[task]
    weight = np.random.RandomState(1).uniform(0.1, 3, size=50)
    rows = Rows(base.X, base.y, weight / weight.mean())
    criterion = {"classification": nn.CrossEntropyLoss, "regression": nn.MSELoss}.get(task, nn.BCEWithLogitsLoss)
    kind = {"regression": NeuralNetRegressor, "binary": NeuralNetBinaryClassifier}.get(task, NeuralNetClassifier)
    params = {"module__flat": True} if task == "binary" else {}
    net = kind(Small, criterion=criterion, optimizer=torch.optim.SGD, lr=0.5, max_epochs=1, batch_size=-1,
               **QUIET, **params)  # fmt: skip
    width = 3 if task == "classification" else 2
    net = nets.sized(net, rows, width)
    fitted = nets.fit(net, rows, 0)
    with nets.seed_scope(0):
        module = clone(net).initialize().module_
    x, y = torch.from_numpy(X), torch.from_numpy(rows.y)
    loss = 0.0
    for i in range(50):  # by hand, row by row
        z = module(x[i : i + 1])
        target = y[i : i + 1] if task == "classification" else y[i : i + 1].float()
        loss = loss + rows.weight[i] * criterion()(z, target) / 50
    loss.backward()
    for name, parameter in module.named_parameters():
        expected = parameter.detach() - 0.5 * parameter.grad
        torch.testing.assert_close(fitted.module_.state_dict()[name], expected, rtol=1e-5, atol=1e-6)


def test_equal_weights_change_nothing():
    net = mlp_classifier(max_epochs=2, module__hidden=(4,), batch_size=16)
    plain, weighted = trained(net), trained(net, Rows(X, CLASSES.y, np.ones(50)))
    for key, value in nets.state_of(plain).items():
        torch.testing.assert_close(nets.state_of(weighted)[key], value, rtol=1e-5, atol=1e-6)


def test_fractional_weights_need_the_fast_loader_and_a_reduction():
    rows = Rows(X, CLASSES.y, np.linspace(0.5, 1.5, 50))
    with pytest.raises(ValueError, match="default dataset and iterator_train"):
        trained(mlp_classifier(max_epochs=1, iterator_train=own_loader), rows)

    class Bare(nn.Module):
        def forward(self, z, y):
            return nn.functional.cross_entropy(z, y)

    with pytest.raises(ValueError, match="reduction"):
        trained(mlp_classifier(max_epochs=1, criterion=Bare), rows)


def test_users_callbacks_run():
    net = NeuralNetClassifier(Small, criterion=nn.CrossEntropyLoss, max_epochs=3, batch_size=20, train_split=None,
                              verbose=0, callbacks=[("log", Log())])  # fmt: skip
    fitted = trained(net)
    assert Log.batches == [20, 20, 10] * 3
    assert len(fitted.history) == 3
    row = nets.history_of(fitted)[0]
    assert row["epoch"] == 1
    assert row["train_loss"] == pytest.approx(np.average([b["train_loss"] for b in fitted.history[0, "batches"]],
                                                         weights=[20, 20, 10]))  # fmt: skip
    assert "batches" not in row


def test_a_callback_can_predict_in_the_middle_of_a_training():
    class Predicts(Callback):
        found: list = []  # noqa: RUF012

        def on_epoch_end(self, net, **_):
            self.found.append(net.predict_proba(X[:5]))

    net = NeuralNetClassifier(Small, criterion=nn.CrossEntropyLoss, max_epochs=2, train_split=None, verbose=0,
                              callbacks=[("predict", Predicts())])  # fmt: skip
    fitted = trained(net)
    assert np.array_equal(Predicts.found[-1], fitted.predict_proba(X[:5]))
    assert not np.array_equal(*Predicts.found)


def test_users_scores_on_validation_rows_work():
    params = {"max_epochs": 2, "train_split": ValidSplit(5), "verbose": 0}
    for use_caching in (True, False):
        scoring = EpochScoring("accuracy", lower_is_better=False, use_caching=use_caching)
        net = NeuralNetClassifier(Small, criterion=nn.CrossEntropyLoss, callbacks=[scoring], **params)
        assert 0 <= trained(net).history[-1, "accuracy"] <= 1


def test_losses_are_recorded_alike_without_callbacks():
    params = {"max_epochs": 2, "batch_size": 8, "train_split": ValidSplit(3), "verbose": 0}
    found = [
        nets.history_of(trained(NeuralNetClassifier(Small, criterion=nn.CrossEntropyLoss, callbacks=c, **params)))
        for c in (None, "disable")
    ]
    for loss in ("train_loss", "valid_loss"):
        assert [row[loss] for row in found[1]] == pytest.approx([row[loss] for row in found[0]], rel=1e-12)


def test_users_early_stopping_works():
    stopping = EarlyStopping(patience=2, threshold=10.0, monitor="train_loss")
    net = NeuralNetClassifier(Small, criterion=nn.CrossEntropyLoss, max_epochs=30, callbacks=[stopping],
                              train_split=None, verbose=0)  # fmt: skip
    assert len(trained(net).history) == 3
    validated = clone(net).set_params(train_split=ValidSplit(3), callbacks__EarlyStopping__monitor="valid_loss")
    assert len(trained(validated).history) == 3


def test_users_schedulers_work_unless_the_collector_sets_rates():
    net = NeuralNetClassifier(
        Small, criterion=nn.CrossEntropyLoss, max_epochs=3, batch_size=-1, lr=0.8, train_split=None, verbose=0,
        callbacks=[("log", Log()), ("lr", LRScheduler("StepLR", step_size=1, gamma=0.5))],
    )  # fmt: skip
    trained(net)
    assert Log.rates == pytest.approx([0.8, 0.4, 0.2])
    with pytest.warns(UserWarning, match="the learning rate at every step and wins"):
        trained(net, schedule=lambda step, per_epoch: 0.1)
    assert Log.rates == pytest.approx([0.08] * 3)


def test_schedule_is_asked_at_every_step():
    asked = []

    def schedule(step, steps_per_epoch):
        asked.append((step, steps_per_epoch))
        return 1 / (1 + step)

    net = NeuralNetClassifier(Small, criterion=nn.CrossEntropyLoss, max_epochs=2, batch_size=20, lr=0.6,
                              train_split=None, verbose=0, callbacks=[("log", Log())])  # fmt: skip
    trained(net, schedule=schedule)
    assert asked == [(i, 3) for i in range(6)]
    assert Log.rates == pytest.approx([0.6 / (1 + i) for i in range(6)])
    with_validation = clone(net).set_params(train_split=ValidSplit(2))
    asked.clear()
    trained(with_validation, schedule=schedule)
    assert asked == [(i, 2) for i in range(4)]  # 25 rows are trained on


def test_on_epoch_sees_the_net_and_can_end_the_training():
    seen = []

    def on_epoch(epoch, net):
        seen.append((epoch, nets.state_of(net)))
        return epoch == 2

    fitted = trained(mlp_classifier(max_epochs=9, module__hidden=(4,)), on_epoch=on_epoch)
    assert [epoch for epoch, _ in seen] == [1, 2]
    assert equal(seen[1][1], nets.state_of(fitted))
    assert not equal(seen[0][1], seen[1][1])


def test_an_interrupt_of_the_user_is_not_swallowed(untouched_rng):
    class Interrupted(Small):
        def forward(self, X):
            if self.training and torch.is_grad_enabled():
                raise KeyboardInterrupt
            return super().forward(X)

    with pytest.raises(KeyboardInterrupt):
        trained(NeuralNetClassifier(Interrupted, criterion=nn.CrossEntropyLoss, **QUIET))


def test_divergence_names_the_epoch():
    with pytest.raises(DivergedError, match=r"in epoch 1\. Use a smaller learning rate \(it is 1e\+30\)") as caught:
        trained(mlp_regressor(max_epochs=5, lr=1e30, batch_size=10), VALUES, "regression", 2)
    assert caught.value.epoch == 1
    again = pickle.loads(pickle.dumps(DivergedError("text", 3, "pool")))
    assert (str(again), again.epoch, again.pool) == ("text", 3, "pool")


def test_batch_norm_and_single_rows():
    net = mlp_classifier(max_epochs=1, module__norm="batch", batch_size=7, module__hidden=(4,))
    assert len(trained(net).history) == 1  # 50 = 7 * 7 + 1
    with pytest.raises(ValueError, match="n_samples=1"):
        trained(net, CLASSES.take(np.array([0])))
    with pytest.raises(ValueError, match="BatchNorm met a batch of one row"):
        trained(clone(net).set_params(iterator_train=own_loader))


@pytest.mark.parametrize("params", [{"callbacks": "disable"}, {"callbacks": None}])
def test_an_epoch_without_a_batch_is_no_divergence(params):
    net = mlp_classifier(max_epochs=1, iterator_train__drop_last=True, batch_size=64, **params)
    with pytest.raises(ValueError, match="batch_size must be at most") as caught:
        trained(net)
    assert not isinstance(caught.value, DivergedError)


@pytest.mark.parametrize("n", [9, 10])
def test_a_single_last_row_joins_the_training(n):
    log = NeuralNetClassifier(MLP, criterion=nn.CrossEntropyLoss, module__norm="batch", max_epochs=1, batch_size=4,
                              train_split=None, verbose=0, callbacks=[("log", Log())])  # fmt: skip
    trained(log, CLASSES.take(np.arange(n)))
    assert Log.batches == {9: [4, 5], 10: [4, 4, 2]}[n]


def test_threads_are_restored():
    before = torch.get_num_threads()
    trained(mlp_classifier(max_epochs=1))
    assert torch.get_num_threads() == before


# ---- sizes -------------------------------------------------------------------------------------------------------


def test_sizes_and_scaling_are_filled_in():
    net = nets.sized(mlp_regressor(), VALUES, 2)
    params = net.get_params()
    assert (params["module__n_in"], params["module__n_out"]) == (3, 2)
    scaling = params["module__scaling"]
    assert np.allclose(scaling["x_mean"], X.mean(axis=0), atol=1e-6)
    assert np.allclose(scaling["x_std"], X.std(axis=0), atol=1e-6)
    assert np.allclose(scaling["y_mean"], VALUES.y.mean(axis=0), atol=1e-6)
    assert "y_mean" not in nets.sized(mlp_classifier(), CLASSES, 3).get_params()["module__scaling"]


def test_scaling_counts_weights_as_repetitions_and_survives_constants():
    weight = np.arange(50.0) % 3
    repeated = Rows(X, VALUES.y).take(np.repeat(np.arange(50), weight.astype(int)))
    a, b = (
        nets.sized(mlp_regressor(), rows, 2).get_params()["module__scaling"]
        for rows in (Rows(X, VALUES.y, weight), repeated)
    )
    assert all(np.allclose(a[k], b[k], rtol=1e-6, atol=1e-6) for k in a)
    flat = Rows(np.full((5, 3), 7, np.float32), np.zeros((5, 1), np.float32))
    assert nets.sized(mlp_regressor(), flat, 1).get_params()["module__scaling"]["x_std"].tolist() == [1] * 3


def test_what_the_user_has_set_stays():
    net = mlp_classifier(module__n_in=3, module__hidden=(7,), module__scaling=None)
    params = nets.sized(net, CLASSES, 3).get_params()
    assert params["module__scaling"] is None
    assert params["module__n_out"] == 3
    with pytest.raises(
        ValueError, match=r"shape \(2, 5\) for 2 rows, but y has 3 classes, which asks for shape \(2, 3\)"
    ):
        nets.sized(mlp_classifier(module__n_out=5), CLASSES, 3)


def test_images_are_counted_in_numbers():
    rows = Rows(np.zeros((4, 2, 3, 3), np.float32), np.array([0, 1, 0, 1]))
    assert nets.sized(mlp_classifier(), rows, 2).get_params()["module__n_in"] == 18


class Fixed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(3, 3))


def test_modules_of_fixed_size():
    net = NeuralNetClassifier(Fixed, criterion=nn.CrossEntropyLoss, max_epochs=1, **QUIET)
    assert len(trained(net).history) == 1
    labels = NeuralNetClassifier(Fixed, criterion=nn.BCEWithLogitsLoss, **QUIET)
    values = NeuralNetRegressor(Fixed, **QUIET)
    for given, rows, n, noun in (
        (net, CLASSES, 4, "classes"),
        (labels, LABELS, 2, "labels"),
        (values, VALUES, 2, "targets"),
    ):
        with pytest.raises(ValueError, match=f"y has {n} {noun}.*n_out parameter"):
            nets.sized(given, rows, n)


def test_module_instances_are_copied():
    module = Fixed()
    before = copy.deepcopy(module.state_dict())
    net = NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss, max_epochs=2, lr=0.5, **QUIET)
    fitted = trained(net)
    assert equal(before, module.state_dict())
    assert not equal(before, nets.state_of(fitted))
    assert equal(nets.state_of(trained(net, seed=0)), nets.state_of(trained(net, seed=1)))  # the weights are given


def test_lazy_modules_are_materialised():
    class Lazy(nn.Sequential):
        def __init__(self, n_out=2):
            super().__init__(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(n_out))

    net = NeuralNetClassifier(Lazy, criterion=nn.CrossEntropyLoss, max_epochs=2, **QUIET)
    fitted = trained(net)
    state = nets.state_of(fitted)
    assert state["0.weight"].shape == (4, 3)
    runner = Runner(nets.sized(net, CLASSES, 3), "classification", CLASSES)
    assert np.allclose(runner.predict(state, X), fitted.predict_proba(X), rtol=0, atol=1e-6)
    assert nets.restored(nets.sized(net, CLASSES, 3), state) is not None


def test_other_estimators_are_refused():
    with pytest.raises(TypeError, match=r"must be a skorch net.*got MLP"):
        nets.sized(MLP(3, 2), CLASSES, 3)
    with pytest.raises(ValueError, match="norm must be one of"):
        MLP(3, 2, norm="weight")


def test_too_many_classes_for_a_binary_criterion():
    net = NeuralNetBinaryClassifier(Small, **QUIET)
    with pytest.raises(ValueError, match="3 classes, but BCEWithLogitsLoss tells 2 apart"):
        nets.sized(net, CLASSES, 3)


# ---- predictions -------------------------------------------------------------------------------------------------


class DictNet(nn.Module):
    """Embeds an integer input beside a floating-point one."""

    def __init__(self, n_out=2):
        super().__init__()
        self.embed, self.head = nn.Embedding(6, 3), nn.Linear(6, n_out)

    def forward(self, code, x):
        return self.head(torch.cat([self.embed(code), x], 1))


class Tuple(Small):
    def forward(self, X):
        z = super().forward(X)
        return z if self.training else (z, X)


DICT = Rows({"code": RNG.randint(6, size=50), "x": X}, CLASSES.y)
KINDS = {
    "softmax of logits": (NeuralNetClassifier(Small, criterion=nn.CrossEntropyLoss), CLASSES, "classification", 3),
    "log of softmax": (NeuralNetClassifier(Small, module__end=nn.Softmax(dim=1)), CLASSES, "classification", 3),
    "binary, (n, 1)": (NeuralNetBinaryClassifier(Small), BINARY, "classification", 2),
    "binary, (n,)": (NeuralNetBinaryClassifier(Small, module__flat=True), BINARY, "classification", 2),
    "binary, sigmoid": (
        NeuralNetBinaryClassifier(Small, criterion=nn.BCELoss, module__end=nn.Sigmoid(), module__flat=True),
        BINARY, "classification", 2,
    ),
    "labels": (NeuralNetClassifier(Small, criterion=nn.BCEWithLogitsLoss), LABELS, "multilabel", 2),
    "values": (NeuralNetRegressor(Small), VALUES, "regression", 2),
    "dict": (NeuralNetClassifier(DictNet, criterion=nn.CrossEntropyLoss), DICT, "classification", 3),
    "tuple": (NeuralNetClassifier(Tuple, criterion=nn.CrossEntropyLoss), CLASSES, "classification", 3),
    "double": (
        NeuralNetClassifier(lambda n_out: nn.Linear(3, n_out).double(), criterion=nn.CrossEntropyLoss),
        CLASSES, "classification", 3,
    ),
    "own": (
        NeuralNetClassifier(Small, criterion=nn.CrossEntropyLoss, predict_nonlinearity=lambda z: z.softmax(1) ** 2),
        CLASSES, "classification", 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_those_of_skorch(kind):
    net, rows, task, n_outputs = KINDS[kind]
    net = clone(net).set_params(max_epochs=3, lr=0.3, **QUIET)
    sized = nets.sized(net, rows, n_outputs)
    fitted = nets.fit(sized, rows, 0)
    found = Runner(sized, task, rows).predict(nets.state_of(fitted), rows.X)
    x = rows.X
    if kind == "double":
        x = x.astype(np.float64)
    if kind == "tuple":
        expected = fitted.forward(x)[0].softmax(1).numpy()
    elif kind == "labels":
        expected = torch.sigmoid(fitted.forward(x)).numpy()
    else:
        expected = fitted.predict(x) if task == "regression" else fitted.predict_proba(x)
    assert found.shape == (50, n_outputs)
    assert found.dtype == (np.float64 if kind == "double" else np.float32)
    assert np.abs(found - expected).max() < 1e-6
    history = nets.history_of(fitted)
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_chunks_of_many_rows_and_of_images():
    net = nets.sized(mlp_classifier(), CLASSES, 3)
    runner = Runner(net, "classification", CLASSES)
    many = np.random.RandomState(1).normal(size=(9000, 3)).astype(np.float32)
    state = nets.state_of(nets.fit(net.set_params(max_epochs=1), CLASSES, 0))
    assert [len(c) for c in runner.chunks(many)] == [2048] * 4 + [808]
    assert [len(c) for c in runner.chunks(many.reshape(-1, 3, 1))] == [64] * 140 + [40]
    assert np.array_equal(runner.predict(state, many)[8192:], runner.predict(state, many[8192:]))


def test_runner_refuses_states_of_another_architecture():
    net = nets.sized(mlp_classifier(module__hidden=(4,)), CLASSES, 3)
    runner = Runner(net, "classification")
    state = runner.module.state_dict()
    assert equal(runner.place(state), state)
    with pytest.raises(ValueError, match=r"'layers.0.weight' is \(9, 3\) in the state and \(4, 3\) in the net"):
        runner.place(state | {"layers.0.weight": torch.zeros(9, 3)})
    with pytest.raises(ValueError, match="'more' is .* and unknown in the net"):
        runner.place(state | {"more": torch.zeros(1)})
    with pytest.raises(ValueError, match="'layers.2.bias' is missing in the state"):
        runner.place({k: v for k, v in state.items() if k != "layers.2.bias"})


def test_restored_net_predicts_with_copies_of_the_weights():
    net = mlp_classifier(max_epochs=2, module__hidden=(4,))
    fitted = trained(net)
    state = nets.state_of(fitted)
    found = nets.restored(nets.sized(net, CLASSES, 3), state, ["a", "b", "c"])
    expected = fitted.predict_proba(X)
    assert np.array_equal(found.predict_proba(X), expected)
    assert list(found.classes_) == ["a", "b", "c"]
    for value in state.values():
        value.zero_()
    assert np.array_equal(found.predict_proba(X), expected)


def test_compiled_names_are_stripped():
    class Compiled(nn.Module):
        def state_dict(self, *args, **kwargs):
            return {"_orig_mod.w": torch.ones(2)}

    assert [*nets.state_of(type("Net", (), {"module_": Compiled()}))] == ["w"]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_objective_is_loss_and_score_on_held_out_rows(task, weighted):
    rows = {"classification": CLASSES, "multilabel": LABELS, "regression": VALUES}[task]
    net = {"classification": mlp_classifier(), "multilabel": mlp_classifier(True), "regression": mlp_regressor()}[task]
    net = nets.sized(clone(net).set_params(max_epochs=2), rows, 3 if task == "classification" else 2)
    state = nets.state_of(nets.fit(net, rows, 0))
    weight = np.arange(50.0) % 3
    held = Rows(rows.X, rows.y, weight) if weighted else rows
    data = nets.Judge(Runner(net, task, rows), rows, held)
    index = np.repeat(np.arange(50), weight.astype(int)) if weighted else np.arange(50)
    repeated = nets.Judge(Runner(net, task, rows), rows, rows.take(index))
    assert data.loss(state) == pytest.approx(repeated.loss(state), rel=1e-5)
    assert data.score(state) == pytest.approx(repeated.score(state), rel=1e-5)
    module = Runner(net, task, rows).module
    module.load_state_dict(state)
    z, y = module(torch.from_numpy(X[index])), torch.from_numpy(rows.y[index])
    by_hand = net.criterion()(z, y if task == "classification" else y.float())
    assert data.loss(state) == pytest.approx(by_hand.item(), rel=1e-5)
    batches = list(data.batches())
    assert sum(len(b.y) for b in batches) == 50
    assert torch.equal(batches[0].x, torch.from_numpy(X))


def test_objective_of_a_binary_net_and_of_softmax_outputs():
    for kind in ("binary, (n, 1)", "binary, (n,)", "log of softmax"):
        net, rows, task, n = KINDS[kind]
        sized = nets.sized(clone(net).set_params(max_epochs=1, **QUIET), rows, n)
        runner = Runner(sized, task, rows)
        state = nets.state_of(nets.fit(sized, rows, 0))
        p = runner.predict(state, X)[np.arange(50), rows.y]
        weighted = Rows(X, rows.y, np.linspace(0.1, 2, 50))
        assert nets.Judge(runner, rows, rows).loss(state) == pytest.approx(-np.log(p).mean(), rel=1e-4)
        found = nets.Judge(Runner(sized, task, rows), rows, weighted).loss(state)
        assert found == pytest.approx(-np.average(np.log(p), weights=weighted.weight), rel=1e-4)


def test_default_scores():
    rows = Rows(X[:4], np.array([0, 1, 1, 0]))
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.6, 0.4]])
    assert nets.default_score("classification")(p, rows) == 0.75
    assert nets.default_score("classification")(p, Rows(X[:4], rows.y, np.array([1.0, 5, 1, 1]))) == 3 / 8
    assert nets.default_score("multilabel")(p, Rows(X[:4], p.round().astype(int))) == 1.0
    r2 = nets.default_score("regression")
    assert r2(p, Rows(X[:4], p)) == 1.0
    assert r2(p * np.nan, Rows(X[:4], p)) == -np.inf
    assert r2(np.ones((1, 1)), Rows(X[:1], np.zeros((1, 1)))) == -1.0


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_names_of_tensors_are_the_same_for_any_dropout(norm):
    torch.manual_seed(0)
    without, half, all_of_them = (nets.MLP(3, 2, norm=norm, dropout=p) for p in (0.0, 0.5, 1.0))
    half.load_state_dict(without.state_dict())
    all_of_them.load_state_dict(without.state_dict())
    x = torch.randn(40, 3)
    assert torch.equal(half.eval()(x), without.eval()(x))
    torch.testing.assert_close(all_of_them(x), without.layers[-1].bias.expand(40, 2))
    zeros = [layer for layer in half.train().modules() if isinstance(layer, nn.Dropout)]
    assert [layer.p for layer in zeros] == [0.5, 0.5]


# ---- what a module returns ---------------------------------------------------------------------------------------


class Ended(nn.Module):
    """Ends in something."""

    def __init__(self, end=None):
        super().__init__()
        self.layer, self.end = nn.Linear(3, 3), end

    def forward(self, X):
        z = self.layer(X)
        return z if self.end is None else self.end(z)


def softmax(z):
    return z.softmax(1)


@pytest.mark.parametrize(("end", "criterion"), [(None, nn.CrossEntropyLoss), (softmax, nn.NLLLoss)])
def test_logits_and_probabilities_where_they_belong_are_no_news(end, criterion):
    net = NeuralNetClassifier(Ended, module__end=end, criterion=criterion)
    nets.sized(net, Rows(X[:, :3], np.arange(50) % 3), 3)


def test_probabilities_that_are_taken_for_logits_are_told():
    net = NeuralNetClassifier(Ended, module__end=softmax, criterion=nn.CrossEntropyLoss)
    with pytest.warns(UserWarning, match="outputs are probabilities, and the criterion CrossEntropyLoss"):
        nets.sized(net, Rows(X[:, :3], np.arange(50) % 3), 3)


def test_a_module_that_changes_the_number_of_rows_is_told():
    class CurveSegment(nn.Linear):
        def __init__(self):
            super().__init__(6, 3)

        def forward(self, X):
            return super().forward(X.reshape(-1, 6))

    net = NeuralNetClassifier(CurveSegment, criterion=nn.CrossEntropyLoss)
    rows = Rows(X[:, :3], np.arange(50) % 3)
    with pytest.raises(ValueError, match=r"shape \(1, 3\) for 2 rows: its module changes the number of rows"):
        nets.sized(net, rows, 3)
