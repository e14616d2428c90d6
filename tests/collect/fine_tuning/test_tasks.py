"""One fine-tune a task."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import SoupClassifier, nets
from skfusion._rows import Rows
from skfusion.collect import Tasks
from skfusion.collect.fine_tuning._tasks import labels_of
from skfusion.merge import Uniform
from skfusion.nets import mlp_classifier
from skfusion.pool import ModelPool

X, y = load_iris(return_X_y=True)
X = X.astype(np.float32)
SIDE = (X[:, 0] > 5.5).astype(np.float32)
NET = mlp_classifier(max_epochs=3, module__hidden=(6,))


def collect(tasks):
    return tasks.collect(NET, X, y, random_state=0)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_each_task_is_trained_on_its_rows():
    pool = collect(Tasks(lambda X, y: np.where(y == 2, "two", "rest"), init=2))
    assert pool.names == ["task-rest", "task-two"]
    assert [len(m.rows) for m in pool] == [len(np.unique(X[y != 2], axis=0)), len(np.unique(X[y == 2], axis=0))]
    assert [m.meta["task"] for m in pool] == ["rest", "two"]
    sized = nets.sized(clone(NET), Rows(X, y), 3)
    part = Rows(X[y == 2], y[y == 2])
    expected = nets.state_of(nets.fit(sized, part, pool[1].meta["seed"], state=pool.base))
    assert same(pool["task-two"].state, expected)


def test_a_column_tells_the_task():
    given = np.column_stack([X, SIDE])
    pool = Tasks(4, init=1).collect(NET, given, y, random_state=0)
    assert pool.names == ["task-0.0", "task-1.0"]
    assert [len(m.rows) for m in pool] == [len(np.unique(given[s == SIDE], axis=0)) for s in (0, 1)]
    same_pool = Tasks(-1, init=1).collect(NET, given, y, random_state=0)
    assert same(pool[1].state, same_pool[1].state)


def test_an_input_tells_the_task():
    class Two(nn.Module):
        def __init__(self, n_out=3):
            super().__init__()
            self.layer = nn.Linear(4, n_out)

        def forward(self, x, side):
            return self.layer(x)

    net = NeuralNetClassifier(Two(), criterion=nn.CrossEntropyLoss, max_epochs=2, train_split=None)
    given = {"x": X, "side": SIDE.astype(np.int64)}
    pool = Tasks("side").collect(net, given, y, random_state=0)
    assert pool.names == ["task-0", "task-1"]
    with pytest.raises(ValueError, match=r"by='domain' is no input of X, which has \['side', 'x'\]"):
        Tasks("domain").collect(net, given, y, random_state=0)


def test_a_label_that_is_no_input_is_ignored_by_forward():
    class One(nn.Module):
        def __init__(self, n_out=3):
            super().__init__()
            self.layer = nn.Linear(4, n_out)

        def forward(self, x):
            return self.layer(x)

    class Ignoring(One):
        def forward(self, x, side=None):
            return self.layer(x)

    class Any(One):
        def forward(self, x, **others):
            return self.layer(x)

    net = NeuralNetClassifier(One, criterion=nn.CrossEntropyLoss, max_epochs=1, train_split=None)
    given = {"x": X, "side": SIDE.astype(np.int64)}
    message = r"does not take \['side'\]\. Leave it out; or, .* give forward an argument side=None that it ignores"
    with pytest.raises(ValueError, match=message):
        SoupClassifier(net, collect=Tasks("side", init=1), merge=Uniform()).fit(given, y)
    for module in (Ignoring, Any):
        soup = SoupClassifier(net.set_params(module=module), collect=Tasks("side", init=1), merge=Uniform())
        assert soup.fit(given, y).pool_.names == ["task-0", "task-1"]
        assert (soup.predict(given) == soup.predict({**given, "side": np.zeros(len(X), np.int64)})).all()


@pytest.mark.parametrize(
    ("labels", "tasks"),
    [
        (np.array([3, 1]), [1, 3]),
        ([np.int64(3), np.int64(1)], [1, 3]),
        (np.array([0.5, 0.25], np.float32), [0.25, 0.5]),
        ([True, False], [False, True]),
        (["b", "a"], ["a", "b"]),
        (pd.Series(["b", "a"]), ["a", "b"]),
        (pd.Series(["b", "a"], dtype="string"), ["a", "b"]),
        (pd.Categorical(["b", "a"]), ["a", "b"]),
        (np.array(["b", "a"], object), ["a", "b"]),
        (np.array([10, 9], object), [9, 10]),
        (np.array([True, False], object), [False, True]),
        (np.array(["b", 1], object), ["1", "b"]),
        ([b"b", b"a"], ["a", "b"]),
        (np.array(["2021-01", "2020-01"], "datetime64[M]"), ["2020-01", "2021-01"]),
        (pd.cut([3, 1], [0, 2, 4]), ["(0, 2]", "(2, 4]"]),
    ],
    ids=str,
)
def test_labels_of_any_kind(labels, tasks):
    found = labels_of(lambda X, y: labels, Rows(X[:2], y[:2]))
    assert [label.item() for label in found] == tasks[::-1]
    assert [type(label.item()) for label in found] == [type(task) for task in tasks]


def test_labels_of_a_table_name_members(tmp_path):
    pool = collect(Tasks(lambda X, y: pd.Series(np.where(y == 2, "two", "rest"), dtype=object), init=1))
    assert pool.names == ["task-rest", "task-two"]
    pool.save(tmp_path / "pool")
    assert [m.meta["task"] for m in ModelPool.load(tmp_path / "pool")] == ["rest", "two"]
    assert collect(Tasks(lambda X, y: y == 2, init=1)).names == ["task-False", "task-True"]


@pytest.mark.parametrize(
    "missing",
    [
        ["a", None, "b"],
        [1, np.nan, 2],
        np.array(["a", np.nan, "b"], object),
        pd.Series(["a", None, "b"], dtype="string"),
        pd.Series([1, None, 2], dtype="Int64"),
        pd.to_datetime(["2020-01-01", None, "2021-01-01"]),
    ],
    ids=str,
)
def test_missing_labels_are_refused(missing):
    with pytest.raises(ValueError, match=r"no label \(None or NaN\) to 1 of 3 rows, .* row 1\. .* label of their own"):
        labels_of(lambda X, y: missing, Rows(X[:3], y[:3]))


def test_tasks_that_are_none():
    with pytest.raises(ValueError, match="by=7 is no column of X, which has 4"):
        collect(Tasks(7, init=1))
    with pytest.raises(TypeError, match="must be a function.*None"):
        collect(Tasks(None, init=1))
    with pytest.raises(TypeError, match=r"by='side' names an input of a dict, but X is an array.*number of a column"):
        collect(Tasks("side", init=1))
    table = pd.DataFrame(X).assign(side=SIDE).rename(columns=str)
    with pytest.raises(TypeError, match=r"a dict \{\.\.\., 'side': labels\}"):
        SoupClassifier(NET, collect=Tasks("side", init=1), merge=Uniform()).fit(table, y)
    with pytest.raises(ValueError, match=r"one label a row, shape \(150,\); got shape \(3,\)"):
        collect(Tasks(lambda X, y: [1, 2, 3], init=1))


def test_one_task_is_nothing_to_merge():
    with pytest.raises(ValueError, match=r"all 150 rows one task, 'rest'.*classes are the numbers 0, 1"):
        collect(Tasks(lambda X, y: np.where(y == "setosa", "first", "rest")))
