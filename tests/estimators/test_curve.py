"""CurveClassifier and CurveRegressor: which points predict, on which rows curves are trained and judged."""

import itertools
import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits, load_iris, make_classification, make_multilabel_classification
from sklearn.metrics import log_loss
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Freezer
from torch import nn

from skfusion import CurveClassifier, CurveRegressor, EnsembleClassifier, ModelPool
from skfusion._rows import Rows
from skfusion.align import ActivationMatching, WeightMatching
from skfusion.collect import Bootstrap, FineTunes, Seeds
from skfusion.connect import Bezier, Connector, Fourier, Line, Path, PolyChain
from skfusion.landscape import _profile, excess, spanning_tree
from skfusion.nets import Judge, Runner, mlp_classifier, mlp_regressor
from skfusion.objective import Batch, ModuleObjective, loss_scale
from skfusion.pool import LeakageWarning, Member
from skfusion.repair import Recalibrate, Repair, Repairer
from skfusion.state import is_statistic

X, Y = load_iris(return_X_y=True)
X = X.astype(np.float32) + np.linspace(0, 1e-3, 150, dtype=np.float32)[:, None]  # no two rows are alike
VALUES = load_diabetes(return_X_y=True)
NET = mlp_classifier(max_epochs=5, module__hidden=(8,), lr=0.02)
NORMED = mlp_classifier(max_epochs=5, module__hidden=(8, 8), module__norm="batch", lr=0.02)
QUICK = Bezier(n_epochs=3)
ENDS = "seed-0", "seed-1"


def curve(net=NET, **params):
    return CurveClassifier(net, **{"connect": QUICK, "n_points": 5, "random_state": 0, **params})


def values(net=None, **params):
    net = mlp_regressor(max_epochs=5, module__hidden=(8,), lr=0.02) if net is None else net
    return CurveRegressor(net, **{"connect": QUICK, "n_points": 5, "random_state": 0, **params})


def pool_of(k, net=NET):
    return EnsembleClassifier(net, collect=Seeds(k), random_state=0).fit(X, Y).pool_


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# ---- the points that predict ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("connect", [QUICK, PolyChain(n_epochs=3), Fourier(n_epochs=3), Line(), Bezier(2, 3)], ids=repr)
def test_ensemble_is_the_mean_over_the_points(connect):
    fitted = curve(connect=connect).fit(X, Y)
    assert [m.name for m in fitted.members_] == [
        "seed-0", "seed-0--seed-1@0.25", "seed-0--seed-1@0.5", "seed-0--seed-1@0.75", "seed-1"
    ]  # fmt: skip
    (path,) = fitted.curves_.values()
    for t, member in zip(np.linspace(0, 1, 5), fitted.members_, strict=True):
        assert same(member.state, path.at(t))
    by_hand = [net.predict_proba(X) for net in fitted.estimators_]
    np.testing.assert_allclose(fitted.predict_members(X), by_hand, atol=1e-6)
    np.testing.assert_allclose(fitted.predict_proba(X), np.mean(by_hand, axis=0), atol=1e-6)
    assert len({p.tobytes() for p in fitted.predict_members(X)}) == 5
    assert isinstance(path, Path)
    assert len(path.history) == getattr(connect, "n_epochs", 0)


def test_points_are_spaced_by_the_length_of_the_curve_where_asked_for():
    connect = Fourier(n_epochs=3)  # slow near its ends
    plain, even = (curve(connect=connect, n_points=7, arc_length=asked).fit(X, Y) for asked in (False, True))

    def gaps(fitted):
        flat = [torch.cat([t.double().flatten() for t in m.state.values()]) for m in fitted.members_]
        return np.array([float((b - a).norm()) for a, b in itertools.pairwise(flat)])

    assert np.ptp(gaps(plain)) > 0.2 * gaps(plain).mean()
    assert np.ptp(gaps(even)) < 0.05 * gaps(even).mean()  # chords of a bent curve
    for a, b in zip(plain.members_[:: len(plain.members_) - 1], even.members_[:: len(even.members_) - 1], strict=True):
        assert a.name == b.name
        assert same(a.state, b.state)
    again = pickle.loads(pickle.dumps(even))
    assert same(again.curves_[ENDS].at(0.5), even.curves_[ENDS].at(0.5))
    assert even.profiles_[ENDS].arc[-1] == pytest.approx(gaps(even).sum(), rel=1e-4)


