"""A student that learns from labels and from a teacher."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes, load_digits, load_wine, make_multilabel_classification
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.dataset import ValidSplit
from small_nets import small_nets
from torch import nn
from torch.nn import functional as F

from skfusion import DistillClassifier, DistillRegressor, EnsembleClassifier, EnsembleRegressor, ModelPool, nets
from skfusion._rows import Rows
from skfusion.collect import Seeds
from skfusion.nets.losses._soft import divergence, tempered

classifier, regressor = small_nets(module__hidden=(8,), max_epochs=4)


class Line(nn.Module):
    """One linear layer, which starts at zero."""

    def __init__(self, n_in=1, n_out=1):
        super().__init__()
        self.layer = nn.Linear(n_in, n_out)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, X):
        return self.layer(X)


def straight(kind=NeuralNetClassifier, **params):
    """A linear net that takes steps of plain gradient descent on all rows at once."""
    options = {"batch_size": -1, "train_split": None, "verbose": 0, "optimizer": torch.optim.SGD, "lr": 0.5}
    if kind is NeuralNetClassifier:
        options["criterion"] = nn.CrossEntropyLoss
    return kind(Line, **{**options, **params})


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), np.array(["red", "rosé", "white"])[y]


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(X), (y - y.mean()) / y.std()


@pytest.fixture(scope="module")
def labels():
    X, y = make_multilabel_classification(120, n_features=10, n_classes=3, random_state=0)
    return StandardScaler().fit_transform(X), y


# ---- the loss ------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_tempering_divides_the_logits(temperature):
    z = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)).double() * 5
    expected = (z / temperature).softmax(1).numpy()
    np.testing.assert_allclose(tempered(z.softmax(1).numpy(), temperature, "classification"), expected, rtol=1e-9)
    expected = (z / temperature).sigmoid().numpy()
    np.testing.assert_allclose(tempered(z.sigmoid().numpy(), temperature, "multilabel"), expected, rtol=1e-6)


def test_a_class_of_no_probability_keeps_none():
    p = np.array([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    for temperature in (0.01, 1.0, 1e6):
        assert ((tempered(p, temperature, "classification") == 0) == (p == 0)).all()
    z = torch.zeros(2, 3, requires_grad=True)
    divergence(z, torch.tensor(p).float(), 2.0, "classification").sum().backward()
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("task", ["classification", "multilabel"])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_divergence_by_loops(task, temperature):
    draw = torch.Generator().manual_seed(0)
    z, v = (torch.randn(6, 3, generator=draw).double() for _ in range(2))
    p, q = ((t / temperature).softmax(1) if task == "classification" else (t / temperature).sigmoid() for t in (v, z))
    expected = []
    for i in range(6):
        kl = sum(float(p[i, c] * (p[i, c] / q[i, c]).log()) for c in range(3))
        if task == "multilabel":
            kl = (kl + sum(float((1 - p[i, c]) * ((1 - p[i, c]) / (1 - q[i, c])).log()) for c in range(3))) / 3
        expected.append(temperature**2 * kl)
    np.testing.assert_allclose(divergence(z, p, temperature, task), expected, rtol=1e-9)


@pytest.mark.parametrize("task", ["classification", "multilabel"])
def test_nothing_is_learned_from_an_equal(task):
    z = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    p = z.detach().softmax(1) if task == "classification" else z.detach().sigmoid()
    loss = divergence(z, torch.tensor(tempered(p.numpy(), 2.0, task)), 2.0, task)
    np.testing.assert_allclose(loss.detach(), 0, atol=1e-12)
    loss.sum().backward()
    np.testing.assert_allclose(z.grad, 0, atol=1e-12)


def test_at_a_high_temperature_logits_are_matched():
    draw = torch.Generator().manual_seed(0)
    z, v = (torch.randn(6, 5, generator=draw).double() for _ in range(2))
    z, v = ((t - t.mean(1, keepdim=True)).requires_grad_() for t in (z, v))
    temperature = 1e4
    p = torch.tensor(tempered(v.detach().softmax(1).numpy(), temperature, "classification"))
    divergence(z, p, temperature, "classification").sum().backward()
    np.testing.assert_allclose(z.grad, (z - v).detach() / 5, atol=1e-4)


def by_hand(X, y, teacher, weight, labelled, alpha, temperature, n_out):
    """The loss of Hinton et al. of a linear net at zero, and its gradient by autograd."""
    layer = nn.Linear(X.shape[1], n_out).double()
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    total = 0
    for i in range(len(X)):
        z = layer(torch.tensor(X[i]).double())
        p = (torch.tensor(teacher[i]).double().log() / temperature).softmax(0)
        kl = (p * (p.log() - (z / temperature).log_softmax(0))).sum()
        own = F.cross_entropy(z, torch.tensor(y[i])) if labelled[i] else 0
        total = total + weight[i] * (alpha * own + (1 - alpha) * temperature**2 * kl)
    (total / len(X)).backward()
    return layer.weight.grad.numpy(), layer.bias.grad.numpy()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_unlabelled", [0, 40])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_a_step_of_the_student_is_that_of_the_formula(wine, weighted, n_unlabelled, alpha):
    X, y = wine
    n = len(y) - n_unlabelled
    teacher = LogisticRegression(C=0.01).fit(X, y)
    weight = np.random.default_rng(0).uniform(0.5, 1.5, n) if weighted else np.ones(n)
    student = DistillClassifier(straight(max_epochs=1), teacher=teacher, temperature=3.0, alpha=alpha, random_state=0)
    more = {"X_unlabelled": X[n:]} if n_unlabelled else {}
    student.fit(X[:n], y[:n], weight if weighted else None, **more)
    n = n if alpha == 1 else len(y)  # which cannot learn from the others
    n_labelled = len(y) - n_unlabelled
    weight = np.append(weight, np.ones(n - n_labelled))
    codes = np.searchsorted(student.classes_, y)
    args = X[:n], codes, teacher.predict_proba(X), weight / weight.mean(), np.arange(len(y)) < n_labelled
    slopes, intercepts = by_hand(*args, alpha, 3.0, 3)
    np.testing.assert_allclose(student.state_["layer.weight"], -0.5 * slopes, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(student.state_["layer.bias"], -0.5 * intercepts, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("how", ["unlabelled", "weighted", "both"])
def test_weights_of_classes_change_no_more_than_they_should(wine, how):
    """Ten for all classes is one for all; others weigh labelled rows as torch's own mean does."""
    X, y = wine
    more = {} if how == "weighted" else {"X_unlabelled": X[:40] + 1}
    weight = None if how == "unlabelled" else np.linspace(0.5, 1.5, len(y))
    teacher = LogisticRegression(C=0.1).fit(X, y)

    def student(alpha, **params):
        net = straight(max_epochs=params.pop("max_epochs", 3), **params)
        return DistillClassifier(net, teacher=teacher, alpha=alpha, random_state=0).fit(X, y, weight, **more).state_

    plain, tenfold = student(0.5), student(0.5, criterion__weight=torch.tensor([10.0] * 3))
    np.testing.assert_allclose(tenfold["layer.weight"], plain["layer.weight"], rtol=1e-4, atol=1e-6)
    c = torch.tensor([1.0, 2.0, 5.0])
    half = student(0.5, max_epochs=1, criterion__weight=c)["layer.weight"]
    taught = student(0.0, max_epochs=1)["layer.weight"]
    codes, layer = torch.tensor(np.unique(y, return_inverse=True)[1]), Line(13, 3)
    own = F.cross_entropy(layer(torch.tensor(X).float()), codes, c, reduction="none")
    w = torch.ones(len(y)) if weight is None else torch.tensor(weight).float()
    share = float(w.sum()) / (float(w.sum()) + len(more.get("X_unlabelled", ())))
    (share * (own * w).sum() / (c[codes] * w).sum()).backward()
    np.testing.assert_allclose(half, (taught - 0.5 * layer.layer.weight.grad) / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_criterion_that_adds_up_still_does(wine, weighted):
    X, y = wine
    weight = np.linspace(0.5, 1.5, len(y)) if weighted else np.ones(len(y))
    net = straight(max_epochs=1, lr=0.01, criterion__reduction="sum")
    student = DistillClassifier(net, teacher=LogisticRegression(), alpha=1.0).fit(X, y, weight if weighted else None)
    codes, layer = torch.tensor(np.unique(y, return_inverse=True)[1]), Line(13, 3)
    own = F.cross_entropy(layer(torch.tensor(X).float()), codes, reduction="none")
    (own * torch.tensor(weight / weight.mean())).sum().backward()
    np.testing.assert_allclose(student.state_["layer.weight"], -0.01 * layer.layer.weight.grad, rtol=1e-4, atol=1e-6)


def test_a_net_whose_loss_reads_more_than_one_output(wine):
    """Rows without a label are taken from all that the module returns, and from the inputs."""

    class Wide(Line):
        def forward(self, X):
            return self.layer(X), {"X": X}

    class Own(NeuralNetClassifier):
        def get_loss(self, y_pred, y_true, X=None, training=False):
            assert len(y_pred[0]) == len(y_true) == len(X)
            assert torch.equal(y_pred[1]["X"], X)
            return self.criterion_(y_pred[0], y_true)

    X, y = wine
    net = Own(Wide, criterion=nn.CrossEntropyLoss, batch_size=16, train_split=None, verbose=0, max_epochs=20, lr=0.1)
    student = DistillClassifier(net, teacher=LogisticRegression(), random_state=0)
    assert student.fit(X, y, X_unlabelled=X[:40]).score(X, y) > 0.9


WHOLE = {
    "classes": ("wine", classifier()),
    "class-weights": ("wine", classifier(criterion__weight=torch.tensor([1.0, 2.0, 3.0]))),
    "batchnorm": ("wine", classifier(module__norm="batch", module__dropout=0.1)),
    "validated": ("wine", classifier(train_split=ValidSplit(4, stratified=True), callbacks=None)),
    "labels": ("labels", classifier(multilabel=True)),
    "values": ("diabetes", regressor()),
    "absolute-errors": ("diabetes", regressor(criterion=nn.L1Loss)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_alone_with_its_targets_it_trains_as_ever_bit_for_bit(request, name):
    data, net = WHOLE[name]
    X, y = request.getfixturevalue(data)
    kind = DistillRegressor if data == "diabetes" else DistillClassifier
    teacher = ExtraTreesRegressor(5) if data == "diabetes" else ExtraTreesClassifier(5)
    student = kind(net, teacher=teacher, alpha=1.0, random_state=3).fit(X, y)
    task = student._task
    y = np.searchsorted(student.classes_, y) if task == "classification" else y
    rows = Rows(X.astype(np.float32), y[:, None].astype(np.float32) if task == "regression" else y)
    seed = int(np.random.RandomState(3).randint(2**31 - 1, size=2)[1])
    n_outputs = 1 if task == "regression" else 3
    alone = nets.state_of(nets.fit(nets.sized(net, rows, n_outputs), rows, seed))
    assert alone.keys() == student.state_.keys()
    for key, tensor in alone.items():
        assert torch.equal(tensor, student.state_[key]), key


@pytest.mark.parametrize("c", [None, [1.0, 9.0, 3.0]], ids=["no", "some"])
def test_alone_with_weights_of_rows_and_classes_it_trains_as_ever_bit_for_bit(wine, c):
    """In batches whose weights are unlike those of all rows."""
    X, y = wine
    weight = np.where(np.arange(len(y)) % 5 < 2, 0.1, 1.9) + (y == "white")
    net = straight(max_epochs=3, batch_size=8, lr=0.05, criterion__weight=None if c is None else torch.tensor(c))
    student = DistillClassifier(net, teacher=ExtraTreesClassifier(5), alpha=1.0, random_state=3).fit(X, y, weight)
    rows = Rows(X.astype(np.float32), np.searchsorted(student.classes_, y), weight).expanded()
    seed = int(np.random.RandomState(3).randint(2**31 - 1, size=2)[1])
    alone = nets.state_of(nets.fit(nets.sized(net, rows, 3), rows, seed))
    for key, tensor in alone.items():
        assert torch.equal(tensor, student.state_[key]), key


def test_alone_with_two_classes(wine):
    X, y = wine
    two = y != "white"
    net = straight(criterion=nn.BCEWithLogitsLoss, max_epochs=5)
    student = DistillClassifier(net, teacher=LogisticRegression(), alpha=1.0).fit(X[two], y[two])
    assert student.state_["layer.weight"].shape == (1, 13)
    assert student.score(X[two], y[two]) > 0.9


# ---- what it learns ------------------------------------------------------------------------------


def test_a_linear_student_finds_a_linear_teacher(diabetes):
    X, y = diabetes
    X = np.linalg.qr(X)[0] * np.sqrt(len(X))  # so that gradient descent takes few steps
    teacher = LinearRegression().fit(X, y)
    net = straight(NeuralNetRegressor, max_epochs=60, lr=0.25)
    noise = np.random.default_rng(0).normal(size=len(y))
    student = DistillRegressor(net, teacher=teacher, alpha=0.0).fit(X, noise)
    np.testing.assert_allclose(student.state_["layer.weight"][0], teacher.coef_, atol=1e-5)
    np.testing.assert_allclose(student.state_["layer.bias"], teacher.intercept_, atol=1e-5)
    half = DistillRegressor(net, teacher=teacher, alpha=0.5).fit(X, noise)  # the mean of both targets
    between = LinearRegression().fit(X, (noise + teacher.predict(X)) / 2)
    np.testing.assert_allclose(half.state_["layer.weight"][0], between.coef_, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_a_linear_student_finds_a_linear_classifier(wine, temperature):
    X, y = wine
    teacher = LogisticRegression(C=0.1).fit(X, y)
    net = straight(max_epochs=1500, lr=0.3)
    student = DistillClassifier(net, teacher=teacher, temperature=temperature, alpha=0.0)
    student.fit(X, np.roll(y, 50))  # labels that say nothing
    slopes = student.state_["layer.weight"].numpy()
    np.testing.assert_allclose(slopes - slopes.mean(0), teacher.coef_ - teacher.coef_.mean(0), atol=0.01)
    np.testing.assert_allclose(student.predict_proba(X), teacher.predict_proba(X), atol=0.01)


def test_labels_of_two_classes_are_learned_by_one_output(wine):
    X, y = wine
    two = y != "white"
    teacher = LogisticRegression(C=0.1).fit(X[two], y[two])
    net = straight(criterion=nn.BCEWithLogitsLoss, max_epochs=1500, lr=0.5)
    student = DistillClassifier(net, teacher=teacher, alpha=0.0).fit(X[two], y[two])
    np.testing.assert_allclose(student.predict_proba(X[two]), teacher.predict_proba(X[two]), atol=0.01)


def test_labels_that_do_not_exclude_each_other_are_learned(labels):
    X, y = labels
    teacher = ExtraTreesClassifier(20, min_samples_leaf=10, random_state=0).fit(X, y)
    net = classifier(multilabel=True, max_epochs=200, optimizer__weight_decay=0.0)
    student = DistillClassifier(net, teacher=teacher, temperature=1.0, alpha=0.0, random_state=0).fit(X, y)
    taught = np.stack([p[:, 1] for p in teacher.predict_proba(X)], axis=1)
    assert abs(student.predict_proba(X) - taught).mean() < 0.03


def test_rows_without_labels_teach(wine):
    X, y = load_digits(return_X_y=True)
    few = np.concatenate([np.flatnonzero(y == c)[:5] for c in range(10)])
    rest = np.setdiff1d(np.arange(1000), few)
    teacher = ExtraTreesClassifier(100, random_state=0).fit(X[:1000], y[:1000])
    student = DistillClassifier(nets.mlp_classifier(), teacher=teacher, random_state=0)
    alone = clone(student).set_params(teacher=FrozenEstimator(teacher)).fit(X[few], y[few]).score(X[1000:], y[1000:])
    more = student.fit(X[few], y[few], X_unlabelled=X[rest]).score(X[1000:], y[1000:])
    assert more > alone + 0.05


def test_minus_one_is_a_class(wine):
    X, y = wine
    signs = np.where(y == "red", -1, 1)
    student = DistillClassifier(teacher=LogisticRegression(), random_state=0).fit(X, signs)
    assert student.classes_.tolist() == [-1, 1]
    assert student.score(X, signs) > 0.95


# ---- teachers ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ensemble(wine):
    return EnsembleClassifier(classifier(), collect=Seeds(2), random_state=0).fit(*wine)


def test_a_pool_teaches_what_its_ensemble_does(wine, ensemble):
    students = [
        DistillClassifier(classifier(), teacher=teacher, random_state=0).fit(*wine)
        for teacher in (ensemble, ensemble.pool_, FrozenEstimator(ensemble))
    ]
    for student in students[1:]:
        np.testing.assert_array_equal(student.predict_proba(wine[0]), students[0].predict_proba(wine[0]))
    assert isinstance(students[1].teacher_, EnsembleClassifier)
    assert students[0].teacher_ is ensemble


def test_a_fitted_net_teaches(wine):
    X, y = wine
    codes = np.unique(y, return_inverse=True)[1]
    net = classifier(module__n_in=13, module__n_out=3).fit(X.astype(np.float32), codes)
    student = DistillClassifier(classifier(), teacher=net, random_state=0).fit(X, codes)
    np.testing.assert_allclose(student.teacher_.predict_proba(X), net.predict_proba(X.astype(np.float32)), atol=1e-6)


@pytest.mark.parametrize("teacher", [None, classifier(), KNeighborsClassifier(), make_pipeline(LogisticRegression())])
def test_a_teacher_that_is_not_fitted_is_fitted(wine, teacher):
    student = DistillClassifier(classifier(), teacher=teacher, random_state=0).fit(*wine)
    assert student.teacher_.classes_.tolist() == ["red", "rosé", "white"]
    if teacher is not None:
        with pytest.raises(NotFittedError):
            clone(teacher).predict(wine[0])
        assert not hasattr(teacher, "classes_") or not getattr(teacher, "initialized_", False)


@pytest.mark.usefixtures("untouched_rng")
def test_a_net_at_the_end_of_a_pipeline_is_sized_and_seeded(wine):
    student = DistillClassifier(classifier(), teacher=make_pipeline(StandardScaler(), classifier()), random_state=0)
    found = [clone(student).fit(*wine).predict_proba(wine[0]) for _ in range(2)]
    np.testing.assert_array_equal(*found)


def test_the_default_teacher_is_five_students(wine):
    student = DistillClassifier(classifier(), random_state=0).fit(*wine)
    assert len(student.teacher_.members_) == 5
    assert isinstance(DistillRegressor(regressor()).fit(wine[0], wine[0][:, 0]).teacher_, EnsembleRegressor)


def test_a_clone_teaches_anew_unless_it_is_frozen(wine):
    X, y = wine
    teacher = KNeighborsClassifier().fit(X[::2], y[::2])
    own = DistillClassifier(classifier(), teacher=teacher).fit(X, y).teacher_
    assert own is teacher
    assert clone(DistillClassifier(teacher=teacher)).fit(X, y).teacher_.n_samples_fit_ == len(y)
    frozen = clone(DistillClassifier(teacher=FrozenEstimator(teacher))).fit(X, y)
    assert frozen.teacher_.n_samples_fit_ == 89


def test_a_teacher_with_more_classes(wine):
    X, y = wine
    teacher = LogisticRegression().fit(X, y)
    two = y != "rosé"
    student = DistillClassifier(classifier(), teacher=teacher, random_state=0).fit(X[two], y[two])
    assert student.classes_.tolist() == ["red", "rosé", "white"]
    assert student.predict_proba(X).shape == (len(y), 3)


def test_classes_that_the_net_names_in_another_order(wine):
    X, y = wine
    net = straight(max_epochs=800, lr=0.3, classes=["white", "red", "none", "rosé"])
    teacher = LogisticRegression(C=0.1).fit(X, y)
    student = DistillClassifier(net, teacher=teacher, temperature=1.0, alpha=0.0).fit(X, y)
    assert student.classes_.tolist() == ["none", "red", "rosé", "white"]
    np.testing.assert_allclose(student.predict_proba(X)[:, 1:], teacher.predict_proba(X), atol=0.03)


def test_the_teacher_is_given_the_inputs_as_they_are(wine):
    import pandas as pd

    X, y = wine
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(13)])
    teacher = make_pipeline(StandardScaler(), LogisticRegression())
    student = DistillClassifier(classifier(), teacher=teacher, random_state=0).fit(frame, y, X_unlabelled=frame[:20])
    assert student.teacher_.feature_names_in_.tolist() == [*frame.columns]
    assert student.feature_names_in_.tolist() == [*frame.columns]


@pytest.mark.parametrize("weighted", [False, True])
def test_the_teacher_is_given_the_targets_as_they_are(diabetes, weighted):
    """Of which float32 would keep nothing."""
    X, _ = diabetes
    y, weight = 1e9 + X[:, :3] @ [1, 2, 3], np.arange(len(X)) % 3 if weighted else None
    student = DistillRegressor(regressor(max_epochs=1), teacher=LinearRegression(), random_state=0).fit(X, y, weight)
    np.testing.assert_allclose(student.teacher_.coef_[:3], [1, 2, 3], rtol=1e-4)
    column = DistillRegressor(regressor(max_epochs=1), teacher=Ridge(), random_state=0).fit(X, y[:, None])
    assert column.teacher_.coef_.shape == Ridge().fit(X, y[:, None]).coef_.shape


# ---- data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("unlabelled", [False, True])
def test_whole_weights_are_repetitions_bit_for_bit(wine, unlabelled):
    X, y = wine
    times = np.arange(len(y)) % 3
    more = {"X_unlabelled": X[:30] + 1} if unlabelled else {}
    student = DistillClassifier(classifier(), teacher=ExtraTreesClassifier(5), random_state=0)
    weighed = clone(student).fit(X, y, times, **more)
    repeated = clone(student).fit(X.repeat(times, axis=0), y.repeat(times), **more)
    np.testing.assert_array_equal(weighed.predict_proba(X), repeated.predict_proba(X))


def test_named_inputs(wine):
    class Two(nn.Module):
        def __init__(self, n_out=2):
            super().__init__()
            self.layer = nn.Linear(13, n_out)

        def forward(self, a, b):
            return self.layer(torch.cat([a, b], 1))

    X, y = wine
    named = {"a": X[:, :5], "b": X[:, 5:]}
    net = NeuralNetClassifier(Two, train_split=None, verbose=0, max_epochs=20, criterion=nn.CrossEntropyLoss, lr=0.1)
    teacher = EnsembleClassifier(net, collect=Seeds(2), random_state=0)
    more = {k: v[:50] for k, v in named.items()}
    student = DistillClassifier(net, teacher=teacher, random_state=0).fit(named, y, X_unlabelled=more)
    assert student.score(named, y) > 0.9


def test_several_outputs(diabetes):
    X, y = diabetes
    both = np.stack([y, -y], axis=1)
    student = DistillRegressor(regressor(), teacher=Ridge(), random_state=0).fit(X, both, X_unlabelled=X[:10])
    assert student.predict(X).shape == both.shape


def test_searches_and_pickles(wine):
    X, y = wine
    grid = {"temperature": [1.0, 4.0], "alpha": [0.0, 1.0], "teacher__C": [0.1, 1.0]}
    student = DistillClassifier(classifier(lr=0.05), teacher=LogisticRegression(), random_state=0)
    search = GridSearchCV(student, grid, cv=2).fit(X, y)
    best = search.best_estimator_
    assert best.score(X, y) > 0.8
    again = pickle.loads(pickle.dumps(best))
    np.testing.assert_array_equal(again.predict_proba(X), best.predict_proba(X))
    np.testing.assert_allclose(best.estimator_.predict_proba(X.astype(np.float32)), best.predict_proba(X), atol=1e-6)
    assert len(best.history_) == 4


def test_a_loss_that_is_validated_is_that_of_the_labels(wine):
    net = classifier(train_split=ValidSplit(4, stratified=True))
    student = DistillClassifier(net, teacher=LogisticRegression(), alpha=0.2, random_state=0)
    student.fit(*wine, X_unlabelled=wine[0][:40])
    assert all(np.isfinite(row["valid_loss"]) for row in student.history_)


@pytest.mark.parametrize(
    "student",
    [
        DistillClassifier(classifier(lr=0.02, max_epochs=15), teacher=LogisticRegression()),
        pytest.param(
            DistillClassifier(classifier(lr=0.02, max_epochs=15), teacher=classifier(lr=0.02, max_epochs=15)),
            marks=pytest.mark.slow,
        ),
        DistillRegressor(regressor(lr=0.02, max_epochs=15), teacher=Ridge()),
    ],
    ids=["classifier", "classifier-of-a-net", "regressor"],
)
def test_it_keeps_to_scikit_learn(student):
    check_estimator(student, on_fail="raise", on_skip=None)


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"alpha": 1.5}, ValueError, "alpha is the share of the loss of the targets, between 0 and 1; got 1.5"),
        ({"alpha": "all"}, ValueError, "alpha is the share"),
        ({"temperature": 0}, ValueError, "temperature must be a positive number; got 0"),
        ({"temperature": np.inf}, ValueError, "temperature must be a positive number"),
        ({"teacher": LogisticRegression}, TypeError, "teacher must be an estimator or a ModelPool"),
        ({"teacher": [LogisticRegression()]}, TypeError, "teacher must be an estimator or a ModelPool"),
        ({"teacher": LinearSVC()}, TypeError, r"LinearSVC has no predict_proba.*CalibratedClassifierCV\(teacher\)"),
        ({"teacher": Ridge()}, TypeError, "Ridge has no predict_proba"),
    ],
)
def test_parameters_that_make_no_sense(wine, params, error, message):
    with pytest.raises(error, match=message):
        DistillClassifier(classifier(), **params).fit(*wine)


