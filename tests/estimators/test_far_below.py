"""A merged network far below its members is told of, and a good one is not."""

import warnings

import numpy as np
import pytest
import torch
from as_checkpoints import as_checkpoints
from sklearn.base import clone
from sklearn.datasets import load_digits, make_regression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skfusion import (
    DistillClassifier,
    EnsembleClassifier,
    ModelPool,
    ReBasinMerger,
    SoupClassifier,
    SoupRegressor,
    WeightAveragingClassifier,
)
from skfusion._rows import Rows
from skfusion.collect import FineTunes, Seeds, Tail
from skfusion.compare import compare_fusions
from skfusion.estimators.support import _far_below
from skfusion.estimators.support._far_below import FarBelowWarning, warn_if_far_below
from skfusion.merge import Merger, TaskArithmetic, Uniform
from skfusion.nets import Runner, mlp_classifier, mlp_regressor
from skfusion.testing import instances
from skfusion.tuning import FusionSearch

pytestmark = pytest.mark.filterwarnings("error:The merged network scores")  # which other tests ignore

X, y = make_regression(300, 8, noise=1.0, random_state=0)
y = y / y.std()
VALUES = mlp_regressor(max_epochs=30, module__hidden=(32,), lr=0.02)
D, t = load_digits(n_class=5, return_X_y=True)
(D, E), (t, u) = (D[:400], D[400:700]), (t[:400], t[400:700])
(A, B), (a, b) = (np.split(part[:700], 2) for part in load_digits(return_X_y=True))
LABELS = mlp_classifier(max_epochs=10, module__hidden=(32,))
MERGERS = [m for m in instances(Merger) if type(m).__module__.startswith("skfusion.")]


def moved(pool, n):
    """Return a pool of one network n times, each with its hidden units in another order: their mean is one unit."""
    (member,) = pool
    found = []
    for i in range(n):
        order = torch.from_numpy(np.random.RandomState(i).permutation(32))
        state = {k: v[order] if len(v) == 32 else v for k, v in member.state.items()}
        state["layers.2.weight"] = state["layers.2.weight"][:, order]
        found.append(member.replace(name=f"moved-{i}", state=state))
    return pool.replace(found)


@pytest.mark.parametrize("merge", [Uniform(), TaskArithmetic(scale=1.0)])
def test_networks_that_are_not_in_one_frame_are_told_of_with_numbers_and_remedies(merge):
    one = SoupRegressor(VALUES, collect=Seeds(1), merge=Uniform(), random_state=0).fit(X[::2], y[::2])
    pool = moved(one.pool_, 20)
    pool = pool.replace(base={k: 0 * v if k.startswith("layers") else v for k, v in pool.states[0].items()})
    soup = SoupRegressor(collect=pool, merge=merge)
    message = r"The merged network scores -?[\d.]+ on 150 rows, and its members 0.9\d+ to .*R2.*align=.*Greedy.*Ens"
    with pytest.warns(FarBelowWarning, match=message) as told:
        soup.fit(X[1::2], y[1::2])
    assert told[0].filename == __file__
    assert soup.score(X[1::2], y[1::2]) < 0.5


@pytest.fixture(scope="module")
def tunes():
    """Fine-tunes of one start, of five digits."""
    net = mlp_classifier(max_epochs=3, module__hidden=(32,), lr=0.01)
    return as_checkpoints(FineTunes(n_members=3, init=8).collect(net, D, t, random_state=0))


@pytest.fixture(scope="module")
def apart():
    """Networks of three seeds, deep enough for barriers between them, and a base for the mergers that ask for one."""
    net = mlp_classifier(max_epochs=20, module__hidden=(32, 32, 32), lr=0.01, batch_size=32)
    pool = as_checkpoints(EnsembleClassifier(net, collect=Seeds(3), random_state=0).fit(A, a).pool_)
    return pool.replace(base={k: 0 * v if k.startswith("layers") else v for k, v in pool.states[0].items()})


def few(merge):
    """Return a merger with few trials, where it has some."""
    return clone(merge).set_params(**{k: 3 for k in ("n_trials", "n_steps") if k in merge.get_params()})


@pytest.mark.parametrize("merge", MERGERS, ids=repr)
def test_the_warning_reaches_every_merger(merge, tunes, monkeypatch):
    monkeypatch.setattr(_far_below, "_KEPT", 2.0)  # all are far below
    with pytest.warns(FarBelowWarning, match="on 300 rows.*EnsembleClassifier"):
        SoupClassifier(collect=tunes, merge=few(merge)).fit(E, u)


@pytest.mark.parametrize("merge", MERGERS, ids=repr)
def test_every_merger_warns_where_its_network_is_far_below_and_nowhere_else(merge, apart):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        soup = SoupClassifier(collect=apart, merge=few(merge)).fit(B, b)
    warned = any(w.category is FarBelowWarning for w in seen)
    alone = [SoupClassifier(collect=apart[[name]], merge=Uniform()).fit(B, b).score(B, b) for name in apart.names]
    chance = np.bincount(b).max() / len(b)
    assert min(alone) > 0.6  # which there is to lose
    assert warned == (soup.score(B, b) - chance < 0.5 * (min(alone) - chance))
    if type(merge) is Uniform:  # which cannot but fall
        assert warned