def test_ends_are_the_members_bit_for_bit():
    fitted = curve().fit(X, Y)
    first, last = fitted.members_[0], fitted.members_[-1]
    assert same(first.state, fitted.pool_[0].state)
    assert same(last.state, fitted.pool_["seed-1"].state)
    assert np.array_equal(first.rows, fitted.pool_[0].rows)
    plain = EnsembleClassifier(NET, collect=Seeds(2), random_state=0).fit(X, Y)
    assert all(same(a.state, b.state) for a, b in zip(fitted.pool_, plain.pool_, strict=True))


@pytest.mark.parametrize("make", [curve, values])
def test_best_point_has_the_best_score_of_the_profiles(make):
    data = (X, Y) if make is curve else VALUES
    fitted = make(predict_with="best", collect=Seeds(3)).fit(*data)
    scores = np.array([p.score for p in fitted.profiles_.values()])
    losses = np.array([p.loss for p in fitted.profiles_.values()])
    k = list(fitted.profiles_).index(fitted.edge_), np.linspace(0, 1, 5).tolist().index(fitted.t_)
    assert scores[k] == scores.max()
    assert losses[k] == losses[scores == scores.max()].min()
    held = data[0][fitted.held_out_], data[1][fitted.held_out_]
    assert len(held[0]) == np.ceil(0.2 * len(data[0]))
    assert fitted.score(*held) == pytest.approx(scores.max(), abs=1e-6)
    assert fitted.members_[0].score == scores.max()
    assert same(fitted.state_, fitted.curves_[fitted.edge_].at(fitted.t_))
    own = fitted.estimator_.predict(data[0].astype(np.float32))
    np.testing.assert_allclose(own.ravel(), fitted.predict(data[0]), rtol=1e-5)


def test_ties_of_the_best_score_go_to_the_lowest_loss():
    def alike(estimator, inputs, labels):
        return 1.0

    pool, found = pool_of(2), []
    for members in (pool, pool[::-1]):
        with pytest.warns(LeakageWarning):
            fitted = curve(predict_with="best", scoring=alike).fuse(members, X, Y)
        (profile,) = fitted.profiles_.values()
        assert {*profile.score} == {1.0}
        assert fitted.t_ == profile.t[profile.loss.argmin()]
        found.append(fitted.t_)
    assert found[0] != found[1]


def test_best_point_follows_the_scoring():
    fitted = curve(predict_with="best", scoring="neg_log_loss", n_points=9).fit(X, Y)
    (profile,) = fitted.profiles_.values()
    np.testing.assert_allclose(profile.score, -profile.loss, atol=1e-5)
    assert fitted.t_ == profile.t[profile.loss.argmin()]


def test_midpoint_is_the_middle_of_the_curve():
    for n_points in (4, 5):
        fitted = curve(predict_with="midpoint", n_points=n_points).fit(X, Y)
        assert (fitted.t_, fitted.edge_) == (0.5, ENDS)
        assert same(fitted.state_, fitted.curves_[ENDS].at(0.5))
        np.testing.assert_allclose(fitted.estimator_.predict_proba(X), fitted.predict_proba(X), atol=1e-6)
        assert np.isnan(fitted.members_[0].score)
    held = curve(predict_with="midpoint").fuse(fitted.pool_, X, Y, held_out=np.arange(0, 150, 5))
    assert held.members_[0].score == held.score(X[::5], Y[::5])


