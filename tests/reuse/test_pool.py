"""Pools of models: how they are made, what models predict in them, and how they are kept in folders."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Perceptron, Ridge
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNet
from small_nets import small_nets
from torch import nn

from skfusion import EnsembleClassifier, ModelPool, SoupRegressor
from skfusion.collect import Seeds
from skfusion.nets import mlp_classifier
from skfusion.pool import Member
from skfusion.reuse import Offer, ReusePool, Specification

classifier, regressor = small_nets(module__n_in=64, module__hidden=(8,), lr=0.02, max_epochs=8)
X, Y = load_digits(return_X_y=True)
X = (X[:400] / 16).astype(np.float32)
Y = Y[:400]


@pytest.fixture(scope="module")
def pool():
    low, high = Y < 5, Y >= 5
    pool = ReusePool().add(LogisticRegression().fit(X[low], Y[low]), X[low], name="linear", spec=Specification(10))
    net = classifier(module__n_out=5).fit(X[high], Y[high] - 5)
    renamed = {code: code + 5 for code in range(5)}
    return pool.add(net, X[high], spec=Specification(10), name="net", labels=renamed)


def test_models_of_several_kinds_have_labels_of_their_own(pool):
    assert pool.names == ["linear", "net"]
    assert len(pool) == 2
    assert pool["linear"].labels == (0, 1, 2, 3, 4)
    assert pool["net"].labels == (5, 6, 7, 8, 9)
    assert pool.classes.tolist() == [*range(10)]
    assert pool.task == "classification"
    assert pool["net"].member.is_network
    assert not pool["linear"].member.is_network
    assert pool.gamma == pool["net"].specification.gamma_


def test_predictions_are_those_of_the_model(pool):
    P = pool["linear"].predictions(X)
    assert np.array_equal(P, pool["linear"].member.estimator.predict_proba(X))
    high = Y >= 5
    accuracy = (np.array(pool["net"].labels)[pool["net"].predictions(X[high]).argmax(axis=1)] == Y[high]).mean()
    assert accuracy > 0.85


def test_predictions_are_read_as_the_users_classes(pool):
    offer, classes = pool["linear"], np.array([1, 7, 3])
    P = offer.predictions(X[:20])
    mapped = offer.for_classes(P, classes)
    assert (mapped[:, 1] == 0).all()
    assert np.allclose(mapped.sum(axis=1), 1)
    assert np.allclose(mapped[:, 0] / mapped[:, 2], P[:, 1] / P[:, 3])
    assert np.allclose(pool["net"].for_classes(pool["net"].predictions(X[:3]), np.array([0, 1])), 0.5)


def test_outputs_of_one_label_are_added():
    low = Y < 4
    model = LogisticRegression().fit(X[low], Y[low])
    parity = ReusePool().add(model, X[low], labels=["even", "odd", "even", "odd"])[0]
    P = parity.predictions(X[:10])
    mapped = parity.for_classes(P, np.array(["even", "odd"]))
    assert np.allclose(mapped[:, 0], P[:, 0] + P[:, 2])


def test_estimators_without_probabilities_vote():
    model = Perceptron().fit(X, Y)
    offer = ReusePool().add(model, X, spec=Specification(5))[0]
    P = offer.predictions(X[:50])
    assert {*np.unique(P)} == {0.0, 1.0}
    assert np.array_equal(P.argmax(axis=1), model.predict(X[:50]))
    assert np.array_equal(offer.features(X[:50]), model.decision_function(X[:50]))


def test_features_are_what_the_last_layer_reads():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 7), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, 10), nn.Softmax(dim=1))
    from skorch import NeuralNetClassifier

    net = NeuralNetClassifier(module, max_epochs=1, verbose=0, train_split=None, classes=np.arange(10))
    net.fit(X, Y.astype(np.int64))
    features = ReusePool().add(net, X, spec=Specification(5))[0].features(X[:30])
    trained = net.module_.eval()
    with torch.no_grad():
        expected = trained[:2](torch.from_numpy(X[:30]))
    assert features.shape == (30, 7)
    assert np.allclose(features, expected.numpy(), atol=1e-6)


def test_features_of_images_are_flattened():
    class Convolutional(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
            self.head = nn.Conv2d(3, 10, 6)

        def forward(self, X):
            return self.head(self.body(X)).flatten(1)

    from skorch import NeuralNetClassifier

    images = X.reshape(-1, 1, 8, 8)
    net = NeuralNetClassifier(Convolutional, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0, train_split=None)
    net.fit(images, Y.astype(np.int64))
    offer = ReusePool().add(net, images, spec=Specification(5))[0]
    assert offer.features(images[:9]).shape == (9, 3 * 36)
    assert not any(module._forward_pre_hooks for module in offer.runner(images).module.modules())


def test_members_of_ensembles_keep_their_order_of_classes_and_scale():
    ensemble = EnsembleClassifier(mlp_classifier(max_epochs=8, module__hidden=(8,)), collect=Seeds(2), random_state=0)
    ensemble.fit(X, np.array([f"digit {y}" for y in Y]))
    specs = [Specification(5, 0.05).fit(X)] * 2
    pool = ReusePool(ensemble.pool_, specs)
    labels = np.array(pool[0].labels)
    assert np.allclose(
        pool[0].predictions(X[:50])[:, np.argsort(labels)],
        EnsembleClassifier(mlp_classifier(module__hidden=(8,)))
        .fuse(ensemble.pool_[[0]], X, [f"digit {y}" for y in Y])
        .predict_proba(X[:50]),
        atol=1e-5,
    )
    soup = SoupRegressor(regressor(max_epochs=15), collect=Seeds(1), random_state=0).fit(X, 1000.0 * Y + 1e6)
    offer = ReusePool(soup.pool_, specs[:1])[0]
    assert np.allclose(offer.predictions(X[:30])[:, 0], soup.predict(X[:30]), rtol=1e-6)


def test_whole_estimators_of_this_library_are_models_too():
    soup = SoupRegressor(regressor(), collect=Seeds(1), random_state=0).fit(X, Y.astype(float))
    offer = ReusePool().add(soup, X, spec=Specification(5))[0]
    assert offer.task == "regression"
    assert not offer.member.is_network
    assert np.allclose(offer.predictions(X[:5])[:, 0], soup.predict(X[:5]))


def test_a_pool_is_immutable_and_a_sequence(pool):
    with pytest.raises(AttributeError, match="immutable"):
        pool.offers = ()
    with pytest.raises(AttributeError, match="immutable"):
        del pool.offers
    assert pool[::-1].names == ["net", "linear"]
    assert pool[["net"]].names == ["net"]
    assert pool[[1, 0]].names == ["net", "linear"]
    assert clone(pool) is pool
    again = pickle.loads(pickle.dumps(pool))
    assert again.names == pool.names
    assert np.array_equal(again["net"].predictions(X[:5]), pool["net"].predictions(X[:5]))
    with pytest.raises(KeyError, match="No model 'none'"):
        pool["none"]
    assert repr(pool) == "ReusePool(2 models: linear, net)"


def test_the_second_specification_takes_gamma_and_transform_of_the_first():
    def half(X):
        return X[:, :32]

    pool = ReusePool().add(Ridge().fit(X, Y), X, spec=Specification(5, transform=half), name="a")
    pool = pool.add(Ridge().fit(X, Y), X * 3, name="b")
    assert pool["b"].specification.gamma_ == pool.gamma
    assert pool["b"].specification.points_.shape[1] == 32
    scaled = ReusePool().add(Ridge().fit(X, Y), X, spec=Specification(5, transform=StandardScaler().fit(X)))
    assert scaled.search(X).fits


def test_networks_and_specifications_come_back_from_a_folder(pool, tmp_path):
    nets = pool[["net"]]
    nets.save(tmp_path / "pool")
    again = ReusePool.load(tmp_path / "pool", net=pool["net"].member.net)
    assert again.names == ["net"]
    assert again["net"].labels == (5, 6, 7, 8, 9)
    for name in ("points_", "weights_"):
        assert np.array_equal(*(getattr(p["net"].specification, name) for p in (again, nets)))
    for name in ("gamma_", "error_", "noise_", "n_rows_"):
        assert getattr(again["net"].specification, name) == getattr(nets["net"].specification, name)
    assert np.array_equal(again["net"].predictions(X[:9]), pool["net"].predictions(X[:9]))
    assert again.search(X).distance == nets.search(X).distance
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pkl", ".pickle", ".joblib")]
    bare = ReusePool.load(tmp_path / "pool")
    assert bare.search(X).names == ["net"]
    with pytest.raises(ValueError, match="has no net"):
        bare["net"].predictions(X)


def test_a_transform_is_asked_for_again(tmp_path):
    net = classifier(module__n_out=10).fit(X, Y)
    ReusePool().add(net, X, spec=Specification(5, transform=np.abs), name="net").save(tmp_path)
    with pytest.raises(ValueError, match=r"transformed by absolute.*load\(path, transform"):
        ReusePool.load(tmp_path).search(X)
    assert ReusePool.load(tmp_path, transform=np.abs).search(X).names == ["net"]
    ReusePool().add(net, X, spec=Specification(5), name="net").save(tmp_path)
    with pytest.raises(ValueError, match="made without a transform"):
        ReusePool.load(tmp_path, transform=np.abs)


def test_saving_that_stops_half_way_leaves_no_models_with_the_specifications_of_others(tmp_path, monkeypatch):
    ReusePool().add(Ridge().fit(X, Y), X, spec=Specification(5), name="same").save(tmp_path)
    save = ModelPool.save

    def stops(pool, path, *args, **kwargs):
        save(pool, path, *args, **kwargs)
        if path.name == "models":
            raise KeyboardInterrupt

    monkeypatch.setattr(ModelPool, "save", stops)
    with pytest.raises(KeyboardInterrupt):
        ReusePool().add(Ridge().fit(X, -Y), X + 5, spec=Specification(5), name="same").save(tmp_path)
    with pytest.raises(ValueError, match="as where saving stopped between them"):
        ReusePool.load(tmp_path)


def test_a_folder_whose_halves_differ_is_refused(pool, tmp_path):
    pool[["net"]].save(tmp_path)
    ModelPool([Member("other", {"points": torch.zeros(1, 2)})]).save(tmp_path / "specifications")
    with pytest.raises(ValueError, match="do not go together"):
        ReusePool.load(tmp_path)
    with pytest.raises(ValueError, match="nothing to save"):
        ReusePool().save(tmp_path)


SPEC = Specification(3, 0.1).fit(X)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ReusePool().add(Ridge().fit(X, Y)), ValueError, "needs X, its training inputs"),
        (lambda: ReusePool().add(Ridge().fit(X, Y), X, spec=SPEC), ValueError, "not both"),
        (lambda: ReusePool().add(Ridge, X), TypeError, "A model is a Member"),
        (lambda: ReusePool().add(3, X), TypeError, "A model is a Member"),
        (lambda: ReusePool([Ridge()]), TypeError, "must be an Offer"),
        (lambda: ReusePool([Offer(Member("a", estimator=Ridge()), Specification())]), ValueError, "is not fitted"),
        (lambda: ReusePool([Offer(Member("a", estimator=Ridge()), SPEC)] * 2), ValueError, "unique"),
        (lambda: ReusePool(ModelPool([Member("a", estimator=Ridge())])), ValueError, "got none"),
        (
            lambda: ReusePool(ModelPool([Member("a", estimator=1)]), {"b": SPEC}),
            ValueError,
            r"no specification of \['a'",
        ),
        (
            lambda: ReusePool(ModelPool([Member("a", estimator=1)]), [SPEC], labels={"b": [1]}),
            ValueError,
            "no members of the pool",
        ),
        (lambda: ReusePool([], [SPEC]), ValueError, "with a ModelPool"),
        (
            lambda: ReusePool().add(Ridge().fit(X, Y), spec=SPEC).add(LogisticRegression().fit(X, Y), spec=SPEC),
            ValueError,
            "make a pool for each task",
        ),
        (
            lambda: ReusePool().add(Ridge().fit(X, Y), spec=SPEC, name="a").add(Ridge(), spec=Specification(3).fit(X)),
            ValueError,
            "do not go together: .* gamma",
        ),
        (lambda: ReusePool().add(LogisticRegression().fit(X, Y), spec=SPEC, labels=[1, 2]), ValueError, "2 entries"),
        (lambda: ReusePool().add(LogisticRegression().fit(X, Y), spec=SPEC, labels={11: 1}), ValueError, "renames"),
        (lambda: ReusePool().add(Ridge().fit(X, Y), spec=SPEC, labels={11: 1}), ValueError, "names no classes"),
        (
            lambda: (
                ReusePool()
                .add(LogisticRegression().fit(X, Y), spec=SPEC, name="numbers")
                .add(LogisticRegression().fit(X, np.where(Y < 5, "low", "high")), spec=SPEC, name="words")
            ),
            ValueError,
            "text in 'words', and numbers elsewhere",
        ),
        (
            lambda: Offer(Member("a", {"w": torch.zeros(1)}, net=classifier()), SPEC),
            ValueError,
            "not known what its outputs stand for",
        ),
    ],
)
def test_what_makes_no_pool_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_models_of_several_labels_a_row_are_refused():
    forest = RandomForestClassifier(2, random_state=0).fit(X[:50], np.stack([Y[:50] % 2, Y[:50]], axis=1))
    with pytest.raises(ValueError, match="'forest' was fitted on several labels a row"):
        ReusePool().add(forest, X[:50], name="forest")
    several = np.stack([Y[:50] % 2, Y[:50] > 4], axis=1).astype(np.float32)
    net = NeuralNet(nn.Linear(64, 2), criterion=nn.BCEWithLogitsLoss, train_split=None, verbose=0, max_epochs=1)
    with pytest.raises(ValueError, match="'net' classifies, and .* several labels a row are not reused"):
        ReusePool().add(net.fit(X[:50], several), X[:50], name="net")


def test_as_many_labels_as_outputs_are_asked_for():
    net = classifier(module__n_out=10).fit(X, Y)
    member = ModelPool.from_estimators([("net", net)])[0]
    offer = Offer(member, SPEC, labels=(0, 1))
    with pytest.raises(ValueError, match="has 10 outputs, and 2 labels"):
        offer.predictions(X)
