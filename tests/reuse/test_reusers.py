"""How models that were found predict together: routed, averaged, stacked, probed, fine-tuned."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from skorch import NeuralNetClassifier
from small_nets import small_nets
from torch import nn

from skfusion._numbers import to_torch
from skfusion.reuse import AverageFound, FineTune, Found, Probe, ReusePool, Route, SingleMMD, Specification, StackFound

classifier, regressor = small_nets(module__n_in=64, module__hidden=(16,), lr=0.02, max_epochs=12)
X, Y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
HALF = np.random.RandomState(0).uniform(size=len(Y)) < 0.5
X, Y, NEW, ASKED = X[HALF], Y[HALF], X[~HALF], Y[~HALF]
DIGITS = np.arange(10)


@pytest.fixture(scope="module")
def pairs():
    """A pool of five models, each for two digits."""
    pool = ReusePool()
    for low in range(0, 10, 2):
        rows = low // 2 == Y // 2
        pool = pool.add(LogisticRegression().fit(X[rows], Y[rows]), X[rows], spec=Specification(50), name=str(low // 2))
    return pool


@pytest.fixture(scope="module")
def network():
    """A pool of one network, for the digits below 5."""
    rows = Y < 5
    net = classifier(module__n_out=5).fit(X[rows], Y[rows])
    return ReusePool().add(net, X[rows], spec=Specification(30), name="net")


def accuracy(reuser, X=NEW, y=ASKED):
    return (reuser(X).argmax(axis=1) == y).mean()


# ---- routing


@pytest.mark.parametrize("classifier", [None, KNeighborsClassifier(1)], ids=["default", "neighbours"])
def test_rows_of_disjoint_tasks_are_routed_to_their_own_model(pairs, classifier):
    route = Route(classifier).fit(pairs.search(NEW), NEW, None, DIGITS, 0)
    own = np.array([int(name) for name in route.offers_.names])[route.places(NEW)]
    assert (own == ASKED // 2).mean() > 0.95
    right = own == ASKED // 2
    by_own_model = np.array(
        [pairs[str(y // 2)].predictions(x[None])[0].argmax() + y // 2 * 2 for x, y in zip(NEW, ASKED, strict=True)]
    )
    assert np.array_equal(route(NEW).argmax(axis=1)[right], by_own_model[right])


def test_far_apart_tasks_are_told_apart_without_an_error():
    rng = np.random.RandomState(0)
    parts = [rng.normal(size=(100, 3)) + 10 * place for place in range(3)]
    pool = ReusePool()
    for place, part in enumerate(parts):
        model = Ridge().fit(part, part @ np.eye(3)[place])
        pool = pool.add(model, part, spec=Specification(20), name=str(place))
    fresh = np.vstack([rng.normal(size=(50, 3)) + 10 * place for place in range(3)])
    route = Route().fit(pool.search(fresh), fresh, None, None, 0)
    own = [route.offers_.names.index(str(place)) for place in np.repeat(range(3), 50)]
    assert np.array_equal(route.places(fresh), own)
    assert np.allclose(route(fresh)[:, 0], fresh[np.arange(150), np.repeat(range(3), 50)], atol=0.3)


def test_one_model_alone_gets_all_rows(pairs):
    rows = ASKED < 2
    route = Route().fit(pairs.search(NEW[rows], search=SingleMMD()), NEW[rows], None, np.array([0, 1]), 0)
    assert route.selector_ is None
    assert np.allclose(route(NEW[rows]), pairs["0"].predictions(NEW[rows]), atol=1e-6)


@pytest.mark.parametrize("reuser", [Route(), AverageFound()], ids=repr)
def test_models_of_other_numbers_of_values_do_not_predict_together(reuser):
    shifted, values = X + 5, np.stack([Y, -Y], axis=1)
    pool = ReusePool().add(Ridge().fit(X, Y), X, spec=Specification(5), name="one")
    pool = pool.add(Ridge().fit(shifted, values), shifted, spec=Specification(5), name="two")
    fitted = reuser.fit(Found(pool, np.full(2, 0.5), np.zeros(2), "score"), X, None, None, 0)
    with pytest.raises(ValueError, match="different numbers of outputs, {'one': 1, 'two': 2}"):
        fitted(np.vstack([X[:5], shifted[:5]]))


def test_rows_are_embedded_as_the_specifications_are():
    def pixels(X):
        return X.reshape(len(X), -1)[:, ::2]

    pool = ReusePool()
    for low in (0, 5):
        rows = low // 5 == Y // 5
        model, spec = LogisticRegression().fit(X[rows], Y[rows]), Specification(40, transform=pixels)
        pool = pool.add(model, X[rows], spec=spec, name=str(low))
    route = Route().fit(pool.search(NEW), NEW, None, DIGITS, 0)
    assert route.selector_.n_features_in_ == 32
    assert accuracy(route) > 0.85


# ---- averaging


def test_averages_have_the_weights_of_the_search(pairs):
    found = Found(pairs, np.array([0.7, 0, 0, 0, 0.3]), np.arange(5.0), "score")
    P = AverageFound().fit(found, NEW, None, DIGITS, 0)(NEW[:20])
    by_hand = np.zeros((20, 10))
    by_hand[:, :2] = 0.7 * pairs["0"].predictions(NEW[:20])
    by_hand[:, 8:] = 0.3 * pairs["4"].predictions(NEW[:20])
    assert np.allclose(P, by_hand)


@pytest.mark.parametrize("reuser", [Route(), AverageFound()], ids=repr)
def test_labels_that_no_model_knows_need_labelled_rows(pairs, reuser):
    with pytest.raises(ValueError, match="None of the models .* predicts one of the labels"):
        reuser.fit(pairs.search(NEW), NEW, None, np.array(["cat", "dog"]), 0)


# ---- learning from labelled rows


@pytest.mark.parametrize("reuser", [StackFound(), Probe(), FineTune()], ids=repr)
def test_what_learns_asks_for_labels(network, reuser):
    with pytest.raises(ValueError, match="learns from labelled rows"):
        reuser.fit(network.search(NEW), NEW, None, DIGITS, 0)


@pytest.mark.parametrize("reuser", [StackFound(), Probe(), FineTune(40)], ids=repr)
def test_labels_that_no_model_knows_are_learned(network, reuser):
    odd = (ASKED % 2).astype(np.int64)
    fitted = reuser.fit(network.search(NEW), NEW[:200], odd[:200], np.array(["even", "odd"]), 0)
    assert accuracy(fitted, NEW[200:], odd[200:]) > 0.7


@pytest.mark.parametrize("reuser", [StackFound(), Probe(), FineTune()], ids=repr)
def test_random_labels_are_learned_by_chance_alone(network, reuser):
    coins = np.random.RandomState(1).randint(2, size=len(ASKED))
    fitted = reuser.fit(network.search(NEW), NEW[:300], coins[:300], np.array([0, 1]), 0)
    n = len(ASKED) - 300
    assert abs(accuracy(fitted, NEW[300:], coins[300:]) - 0.5) < 4 * 0.5 / np.sqrt(n)


def test_one_label_alone_is_predicted(network):
    fitted = Probe().fit(network.search(NEW), NEW[:3], np.full(3, 7), DIGITS, 0)
    assert (fitted(NEW[:5]).argmax(axis=1) == 7).all()


def test_a_final_estimator_of_ones_own(network):
    fitted = Probe(KNeighborsClassifier(1)).fit(network.search(NEW), NEW[:100], ASKED[:100], DIGITS, 0)
    assert accuracy(fitted, NEW[:100], ASKED[:100]) == 1
    assert isinstance(fitted.final_estimator_, KNeighborsClassifier)


@pytest.mark.parametrize("reuser", [StackFound(), Probe(), FineTune(5)], ids=repr)
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_values_are_learned(reuser, n_outputs):
    values = np.stack([Y, 10.0 - Y], axis=1)[:, :n_outputs].astype(np.float32)
    asked = np.stack([ASKED, 10.0 - ASKED], axis=1)[:, :n_outputs].astype(float)
    net = regressor(module__n_out=n_outputs, max_epochs=40).fit(X, values)
    pool = ReusePool().add(net, X, spec=Specification(10))
    P = reuser.fit(pool.search(NEW), NEW[:100], asked[:100], None, 0)(NEW[100:])
    assert P.shape == (len(NEW) - 100, n_outputs)
    assert np.mean((P - asked[100:]) ** 2) < 0.75 * asked.var(axis=0).mean()


# ---- fine-tuning


def test_no_epochs_are_the_model_itself(network):
    five = np.arange(5)
    fitted = FineTune(0).fit(network.search(NEW), NEW[:50], ASKED[:50] % 5, five, 0)
    assert np.allclose(fitted(NEW), network[0].predictions(NEW), atol=1e-6)


def test_one_row_is_enough_to_start_from(network):
    fitted = FineTune(0).fit(network.search(NEW), NEW[:1], np.array([1]), np.arange(7), 0)
    assert fitted(NEW[:3]).shape == (3, 7)


def test_outputs_of_known_labels_keep_their_weights(network):
    classes = np.array([9, 3, 1])
    fitted = FineTune(0).fit(network.search(NEW), NEW[:50], ASKED[:50] % 3, classes, 0)
    P, own = fitted(NEW), network[0].predictions(NEW)
    assert P.shape == (len(NEW), 3)
    assert np.allclose(P[:, 1] / P[:, 2], own[:, 3] / own[:, 1], rtol=1e-3)


def test_modules_without_sizes_get_another_last_layer():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 5))
    net = NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss, lr=0.5, max_epochs=20, verbose=0)
    rows = Y < 5
    pool = ReusePool().add(net.fit(X[rows], Y[rows]), X[rows], spec=Specification(10))
    state = {k: v.clone() for k, v in pool[0].member.state.items()}
    fitted = FineTune(40).fit(pool.search(NEW), NEW[:300], ASKED[:300], DIGITS, 0)
    assert fitted(NEW).shape == (len(NEW), 10)
    assert accuracy(fitted, NEW[300:], ASKED[300:]) > 0.8
    assert all(torch.equal(value, state[key]) for key, value in pool[0].member.state.items())
    assert {v.shape for v in to_torch(fitted.state_).values()} == {(16, 64), (16,), (10, 16), (10,)}


def test_a_last_layer_of_another_kind_is_refused():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.scale = nn.Linear(64, 5), nn.LayerNorm(5)

        def forward(self, X):
            return self.scale(self.body(X))

    rows = Y < 5
    net = NeuralNetClassifier(Head, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0).fit(X[rows], Y[rows])
    pool = ReusePool().add(net, X[rows], spec=Specification(10))
    with pytest.raises(ValueError, match="last layer is a LayerNorm"):
        FineTune().fit(pool.search(NEW), NEW[:20], ASKED[:20], DIGITS, 0)


def test_only_networks_are_fine_tuned(pairs):
    with pytest.raises(ValueError, match="only networks are fine-tuned"):
        FineTune().fit(pairs.search(NEW), NEW, ASKED, DIGITS, 0)


def test_early_stopping_of_the_provider_does_not_hold_rows_out(network):
    from skfusion.nets import tabular_classifier

    rows = Y < 5
    net = tabular_classifier(module__hidden=(8,), max_epochs=3)
    from skfusion import EnsembleClassifier
    from skfusion.collect import Seeds

    members = EnsembleClassifier(net, collect=Seeds(1), random_state=0).fit(X[rows], Y[rows]).pool_
    pool = ReusePool(members, [Specification(10).fit(X[rows])])
    fitted = FineTune(3).fit(pool.search(NEW), NEW[:30], ASKED[:30], DIGITS, 0)
    assert fitted.net_.train_split is None
    assert fitted(NEW).shape == (len(NEW), 10)