def test_one_network_is_asked_of_many():
    fitted = curve().fit(X, Y)
    assert fitted.edge_ is None
    assert fitted.t_ is None
    for name, instead in (("estimator_", "estimators_"), ("state_", "members_")):
        with pytest.raises(AttributeError, match=f"5 networks predict together.*no {name}.*in {instead}.*'best'"):
            getattr(fitted, name)
    one = fitted.set_params(predict_with="midpoint").fit(X, Y)
    assert one.state_.keys() == fitted.pool_[0].state.keys()
    assert curve().fit(X, Y).set_params(predict_with="best").predict_members(X).shape == (5, 150, 3)


def test_trained_ends_are_points_of_their_own():
    fitted = curve(connect=Bezier(n_epochs=3, train_ends=True), collect=Seeds(3)).fit(X, Y)
    assert len(fitted.members_) == 10
    assert fitted.members_[0].name == f"{'--'.join(fitted.spanning_tree_[0])}@0"
    assert not same(fitted.members_[0].state, fitted.pool_[0].state)


# ---- statistics ----------------------------------------------------------------------------------------------------


def statistics(state):
    return torch.cat([v for k, v in state.items() if is_statistic(k)])


@pytest.mark.parametrize("predict_with", ["ensemble", "best", "midpoint"])
def test_batch_norm_is_recalibrated_at_inner_points(predict_with):
    fitted = curve(NORMED, predict_with=predict_with).fit(X, Y)
    fit = np.arange(150) if fitted.held_out_ is None else np.setdiff1d(np.arange(150), fitted.held_out_)
    rows = Rows(X[fit], Y[fit])
    runner = Runner(fitted.net_, "classification")
    objective = Judge(runner, rows, rows)
    path = fitted.curves_[ENDS]
    for member in fitted.members_:
        if member.name in ENDS:
            assert same(member.state, fitted.pool_[member.name].state)
            continue
        t = float(member.name.partition("@")[2])
        raw = path.at(t)
        expected = Recalibrate()(raw, [], objective)
        torch.testing.assert_close(statistics(member.state), statistics(expected))
        assert (statistics(raw) - statistics(expected)).abs().max() > 1e-3


def test_points_are_those_of_the_profile():
    fitted = curve(NORMED).fit(X, Y)
    losses = [log_loss(Y, p) for p in fitted.predict_members(X)]
    np.testing.assert_allclose(fitted.profiles_[ENDS].loss, losses, rtol=1e-4)


def test_repair_is_a_part():
    class AsItIs(Repairer):
        def __call__(self, state, members, objective):
            return state

    plain = curve(NORMED, repair=AsItIs()).fit(X, Y)
    assert same(plain.members_[2].state, plain.curves_[ENDS].at(0.5))
    mended = curve(NORMED).fit(X, Y)
    assert np.abs(plain.predict_members(X)[2] - mended.predict_members(X)[2]).max() > 1e-3


# ---- profiles and barriers -----------------------------------------------------------------------------------------


def test_profiles_and_barriers():
    fitted = curve(collect=Seeds(3)).fit(X, Y)
    assert fitted.profiles_.keys() == fitted.line_profiles_.keys() == fitted.curves_.keys() == {*fitted.spanning_tree_}
    assert fitted.held_out_ is None
    for edge in fitted.spanning_tree_:
        bent, line = fitted.profiles_[edge], fitted.line_profiles_[edge]
        np.testing.assert_allclose(bent.loss[[0, -1]], line.loss[[0, -1]], rtol=1e-6)
        np.testing.assert_allclose(bent.loss[0], log_loss(Y, proba(fitted, fitted.pool_[edge[0]].state)), rtol=1e-4)
        assert bent.arc[-1] == pytest.approx(fitted.curves_[edge].length(5))
        assert bent.arc[-1] > line.arc[-1]
    for name, found in (("line", fitted.line_profiles_), ("curve", fitted.profiles_)):
        assert fitted.barrier_[name] == np.mean([excess(p.t, p.loss) for p in found.values()])


def proba(fitted, state, inputs=X):
    return Runner(fitted.net_, "classification").predict(state, inputs)