def test_a_remedy_that_works(wine):
    teacher = CalibratedClassifierCV(LinearSVC())
    student = DistillClassifier(classifier(lr=0.05), teacher=teacher, random_state=0)
    assert student.fit(*wine).score(*wine) > 0.8


def test_a_classifier_teaches_no_values(diabetes):
    with pytest.raises(TypeError, match="LogisticRegression predicts no values: give a regressor"):
        DistillRegressor(teacher=LogisticRegression()).fit(*diabetes)


def test_a_class_that_the_teacher_does_not_know(wine):
    X, y = wine
    teacher = LogisticRegression().fit(X[y != "rosé"], y[y != "rosé"])
    with pytest.raises(ValueError, match=r"knows the classes \['red', 'white'\], and y has others: \['rosé'\]"):
        DistillClassifier(classifier(), teacher=teacher).fit(X, y)
    half = np.where(y == "red", 0, np.where(y == "white", 1, -1))
    teacher_of_codes = LogisticRegression().fit(X[half >= 0], half[half >= 0])
    with pytest.raises(ValueError, match=r"y has others: \[-1\]. If these rows have no label.*X_unlabelled="):
        DistillClassifier(classifier(), teacher=teacher_of_codes).fit(X, half)
    weight = (y != "rosé").astype(float)
    assert DistillClassifier(classifier(), teacher=teacher).fit(X, y, weight).classes_.tolist() == ["red", "white"]


