"""What is easily given in the wrong place: each message says where it belongs, before anything is trained."""

import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn

from skfusion import (
    BaggingFusion,
    BoostingFusion,
    CurveClassifier,
    DropoutEnsembleClassifier,
    EnsembleClassifier,
    EnsembleRegressor,
    ModelPool,
    ReBasinMerger,
    SoupClassifier,
    StackingFusion,
    SubspaceClassifier,
)
from skfusion.collect import Seeds
from skfusion.combine import EnsembleSelection
from skfusion.nets import mlp_classifier

X, y = load_iris(return_X_y=True)
NAMES = np.array(["no", "maybe", "yes"])
AS_THE_NET = [BaggingFusion, BoostingFusion, ReBasinMerger, StackingFusion]


class Net(nn.Sequential):
    def __init__(self, n_in=4, n_out=3):
        super().__init__(nn.Linear(n_in, n_out))


def net(**params):
    return mlp_classifier(**{"max_epochs": 3, "module__hidden": (8,), "lr": 0.02, **params})


@pytest.fixture(scope="module")
def trained():
    return net(module__n_in=4, module__n_out=3, module__dropout=0.2).fit(X.astype(np.float32), y)


@pytest.fixture
def untrained(monkeypatch):
    def train(*args, **kwargs):
        raise AssertionError("a member was trained")

    monkeypatch.setattr(Seeds, "__call__", train)


# ---- in place of a net -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", AS_THE_NET)
@pytest.mark.parametrize(
    ("given", "shown"),
    [(Net(), "Net"), (Net, "the class Net"), ([("a", Ridge()), ("b", Ridge())], "list"), (3, "int")],
    ids=["module", "class", "pairs", "number"],
)
def test_what_is_no_net_is_refused_by_fit_and_shown_before(kind, given, shown):
    estimator = kind(given)
    assert repr(estimator).startswith(kind.__name__)
    assert estimator._repr_html_()
    assert clone(estimator, safe=False).__sklearn_tags__().estimator_type == "classifier"
    message = re.escape(f"estimator must be a skorch net, such as NeuralNetClassifier(Module); got {shown}. ")
    for targets in (y, X[:, 0]):
        with pytest.raises(TypeError, match=message) as raised:
            estimator.fit(X, targets)
    if shown == "list":
        assert "write estimators=[(name, estimator), ...]" in str(raised.value)


def test_bagging_says_where_other_estimators_go():
    with pytest.raises(TypeError, match=r"got LogisticRegression\. .*StackingFusion\(estimators="):
        BaggingFusion(LogisticRegression()).fit(X, y)


def test_stacking_takes_a_net_or_a_list(trained):
    both = StackingFusion(net(), n_members=7, estimators=[("lr", LogisticRegression()), ("net", net())])
    pool = ModelPool.from_estimators([trained])
    for run in (lambda: both.fit(X, y), lambda: both.fuse(pool, X, y)):
        with pytest.raises(ValueError, match="Give estimator or estimators, not both"):
            run()


# ---- in place of a pool ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [DropoutEnsembleClassifier, EnsembleClassifier, SoupClassifier, CurveClassifier, BaggingFusion,
     StackingFusion, SubspaceClassifier],
)  # fmt: skip
def test_fitted_nets_are_no_pool_yet(kind, trained):
    remedy = r"Fitted nets become a pool by ModelPool\.from_estimators\(nets\)"
    for given, shown in ((trained, type(trained).__name__), ([trained], "list")):
        with pytest.raises(TypeError, match=f"fuse takes a ModelPool; got {shown}. {remedy}"):
            kind().fuse(given, X, y)


@pytest.mark.parametrize("kind", [EnsembleClassifier, StackingFusion])
def test_labels_whose_codes_a_pool_knows(kind, trained):
    pool = ModelPool.from_estimators([trained, trained])
    remedy = re.escape("in the order of the codes: pool.replace(classes=np.array([...])).")
    with pytest.raises(ValueError, match=rf"among the classes \[0, 1, 2\]: .*{remedy}"):
        kind().fuse(pool, X, NAMES[y])
    fused = EnsembleClassifier().fuse(pool.replace(classes=NAMES), X, NAMES[y])  # which the remedy gives
    assert fused.predict(X).tolist() == NAMES[trained.predict(X.astype(np.float32))].tolist()
    for other in (np.append(NAMES[y[:-1]], "never"), y + (y == 2) * (np.arange(150) % 2)):  # four labels
        with pytest.raises(ValueError, match="know only the classes that they were trained on.$"):
            kind().fuse(pool, X, other)
    with pytest.raises(ValueError, match="know only the classes that they were trained on.$"):
        kind().fuse(pool.replace(classes=NAMES), X, y.astype(str))


# ---- in place of a score or of costs -----------------------------------------------------------------------------


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("kind", [EnsembleClassifier, EnsembleRegressor, SoupClassifier])
def test_the_name_of_a_score_is_read_where_nothing_scores(kind):
    with pytest.raises(ValueError, match="'acc' is not a valid scoring value"):
        kind(scoring="acc").fit(X, y)
    with pytest.raises(TypeError, match="scoring must be the name of a scorer"):
        kind(scoring=["accuracy"]).fit(X, y)


@pytest.mark.usefixtures("untrained")
def test_costs_by_name():
    combine = EnsembleSelection(max_cost=3, costs={"seed-0": 1, "seed-1": 2})
    with pytest.raises(TypeError, match="one a member in the order of the pool; got {'seed-0'"):
        EnsembleClassifier(net(), collect=Seeds(2), combine=combine).fit(X, y)