def test_profiles_are_of_held_out_rows_where_there_are_some():
    fitted = curve(predict_with="best").fit(X, Y)
    held = fitted.held_out_
    (profile,) = fitted.profiles_.values()
    ends = [log_loss(Y[held], proba(fitted, m.state, X[held])) for m in fitted.pool_]
    np.testing.assert_allclose(profile.loss[[0, -1]], ends, rtol=1e-4)
    line = fitted.line_profiles_[ENDS]
    np.testing.assert_allclose(line.loss[[0, -1]], ends, rtol=1e-4)


class Seeing(Connector):
    """Keeps what it is given to train on."""

    seen = []  # noqa: RUF012

    def __call__(self, states, objective=None):
        self.seen.append(np.concatenate([batch.x.numpy() for batch in objective.training()]))
        return Line()(states)


@pytest.mark.parametrize("predict_with", ["ensemble", "best"])
def test_curves_are_trained_on_the_rows_of_the_members(predict_with):
    Seeing.seen.clear()
    fitted = curve(connect=Seeing(), predict_with=predict_with).fit(X, Y)
    (seen,) = Seeing.seen
    fit = np.arange(150) if fitted.held_out_ is None else np.setdiff1d(np.arange(150), fitted.held_out_)
    np.testing.assert_array_equal(np.sort(seen, axis=0), np.sort(X[fit], axis=0))
    np.testing.assert_array_equal(np.sort(fitted.pool_[0].rows), np.unique(Rows(X[fit], Y[fit]).marks))


# ---- three members and more ----------------------------------------------------------------------------------------


def trees(names):
    """Every spanning tree."""
    for edges in itertools.combinations(itertools.combinations(names, 2), len(names) - 1):
        joined = {names[0]}
        for _ in names:
            joined |= {n for edge in edges if joined & {*edge} for n in edge}
        if len(joined) == len(names):
            yield edges


def test_spanning_tree_is_the_least_of_all():
    rng = np.random.RandomState(0)
    for k in (2, 3, 4, 5):
        names = [f"m{i}" for i in range(k)]
        for _ in range(20):
            barriers = {edge: float(rng.randint(0, 4)) for edge in itertools.combinations(names, 2)}  # zeros and ties
            found = spanning_tree(barriers)
            every = {frozenset(tree): sum(barriers[e] for e in tree) for tree in trees(names)}
            assert len(every) == k ** (k - 2)  # Cayley
            assert every[frozenset(found)] == min(every.values())
            assert found == sorted(found)


def test_ties_go_to_the_first_pair():
    pairs = [*itertools.combinations("abcd", 2)]
    assert spanning_tree(dict.fromkeys(pairs, 0.0)) == [("a", "b"), ("a", "c"), ("a", "d")]
    assert spanning_tree(dict.fromkeys(pairs, 0.0) | {("a", "b"): 1.0}) == [("a", "c"), ("a", "d"), ("b", "c")]


def test_members_are_joined_along_the_tree_of_their_lines():
    fitted = curve(collect=Seeds(4)).fit(X, Y)
    rows = Rows(X, Y)
    judge = Judge(Runner(fitted.net_, "classification"), rows, rows)
    barriers = {}
    for a, b in itertools.combinations(fitted.pool_, 2):
        line = Line()([a.state, b.state])
        barriers[a.name, b.name] = excess(np.linspace(0, 1, 5), [judge.loss(line.at(t)) for t in np.linspace(0, 1, 5)])
    best = min(trees(fitted.pool_.names), key=lambda tree: sum(barriers[e] for e in tree))
    assert fitted.spanning_tree_ == [*best]
    assert fitted.barrier_["line"] == pytest.approx(np.mean([barriers[e] for e in best]), rel=1e-5)
    names = [m.name for m in fitted.members_]
    assert len(names) == len({*names}) == 4 + 3 * 3
    assert {*fitted.pool_.names} <= {*names}
    np.testing.assert_allclose(fitted.predict_proba(X), fitted.predict_members(X).mean(axis=0), atol=1e-6)


def test_members_of_unlike_rows():
    fitted = curve(collect=Bootstrap(2)).fit(X, Y)
    assert len(fitted.members_) == 5
    assert fitted.pool_.names == ["bag-0", "bag-1"]