def test_a_class_that_the_net_does_not_know(wine):
    X, y = wine
    teacher = LogisticRegression().fit(X, y)
    net = classifier(classes=["red", "white"])
    with pytest.raises(ValueError, match=r"classes that the student does not: \['rosé'\]"):
        DistillClassifier(net, teacher=teacher).fit(X[y != "rosé"], y[y != "rosé"])


def test_a_teacher_of_other_shapes(wine, diabetes, labels):
    X, y = diabetes
    teacher = Ridge().fit(X, np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match="The teacher predicts 2 values a row, and y has 1"):
        DistillRegressor(regressor(), teacher=teacher).fit(X, y)
    teacher = ExtraTreesClassifier(3).fit(labels[0], labels[1][:, :2])
    with pytest.raises(ValueError, match="The teacher knows 2 labels, and y has 3"):
        DistillClassifier(classifier(multilabel=True), teacher=teacher).fit(*labels)


def test_a_teacher_that_predicts_nothing(diabetes):
    class Broken(Ridge):
        def predict(self, X):
            return np.full(len(X), np.nan)

    with pytest.raises(ValueError, match="The teacher Broken predicts values that are NaN or infinite"):
        DistillRegressor(regressor(), teacher=Broken()).fit(*diabetes)


def test_a_teacher_that_takes_no_weights(wine):
    weight = np.linspace(0.5, 1.5, len(wine[1]))
    student = DistillClassifier(classifier(), teacher=KNeighborsClassifier())
    with pytest.raises(ValueError, match="KNeighborsClassifier takes no sample_weight"):
        student.fit(*wine, weight)
    student.set_params(teacher=KNeighborsClassifier().fit(*wine)).fit(*wine, weight)


