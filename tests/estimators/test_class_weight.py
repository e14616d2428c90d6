"""class_weight of classifiers: in every loss as weights of rows, in no score, and in no repetition."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.class_weight import compute_sample_weight
from skorch import NeuralNetClassifier
from small_nets import small_nets
from torch import nn

import skfusion
from skfusion import (
    BaggingFusion,
    BoostingFusion,
    CurveClassifier,
    EnsembleClassifier,
    ReBasinMerger,
    SoupClassifier,
    StackingFusion,
    WeightAveragingClassifier,
)
from skfusion._rows import Rows
from skfusion.collect import Seeds
from skfusion.combine import Calibrated, EnsembleSelection, Stack, WeightedAverage
from skfusion.connect import Bezier
from skfusion.merge import Learned, Uniform
from skfusion.nets import Judge, Runner, mlp_classifier
from skfusion.select import TopK

RNG = np.random.RandomState(0)
X = RNG.normal(size=(120, 3)).astype(np.float32)
CODES = (X[:, 0] + RNG.normal(size=120) > 1.4).astype(int)  # every seventh row, and hard to tell
Y = np.array(["often", "rare"])[CODES]
BALANCED = compute_sample_weight("balanced", Y)
_, regressor = small_nets(module__hidden=(4,), lr=0.02, max_epochs=3)


class Plain(nn.Sequential):
    """A network without statistics, which are those of the weights of rows alone."""

    def __init__(self, n_in=3, n_out=2):
        super().__init__(nn.Linear(n_in, 4), nn.ReLU(), nn.Linear(4, n_out))


def classifier(**params):
    settings = {"criterion": nn.CrossEntropyLoss, "optimizer": torch.optim.Adam, "lr": 0.02, "max_epochs": 3}
    settings |= {"batch_size": 32, "iterator_train__shuffle": True, "train_split": None, "verbose": 0}
    return NeuralNetClassifier(Plain, **settings | {"callbacks": "disable", **params})


def ensemble(**params):
    return EnsembleClassifier(classifier(), **{"collect": Seeds(2), "random_state": 0, **params})


# ---- in losses -------------------------------------------------------------------------------------------------------

TRAINED = {
    "ensemble": ensemble,
    "averaging": lambda **params: WeightAveragingClassifier(classifier(), random_state=0, **params),
    "bagging": lambda **params: BaggingFusion(classifier(), n_members=2, random_state=0, **params),
    "boosting": lambda **params: BoostingFusion(classifier(), n_members=2, random_state=0, **params),
    "rebasin": lambda **params: ReBasinMerger(classifier(), repair=None, n_points=0, random_state=0, **params),
    "stack": lambda **params: StackingFusion(classifier(), n_members=2, cv=2, random_state=0, **params),
    "learned": lambda **params: SoupClassifier(
        classifier(), collect=Seeds(2), merge=Learned(), random_state=0, **params
    ),
}


@pytest.mark.filterwarnings("ignore:The merged network scores", "ignore:Boosting ends")
@pytest.mark.parametrize("name", TRAINED)
def test_networks_learn_as_with_such_weights_of_rows(name):
    by_class = TRAINED[name](class_weight="balanced").fit(X, Y)
    by_row = TRAINED[name]().fit(X, Y, sample_weight=BALANCED)
    plain = TRAINED[name]().fit(X, Y)
    tolerance = 1e-4 if name != "learned" else 0.02  # which takes means in batches that are divided otherwise
    np.testing.assert_allclose(by_class.predict_proba(X), by_row.predict_proba(X), atol=tolerance)
    if name != "boosting":  # whose votes are coarse
        assert np.abs(by_class.predict_proba(X) - plain.predict_proba(X)).max() > 2 * tolerance


def test_a_dict_by_label_gives_the_same():
    ratio = BALANCED[CODES == 1][0] / BALANCED[CODES == 0][0]
    one, other = (ensemble(class_weight=given).fit(X, Y) for given in ("balanced", {"rare": ratio}))
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=1e-5)


def test_without_weights_of_classes_nothing_changes():
    even = np.where(np.arange(120) % 2, "a", "b")
    plain = ensemble().fit(X, even).predict_proba(X)
    assert np.array_equal(ensemble(class_weight="balanced").fit(X, even).predict_proba(X), plain)
    assert np.array_equal(ensemble(class_weight={"a": 3, "b": 3}).fit(X, even).predict_proba(X), plain)


@pytest.mark.parametrize("combine", [None, WeightedAverage(), Stack()], ids=str)
def test_whole_weights_stay_repetitions(combine):
    times = RNG.randint(1, 4, size=120)
    fusion = ensemble(class_weight="balanced", combine=combine, cv=3)
    weighted = fusion.fit(X, Y, sample_weight=times).predict_proba(X)
    index = np.random.RandomState(1).permutation(np.repeat(np.arange(120), times))
    if combine is not None and combine.out_of_fold:
        index = np.sort(index)  # folds follow the order of rows
    assert np.array_equal(fusion.fit(X[index], Y[index]).predict_proba(X), weighted)


@pytest.mark.parametrize("weight", [None, np.linspace(0.5, 1.5, 120)], ids=["plain", "weighted"])
@pytest.mark.parametrize("n_out", [1, 2])
def test_the_loss_of_a_judge_and_its_gradients_weigh_classes_and_its_score_does_not(n_out, weight):
    criterion = nn.BCEWithLogitsLoss if n_out == 1 else nn.CrossEntropyLoss
    net = mlp_classifier(module__hidden=(4,), criterion=criterion, module__n_in=3, module__n_out=n_out)
    torch.manual_seed(0)
    by_class = np.array([0.5, 3.0])
    rows = Rows(X, CODES, weight, task="classification", class_weight=by_class)
    runner = Runner(net, "classification", rows)
    state = {name: tensor.clone() for name, tensor in runner.module.state_dict().items()}
    judge = Judge(runner, rows, rows)
    (p,) = (proba for proba, _ in judge.members([state]))
    w = np.ones(120) if weight is None else weight
    losses = -np.log(p[np.arange(120), CODES])
    assert judge.loss(state) == pytest.approx((w * by_class[CODES] * losses).sum() / w.sum(), rel=1e-4)
    assert judge.score(state) == pytest.approx(np.average(p.argmax(axis=1) == CODES, weights=w))
    batches = [judge.criterion(judge.forward(state, b.x), b).item() * len(b.y) for b in judge.training()]
    if weight is None:  # batches of different rows, which are not divided by the weights of their own classes
        assert sum(batches) / 120 == pytest.approx(judge.loss(state), rel=1e-4)


def test_a_curve_is_trained_on_the_weighted_loss():
    pool = ensemble(class_weight="balanced").fit(X, Y).pool_
    curve = CurveClassifier(
        classifier(), collect=pool, connect=Bezier(n_epochs=1), n_points=3, class_weight="balanced"
    ).fit(X, Y)
    end = curve.profiles_[curve.spanning_tree_[0]].loss[0]
    proba = EnsembleClassifier(classifier()).fuse(pool[[0]], X, Y).predict_proba(X)
    assert end == pytest.approx(np.average(-np.log(proba[np.arange(120), CODES]), weights=BALANCED), rel=1e-4)


# ---- in combiners and not in scores ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:120 of the 120 rows")  # how the rows are weighed is asked, not how good it is
@pytest.mark.parametrize("combine", [WeightedAverage(), Calibrated(), Stack(), EnsembleSelection()], ids=str)
@pytest.mark.parametrize("order", ["sorted", "turned"])
def test_combiners_learn_by_weighted_losses_and_choose_by_plain_scores(combine, order):
    pool = ensemble(collect=Seeds(3)).fit(X, Y).pool_
    P = np.stack([EnsembleClassifier(classifier()).fuse(pool[[k]], X, Y).predict_proba(X) for k in range(3)])
    if order == "turned":  # columns of the networks in another order than the labels
        last = ["2.weight", "2.bias"]
        turned = [m.replace(state={k: v.flip(0) if k in last else v for k, v in m.state.items()}) for m in pool]
        pool = pool.replace(turned, classes=np.array(["rare", "often"]))
    fused = EnsembleClassifier(classifier(), combine=combine, class_weight="balanced", random_state=0)
    found = fused.fuse(pool, X, Y).predict_proba(X)
    weight = None if isinstance(combine, EnsembleSelection) else BALANCED
    expected = combine.fit(P, CODES, "classification", weight)(P)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_members_are_scored_by_the_weights_of_rows_alone():
    weight = np.linspace(0.5, 2, 120)
    soup = SoupClassifier(
        classifier(), collect=Seeds(2), select=TopK(2), merge=Uniform(), class_weight="balanced", random_state=0
    ).fit(X, Y, sample_weight=weight)
    held = soup.held_out_
    for member in soup.pool_:
        right = member.predictions.argmax(axis=1) == CODES[held]
        assert member.score == pytest.approx(np.average(right, weights=weight[held]))


def test_a_stack_weighs_its_meta_learner_and_members_that_take_weights():
    members = [("linear", LogisticRegression()), ("near", KNeighborsClassifier(5))]
    stack = StackingFusion(estimators=members, cv=3, class_weight="balanced", random_state=0).fit(X, Y)
    plain = StackingFusion(estimators=members, cv=3, random_state=0).fit(X, Y)
    (linear, near), (plain_linear, plain_near) = stack.estimators_, plain.estimators_
    np.testing.assert_array_equal(near.predict_proba(X), plain_near.predict_proba(X))
    alone = LogisticRegression(class_weight="balanced").fit(X, Y)
    np.testing.assert_allclose(
        linear.predict_proba(X), alone.predict_proba(X), atol=0.02
    )  # but for the scale of losses
    assert (linear.predict(X) == 1).sum() > (plain_linear.predict(X) == 1).sum()
    assert (stack.predict(X) == "rare").sum() > (plain.predict(X) == "rare").sum()
    with pytest.raises(ValueError, match="takes no sample_weight"):
        StackingFusion(estimators=members, final_estimator=KNeighborsClassifier(), class_weight="balanced").fit(X, Y)


def test_random_labels_give_chance():
    """By balanced accuracy, of labels of which a fifth are of the second class, on rows that are new."""
    rng = np.random.RandomState(0)
    Z, labels = rng.normal(size=(900, 4)).astype(np.float32), (rng.uniform(size=900) < 0.2).astype(int)
    fusion = ensemble(class_weight="balanced", combine=WeightedAverage()).fit(Z[:300], labels[:300])
    score = balanced_accuracy_score(labels[300:], fusion.predict(Z[300:]))
    assert abs(score - 0.5) < 4 * np.sqrt(0.25 * 0.25 * (1 / 120 + 1 / 480))  # standard errors of the mean of shares


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [StackingFusion, BaggingFusion, BoostingFusion, ReBasinMerger])
def test_values_have_no_classes(kind):
    with pytest.raises(ValueError, match="class_weight='balanced' is for classification, and the net predicts values"):
        kind(regressor(), class_weight="balanced").fit(X, X[:, 0])


def test_labels_that_exclude_nothing_are_refused():
    with pytest.raises(ValueError, match="for classes that exclude each other"):
        ensemble(class_weight="balanced").fit(X, np.column_stack([CODES, 1 - CODES]))


def test_unknown_labels_are_named_before_anything_is_trained():
    for fusion in (ensemble(class_weight={"seldom": 2}), StackingFusion(classifier(), class_weight={"seldom": 2})):
        with pytest.raises(ValueError, match=r"labels that y does not have: \['seldom'\]"):
            fusion.fit(X, Y)


def test_a_criterion_without_losses_of_rows_is_refused_with_the_remedy():
    class Whole(nn.Module):
        def forward(self, out, y):
            return nn.functional.cross_entropy(out, y)

    net = classifier(criterion=Whole)
    with pytest.raises(ValueError, match="Give no class_weight, or a criterion with a reduction"):
        EnsembleClassifier(net, collect=Seeds(1), class_weight="balanced").fit(X, Y)


def test_regressors_have_no_such_parameter():
    names = [name for name in skfusion.__all__ if name.endswith("Regressor")]
    assert all("class_weight" not in getattr(skfusion, name)().get_params() for name in names)