# ---- alignment -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("align", [WeightMatching(), ActivationMatching()], ids=repr)
def test_aligned_members_compute_what_they_did(align):
    fitted, plain = curve(align=align).fit(X, Y), curve().fit(X, Y)
    assert all(same(a.state, b.state) for a, b in zip(fitted.pool_, plain.pool_, strict=True))
    np.testing.assert_allclose(fitted.predict_members(X)[[0, -1]], plain.predict_members(X)[[0, -1]], atol=1e-5)
    moved = fitted.alignments_["seed-1"].apply(fitted.pool_[1].state)
    assert same(fitted.members_[-1].state, moved)
    assert not same(moved, fitted.pool_[1].state)
    assert fitted.line_profiles_[ENDS].arc[-1] < plain.line_profiles_[ENDS].arc[-1]
    assert plain.symmetry_ is None
    assert plain.alignments_ is None


def test_permuted_copies_are_joined_without_a_barrier():
    whole = curve(align=WeightMatching()).fit(X, Y)
    member = whole.pool_[0]
    states = [whole.symmetry_.permute(whole.symmetry_.sample(seed), member.state) for seed in range(3)]
    pool = ModelPool([member.replace(name=f"copy-{i}", state=s) for i, s in enumerate(states)], classes=[0, 1, 2])
    fitted = curve(align=WeightMatching(), connect=Line()).fuse(pool, X, Y)
    assert fitted.barrier_["line"] < 1e-6 < curve(connect=Line()).fuse(pool, X, Y).barrier_["line"]
    np.testing.assert_allclose(fitted.predict_proba(X), proba(whole, member.state), atol=1e-5)


def test_alignment_without_units_is_warned_of():
    net = NeuralNetClassifier(
        nn.Linear, module__in_features=4, module__out_features=3, criterion=nn.CrossEntropyLoss, max_epochs=2,
        train_split=None, verbose=0,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="No units of Linear can change places"):
        curve(net, align=WeightMatching()).fit(X, Y)


# ---- what it is good for -------------------------------------------------------------------------------------------


def test_curves_lower_the_barrier_on_digits():
    images, labels = load_digits(return_X_y=True)
    fitted = CurveClassifier(mlp_classifier(), connect=Bezier(n_epochs=100), random_state=0).fit(images / 16, labels)
    assert fitted.barrier_["line"] > 0.3
    assert fitted.barrier_["curve"] <= 0.1 * fitted.barrier_["line"]
    aligned = CurveClassifier(connect=Line(), align=WeightMatching(), collect=fitted.pool_).fit(images / 16, labels)
    assert aligned.barrier_["line"] < fitted.barrier_["line"]


def test_ensembles_along_curves_predict_noisy_labels_better():
    inputs, labels = make_classification(2000, 20, n_informative=8, flip_y=0.15, random_state=0)
    fitted = CurveClassifier(mlp_classifier(), random_state=0).fit(inputs[::2], labels[::2])
    members = fitted.predict_members(inputs[1::2])
    losses = [log_loss(labels[1::2], p) for p in members]
    assert log_loss(labels[1::2], members.mean(axis=0)) < 0.9 * min(losses[0], losses[-1])
    accuracy = (members.argmax(axis=2) == labels[1::2]).mean(axis=1)
    expected, found = accuracy[[0, -1]].mean(), fitted.score(inputs[1::2], labels[1::2])
    assert found > expected - 2 * np.sqrt(expected * (1 - expected) / 1000)  # two standard errors of a share


# ---- what is trained -----------------------------------------------------------------------------------------------