def test_unlabelled_rows_of_another_width(wine):
    with pytest.raises(ValueError, match="X has 5 features, but DistillClassifier is expecting 13"):
        DistillClassifier(classifier(), teacher=LogisticRegression()).fit(*wine, X_unlabelled=wine[0][:, :5])


def test_a_net_with_a_loader_of_its_own(wine):
    net = classifier(iterator_train__num_workers=1)
    with pytest.raises(ValueError, match="Learning from more than targets needs skorch's default dataset"):
        DistillClassifier(net, teacher=LogisticRegression()).fit(*wine)


def test_a_criterion_that_judges_no_single_row(wine):
    class Whole(nn.Module):
        def forward(self, z, y):
            return F.cross_entropy(z, y)

    net = classifier(criterion=Whole, predict_nonlinearity=nn.Softmax(dim=-1))
    student = DistillClassifier(net, teacher=LogisticRegression(), random_state=0)
    student.fit(*wine)
    with pytest.raises(ValueError, match="Whole has no reduction='none', so rows cannot count differently"):
        student.fit(*wine, X_unlabelled=wine[0][:5])


def test_no_pool_of_regressors_teaches_classes(wine, diabetes):
    pool = EnsembleRegressor(regressor(), collect=Seeds(1), random_state=0).fit(wine[0], wine[0][:, 0]).pool_
    assert isinstance(pool, ModelPool)
    with pytest.raises(ValueError, match="is a regressor and cannot classify"):
        DistillClassifier(classifier(), teacher=pool).fit(*wine)