def test_it_reaches_recipes_teachers_and_networks_from_files(apart, tmp_path, monkeypatch):
    soup = SoupClassifier(collect=apart, merge=Uniform())
    with pytest.warns(FarBelowWarning, match="align="):
        ReBasinMerger(members=apart, align=None, repair=False, n_points=0).fit(B, b)
    with pytest.warns(FarBelowWarning, match="scores"):
        DistillClassifier(LABELS, teacher=soup).fit(B, b)
    with pytest.warns(FarBelowWarning, match="scores"):
        make_pipeline(FunctionTransformer(), soup).fit(B, b)
    apart.save(tmp_path / "pool")
    read = ModelPool.load(tmp_path / "pool")
    with pytest.warns(FarBelowWarning, match="scores"):
        SoupClassifier(apart[0].net, collect=read, merge=Uniform()).fit(B, b)
    monkeypatch.setattr(_far_below, "_KEPT", 2.0)  # all are far below
    with pytest.warns(FarBelowWarning, match="scores"):
        WeightAveragingClassifier(LABELS, random_state=0).fit(E, u)


def test_it_reaches_the_best_fusion_of_a_search_and_a_refit(monkeypatch):
    monkeypatch.setattr(_far_below, "_KEPT", 2.0)  # all are far below
    soup = SoupClassifier(LABELS, collect=Tail(), merge=Uniform(), random_state=0)
    with pytest.warns(FarBelowWarning, match="scores"):  # of the best fusion, which is fitted once more
        FusionSearch(soup, lambda trial: {}, n_trials=1, cv=2, random_state=0).fit(E, u)
    with pytest.warns(FarBelowWarning, match="scores") as told:  # the choice, and what was trained again
        SoupClassifier(LABELS, collect=Tail(), refit=True, random_state=0).fit(E, u)
    assert ["on 60 rows" in str(w.message) for w in told if w.category is FarBelowWarning] == [True, False]


@pytest.mark.parametrize("collect", [Tail(), FineTunes(n_members=3)])
def test_a_soup_of_one_basin_says_nothing(collect):
    soup = SoupClassifier(LABELS, collect=collect, merge=Uniform(), random_state=0).fit(D, t)  # warnings are errors
    assert soup.score(D, t) > 0.8


def test_who_shows_the_scores_says_nothing(monkeypatch):
    monkeypatch.setattr(_far_below, "_KEPT", 2.0)  # all are far below
    soup = SoupRegressor(VALUES, collect=Seeds(2), merge=Uniform(), random_state=0)
    with pytest.warns(FarBelowWarning):
        soup.fit(X, y)
    compare_fusions({"soup": soup}, X, y, cv=2, random_state=0)
    FusionSearch(soup, lambda trial: {}, n_trials=1, cv=2, refit=False, random_state=0).fit(X, y)


def test_it_looks_at_few_rows_and_members(monkeypatch):
    asked, judge = [], _far_below.Judge

    def counted(runner, fit_rows, rows, score):
        asked.append(len(rows))
        return judge(runner, fit_rows, rows, score)

    monkeypatch.setattr(_far_below, "Judge", counted)
    monkeypatch.setattr(_far_below, "_ROWS", 50)
    SoupClassifier(LABELS, collect=Tail(), merge=Uniform(), random_state=0).fit(D, t)
    assert asked == [50]
    SoupClassifier(LABELS, collect=Seeds(1), merge=Uniform(), random_state=0).fit(D, t)
    SoupClassifier(LABELS, collect=Tail(), merge=Uniform(), random_state=0).fit(D[:12], t[:12])
    assert asked == [50]  # one member is itself, and a few rows say nothing


def test_random_labels_have_nothing_to_lose():
    noise = np.random.RandomState(0).randint(5, size=400)
    net = mlp_classifier(max_epochs=1, module__hidden=(32,))
    SoupClassifier(net, collect=Seeds(2), merge=Uniform(), random_state=0).fit(D, noise)


@pytest.mark.parametrize("aligned", [True, False])
def test_labels_are_told_of_too_and_what_is_aligned_gets_no_advice_to_align(aligned):
    soup = SoupClassifier(LABELS, collect=Tail(), merge=Uniform(), random_state=0).fit(D, t)
    rows = Rows(D.astype(np.float32), t)
    runner = Runner(soup.net_, "classification", rows)
    states = [runner.place(m.state) for m in soup.pool_]
    nothing = {name: 0 * value for name, value in states[0].items()}  # one class for all
    with pytest.warns(FarBelowWarning, match=r"on 400 rows, .*\(accuracy\).*EnsembleClassifier") as told:
        warn_if_far_below(nothing, states, runner, rows, "classification", aligned, Uniform())
    assert ("align=" in str(told[0].message)) != aligned