def test_what_a_callback_freezes_stays_along_the_curve():
    backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    net = NeuralNetClassifier(
        backbone, criterion=nn.CrossEntropyLoss, callbacks=[("freeze", Freezer("0.*"))], max_epochs=3, lr=0.1,
        train_split=None, verbose=0,
    )  # fmt: skip
    fitted = curve(net, collect=FineTunes(n_members=2)).fit(X, Y)
    (path,) = fitted.curves_.values()
    first, *_, last = path.controls
    assert torch.equal(first["0.weight"], last["0.weight"])
    assert not torch.equal(first["2.weight"], last["2.weight"])
    for control in path.controls:
        assert torch.equal(control["0.weight"], backbone[0].weight)
    middle = (first["2.weight"] + last["2.weight"]) / 2
    assert (path.controls[1]["2.weight"] - middle).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("net", "repair", "together"),
    [(NET, None, True), (NET, Recalibrate(1), True), (NORMED, None, False), (NET, Repair(), False)],
    ids=["default", "recalibrate", "batch norm", "another repair"],
)
def test_lines_are_computed_together_where_nothing_is_mended(monkeypatch, net, repair, together):
    seen, evaluate = [], _profile.evaluate

    def spying(controls, coefficients, objective, repair=None, networks=(0, -1)):
        seen.append(repair)
        return evaluate(controls, coefficients, objective, repair, networks)

    monkeypatch.setattr(_profile, "evaluate", spying)
    fitted = curve(net, repair=repair, connect=Line()).fit(X, Y)
    assert [found is None for found in seen] == [together]
    np.testing.assert_allclose(fitted.line_profiles_[ENDS].loss, fitted.profiles_[ENDS].loss, rtol=1e-5)


class NeedsInputs(NeuralNetRegressor):
    """A loss that counts rows by one of their inputs."""

    def get_loss(self, y_pred, y_true, X=None, training=False):
        return ((y_pred - y_true) ** 2 * (2 + X[:, :1])).mean()


def test_a_loss_that_looks_at_the_inputs():
    net = NeedsInputs(
        nn.Linear, module__in_features=10, module__out_features=1, train_split=None, verbose=0, max_epochs=3
    )
    fitted = values(net).fit(VALUES[0], VALUES[1] / 100)
    factor = 2 + VALUES[0][:, 0]
    expected = [np.mean((p[:, 0] - VALUES[1] / 100) ** 2 * factor) for p in fitted.predict_members(VALUES[0])]
    np.testing.assert_allclose(fitted.profiles_[ENDS].loss, expected, rtol=1e-4)
    runner = Runner(fitted.net_, "regression")
    rows = Rows(VALUES[0].astype(np.float32), (VALUES[1] / 100)[:, None].astype(np.float32))
    unit = loss_scale(Judge(runner, rows, rows))
    assert unit == pytest.approx(np.mean((VALUES[1] / 100 - np.mean(VALUES[1] / 100)) ** 2 * factor), rel=1e-4)


def test_the_unit_of_many_batches_is_that_of_all_rows():
    y = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    whole, parts = (
        ModuleObjective(nn.Linear(1, 1), lambda b=b: b, criterion=lambda out, b: nn.functional.mse_loss(out, b.y))
        for b in ([Batch(y, y)], [Batch(part, part) for part in y.split([7, 30, 13])])
    )
    assert loss_scale(parts) == pytest.approx(loss_scale(whole), rel=1e-6)
    assert loss_scale(whole) == pytest.approx(float(y.var(dim=0, unbiased=False).mean()), rel=1e-6)


# ---- targets and weights -------------------------------------------------------------------------------------------


def test_regression():
    fitted = CurveRegressor(mlp_regressor(), random_state=0).fit(*VALUES)
    assert fitted.score(*VALUES) > 0.5
    assert fitted.barrier_["curve"] < 0.5 * fitted.barrier_["line"]
    np.testing.assert_allclose(
        fitted.predict(VALUES[0]), fitted.predict_members(VALUES[0]).mean(axis=0)[:, 0], rtol=1e-5
    )
    two = values().fit(VALUES[0], np.stack([VALUES[1], -VALUES[1]], axis=1))
    assert two.predict(VALUES[0]).shape == (442, 2)


def test_curves_do_not_depend_on_the_units_of_the_targets():
    small, large = (values(connect=Bezier(n_epochs=10)).fit(VALUES[0], VALUES[1] * s) for s in (1, 2**10))
    np.testing.assert_allclose(large.predict(VALUES[0]), small.predict(VALUES[0]) * 2**10, rtol=1e-4)
    (a,), (b,) = small.curves_.values(), large.curves_.values()
    np.testing.assert_allclose(np.array(b.history), np.array(a.history) * 2**20, rtol=1e-4)
    assert b.history[0] == pytest.approx(large.line_profiles_[ENDS].loss.mean(), rel=0.9)  # in squares of the targets


def test_a_criterion_of_more_than_values_keeps_its_unit():
    def gaussian(out, batch):
        mean, log = out[:, :1], out[:, 1:]
        return (log + (batch.y - mean) ** 2 / log.exp()).mean()

    y = torch.randn(9, 1)
    for criterion, expected in (
        (gaussian, 1.0),
        (lambda out, b: nn.functional.mse_loss(out, b.y), y.var(unbiased=False).item()),
        (lambda out, b: nn.functional.mse_loss(out, out), 1.0),
    ):
        found = loss_scale(ModuleObjective(nn.Linear(1, 1), lambda: [Batch(y, y)], criterion=criterion))
        assert found == pytest.approx(expected)


def test_unit_of_weighted_rows_is_that_of_repeated_ones():
    def weighted(out, batch):
        rows = ((out - batch.y) ** 2)[:, 0]
        return rows.mean() if batch.weight is None else (rows * batch.weight).sum() / batch.weight.sum()

    y, w = torch.arange(6.0)[:, None], torch.tensor([1.0, 2.0, 0.0, 3.0, 1.0, 1.0], dtype=torch.float64)
    batches = [Batch(y[:4], y[:4], w[:4]), Batch(y[4:], y[4:], w[4:])]
    repeated = y.repeat_interleave(w.long(), dim=0)
    a, b = (
        loss_scale(ModuleObjective(nn.Linear(1, 1), lambda found=found: found, criterion=weighted))
        for found in (batches, [Batch(repeated, repeated)])
    )
    assert a == pytest.approx(b, rel=1e-6)


def test_multilabel():
    inputs, labels = make_multilabel_classification(120, 8, n_classes=3, random_state=0)
    fitted = curve(mlp_classifier(multilabel=True, max_epochs=5, module__hidden=(8,))).fit(inputs, labels)
    assert fitted.predict(inputs).shape == (120, 3)
    np.testing.assert_allclose(fitted.predict_proba(inputs), fitted.predict_members(inputs).mean(axis=0), atol=1e-6)
    default = CurveClassifier(connect=QUICK, random_state=0).fit(inputs, labels)
    assert default.predict_proba(inputs).shape == (120, 3)


@pytest.mark.parametrize("predict_with", ["ensemble", "best"])
def test_weights_are_repetitions(predict_with):
    weight = np.arange(150) % 3
    weighted = curve(predict_with=predict_with).fit(X, Y, sample_weight=weight)
    repeated = curve(predict_with=predict_with).fit(np.repeat(X, weight, axis=0), np.repeat(Y, weight))
    np.testing.assert_array_equal(weighted.predict_proba(X), repeated.predict_proba(X))
    assert weighted.barrier_ == repeated.barrier_
    fractions = curve().fit(X, Y, sample_weight=np.linspace(0.1, 2, 150))
    assert np.abs(fractions.predict_members(X)[2] - curve().fit(X, Y).predict_members(X)[2]).max() > 1e-4


# ---- pools ---------------------------------------------------------------------------------------------------------


def test_a_pool_is_joined_without_training_its_members():
    pool = pool_of(2)
    fitted = curve(collect=pool).fit(X, Y)
    assert fitted.pool_ is pool
    assert same(fitted.members_[0].state, pool[0].state)
    again = curve(None).fuse(pool, X, Y)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_best_of_a_pool_holds_rows_out_of_the_curve():
    pool = pool_of(2)
    with pytest.warns(LeakageWarning, match="to choose or weigh members"):
        fitted = curve(collect=pool, predict_with="best").fit(X, Y)
    assert len(fitted.held_out_) == 30
    with pytest.warns(LeakageWarning):
        again = curve(predict_with="best").fuse(pool, X, Y, held_out=fitted.held_out_)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert again.members_[0].score == max(fitted.profiles_[ENDS].score)


def test_groups_are_held_out_whole():
    fitted = curve(predict_with="best").fit(X, Y, groups=np.arange(150) // 5)
    assert (np.bincount(fitted.held_out_ // 5, minlength=30) % 5 == 0).all()


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"predict_with": "all"}, "predict_with must be 'ensemble', 'best' or 'midpoint'; got 'all'"),
        ({"predict_with": None}, "predict_with must be 'ensemble', 'best' or 'midpoint'; got None"),
        ({"n_points": 2}, "n_points must be a whole number of at least 3, as barriers are seen between.*; got 2"),
        ({"connect": Bezier(momentum=2.0)}, "momentum must be below 1"),
        ({"n_points": 3.5}, "n_points must be a whole number"),
        ({"connect": Bezier}, r"connect must be a Connector, such as Bezier\(\).*Write Bezier\(\)"),
        ({"connect": WeightMatching()}, r"connect must be a Connector, such as Bezier\(\); got WeightMatching\(\)"),
        ({"align": "weights"}, r"align must be a component, such as WeightMatching\(\)"),
        ({"repair": Recalibrate}, r"Write Recalibrate\(\)"),
        ({"validation_fraction": 1.5, "predict_with": "best"}, "validation_fraction must be between 0 and 1; got 1.5"),
        ({"collect": Seeds(1)}, r"CurveClassifier joins two networks or more.*one, 'seed-0'.*collect=Seeds\(2\)"),
        ({"collect": Seeds(3), "predict_with": "midpoint"}, "3 members are joined by 2. Use predict_with='best'"),
        ({"collect": 3}, "collect must be a Collector"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises((TypeError, ValueError), match=message):
        curve(**params).fit(X, Y)


def test_parameters_are_checked_before_members_are_trained():
    class Never(Seeds):
        def __call__(self, *args, **kwargs):
            raise AssertionError

    for params in ({"predict_with": "all"}, {"n_points": 2}, {"connect": 3}, {"connect": Bezier(lr="0.1")}):
        with pytest.raises((TypeError, ValueError), match="must be"):
            curve(collect=Never(2), **params).fit(X, Y)


def test_unlike_members_are_refused():
    pools = [pool_of(1, mlp_classifier(max_epochs=1, module__hidden=(n,))) for n in (8, 9)]
    both = ModelPool([p[0].replace(name=f"m{i}") for i, p in enumerate(pools)], classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"has shape \(8, 4\) in member 'm0' and \(9, 4\) in member 'm1'"):
        curve(collect=both).fit(X, Y)


def test_diverged_members_are_refused():
    pool = pool_of(2)
    broken = {k: v * torch.nan for k, v in pool[1].state.items()}
    with pytest.raises(ValueError, match="of member 'seed-1' holds NaN or infinity"):
        curve().fuse(pool.replace([pool[0], pool[1].replace(state=broken)]), X, Y)


def test_a_curve_that_overflows_is_named():
    class Wild(Connector):
        def __call__(self, states, objective=None):
            a, b = states
            return Path([a, {k: v * 1e36 if k.startswith("layers") else v for k, v in a.items()}, b], Bezier())

    with pytest.raises(ValueError, match="curve between 'seed-0' and 'seed-1' is NaN at t = 0.25, 0.5, 0.75"):
        curve(connect=Wild()).fit(X, Y)


def test_a_member_by_hand():
    runner = Runner(curve().fit(X, Y).net_, "classification")
    states = [{k: v.clone() for k, v in runner.module.state_dict().items()} for _ in range(2)]
    pool = ModelPool([Member(f"m{i}", s) for i, s in enumerate(states)], classes=[0, 1, 2])
    fitted = curve(connect=Line()).fuse(pool, X, Y)
    assert fitted.barrier_ == {"line": 0.0, "curve": 0.0}
    assert np.ptp(fitted.predict_members(X), axis=0).max() == 0
