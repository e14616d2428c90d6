"""What a soup asks of its members, its merger and its net, and what it tells afterwards."""

import pickle
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from as_checkpoints import as_checkpoints
from sklearn.base import clone
from sklearn.datasets import load_iris
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import SoupClassifier, SoupRegressor, nets
from skfusion._rows import Rows
from skfusion.collect import FineTunes, Seeds, Tail, TangentFineTunes, Tasks
from skfusion.merge import PFNM, FedMA, Greedy, Merger, TaskArithmetic, Uniform
from skfusion.nets import Runner, default_score, mlp_classifier, mlp_regressor
from skfusion.pool import ModelPool
from skfusion.repair import Recalibrate
from skfusion.select import Pick, TopK
from skfusion.state import weighted_sum
from skfusion.testing import _problems as problems
from skfusion.testing import discover, instances

X, y = load_iris(return_X_y=True)
X = (X + np.linspace(0, 1e-3, 150)[:, None]).astype(np.float32)  # no two rows are alike
NET = mlp_classifier(max_epochs=2, module__hidden=(6,), module__norm="batch")
MERGERS = [m for m in instances(Merger) if type(m).__module__.startswith("skfusion.merge")]
NEED_BASE = [m for m in MERGERS if m.needs_base]


class Recorder(Merger):
    """The mean, and all that the merger was given."""

    given: tuple = ()

    def __init__(self, learn=lambda states, base, objective: None):
        self.learn = learn

    def __call__(self, states, base=None, objective=None):
        Recorder.given = states, base, objective
        self.learn(states, base, objective)
        return weighted_sum(states, [1 / len(states)] * len(states))


class Numbered(FineTunes):
    """Members that mergers of one run take, too."""

    def __call__(self, *args, **kwargs):
        return as_checkpoints(super().__call__(*args, **kwargs))


class Untrained(Seeds):
    """Fails where it is asked to train."""

    def __call__(self, *args, **kwargs):
        raise AssertionError("it has trained")


@pytest.fixture(scope="module")
def pool():
    return Numbered(n_members=3, init=2).collect(NET, X[::2], y[::2], random_state=0)


def soup(collect, **params):
    return SoupClassifier(NET, **{"collect": collect, "random_state": 0, **params})


# ---- mergers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("merge", MERGERS, ids=repr)
def test_every_merger_makes_one_network(pool, merge):
    before = problems.snapshot(pool)
    fitted = soup(pool, merge=merge).fit(X[1::2], y[1::2])
    assert fitted.state_.keys() == pool[0].state.keys()
    assert all(v.isfinite().all() and v.device.type == "cpu" for v in fitted.state_.values())
    assert problems.snapshot(pool) == before
    assert fitted.predict_proba(X).shape == (150, 3)
    again = pickle.loads(pickle.dumps(clone(fitted).fuse(pool, X[1::2], y[1::2])))
    np.testing.assert_allclose(again.predict_proba(X), fitted.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("merge", NEED_BASE, ids=repr)
def test_what_needs_a_base_says_so_before_anything_is_trained(pool, merge):
    name = type(merge).__name__
    with pytest.raises(ValueError, match=rf"{name}.*needs the common start.*Untrained.*its own weights.*FineTunes\(\)"):
        soup(Untrained(2), merge=merge).fit(X, y)
    with pytest.raises(ValueError, match=rf"{name}.*the pool has no base.*replace\(base=state\)"):
        soup(pool.replace(base=None), merge=merge).fit(X[1::2], y[1::2])


def test_there_are_mergers_that_need_a_base():
    assert {type(m) for m in NEED_BASE} == {c for c in discover(Merger) if c.needs_base}
    assert len(NEED_BASE) >= 6


def by_class(X, y):
    return y


@pytest.mark.parametrize("kind", [FineTunes, TangentFineTunes, lambda init: Tasks(by_class, init)])
def test_collectors_with_a_start_have_a_base(kind):
    collect = kind(init=1)
    assert collect.has_base(NET)
    fitted = soup(collect, merge=TaskArithmetic(0.0)).fit(X, y)
    base = fitted.pool_.base
    assert all(torch.equal(v, base[k]) for k, v in fitted.state_.items() if "weight" in k)


def test_seeds_of_a_module_instance_have_a_base():
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    net = NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss, max_epochs=1, train_split=None, verbose=0)
    assert Seeds(2).has_base(net)
    assert not Seeds(2).has_base(NET)
    for collect in (Seeds(2), Tail(0.0)):
        fitted = SoupClassifier(net, collect=collect, merge=TaskArithmetic(0.0)).fit(X, y)
        assert all(torch.equal(v, module.state_dict()[k]) for k, v in fitted.state_.items())


def test_a_base_of_another_architecture_is_refused(pool):
    other = pool.replace(base={**pool.base, "layers.0.weight": torch.zeros(7, 4)})
    with pytest.raises(ValueError, match=r"'layers.0.weight' is \(7, 4\) in the state and \(6, 4\)"):
        soup(other, merge=TaskArithmetic()).fit(X[1::2], y[1::2])
    broken = pool.replace(base={k: v * torch.nan if v.is_floating_point() else v for k, v in pool.base.items()})
    with pytest.raises(ValueError, match="NaN"):
        soup(broken, merge=TaskArithmetic()).fit(X[1::2], y[1::2])


# ---- what mergers are given --------------------------------------------------------------------------------------


def test_members_of_tasks_bring_their_own_rows():
    fitted = soup(Tasks(by_class, init=2), merge=Recorder()).fit(X, y)
    _, base, objective = Recorder.given
    assert len(objective.member_batches) == 3
    for k in range(3):
        (batch,) = objective.of_member(k).batches()
        assert np.array_equal(np.sort(batch.x, 0), np.sort(X[y == k], 0))
        assert set(batch.y.tolist()) == {k}
    assert problems.snapshot(base) == problems.snapshot(fitted.pool_.base)


def test_own_rows_are_without_those_that_are_held_out_and_follow_the_selection():
    class Judges(Recorder):
        needs_objective = needs_labels = True

    fitted = soup(Tasks(by_class, init=2), merge=Judges(), select=Pick([0, 2])).fit(X, y)
    _, _, objective = Recorder.given
    seen = np.setdiff1d(np.arange(150), fitted.held_out_)
    assert len(objective.member_batches) == 2
    for k, task in enumerate((0, 2)):
        (batch,) = objective.of_member(k).batches()
        assert np.array_equal(np.sort(batch.x, 0), np.sort(X[seen][y[seen] == task], 0))
    (held,) = objective.held_out()
    assert np.array_equal(held.x, X[fitted.held_out_])
    assert np.array_equal(held.y, y[fitted.held_out_])


def test_members_of_the_same_or_of_unknown_rows_have_none_of_their_own(pool):
    soup(FineTunes(n_members=2, init=1), merge=Recorder()).fit(X, y)
    assert Recorder.given[2].member_batches == ()
    for given in (pool, pool.replace([m.replace(rows=None) for m in pool])):
        soup(given, merge=Recorder()).fit(X[1::2], y[1::2])
        assert Recorder.given[2].member_batches == ()


@pytest.mark.filterwarnings("ignore:90 of the 90 rows given to fit")
def test_own_rows_are_taken_where_most_of_them_are_there_and_all_rows_otherwise():
    class Looks(Recorder):
        needs_objective = True

    pool = soup(Tasks(by_class, init=2), merge=Uniform()).fit(X, y).pool_
    near = np.concatenate([np.flatnonzero(y == k)[:30] for k in range(3)])
    fitted = soup(pool, merge=Looks()).fit(X[near], y[near])
    assert fitted.merge_report_["n_rows"] == {m.name: 30 for m in pool}
    assert [len(next(iter(Recorder.given[2].of_member(k).batches())).y) for k in range(3)] == [30] * 3
    for n_seen in ([1, 1, 1], [25, 25, 25], [30, 30, 20]):
        few = np.concatenate([np.flatnonzero(y == k)[:n] for k, n in enumerate(n_seen)])
        fresh, more = np.concatenate([X[few], X + 0.5]), np.concatenate([y[few], y])
        fitted = soup(pool, merge=Looks()).fit(fresh, more)
        assert fitted.merge_report_["n_rows"] == {m.name: len(more) for m in pool}
        assert Recorder.given[2].member_batches == ()


def test_candidates_are_judged_with_their_statistics_mended(pool):
    found = {}

    def learn(states, base, objective):
        mean = weighted_sum(states, [0.5, 0.0, 0.5])
        found["score"], found["loss"] = objective.score(mean), objective.loss(mean)
        found["scores"] = objective.scores(iter([mean, states[1]]))
        found["evaluate"] = objective.evaluate(iter([mean]))
        found["mean"] = mean

    held = Rows(X[1::2], y[1::2])
    soup(pool, merge=Recorder(learn)).fit(X[1::2], y[1::2])
    run = Runner(nets.sized(clone(NET), held, 3), "classification", held)
    data = nets.Judge(run, held, held)
    mended = Recalibrate()(found["mean"], [], data)
    score = default_score("classification")
    assert found["score"] == found["scores"][0] == score(run.predict(mended, held.X), held)
    assert found["scores"][1] == score(run.predict(pool[1].state, held.X), held)  # a member keeps its statistics
    assert found["loss"] == pytest.approx(data.loss(mended), rel=1e-6)
    assert found["loss"] != pytest.approx(data.loss(found["mean"]), rel=1e-3)
    assert found["evaluate"][0] == pytest.approx((found["loss"], found["score"]), rel=1e-6)


def test_what_a_merger_reports_is_kept():
    def learn(states, base, objective):
        objective.report("temperature", 0.7)

    fitted = soup(Seeds(2), merge=Recorder(learn)).fit(X, y)
    assert fitted.merge_report_ == {"temperature": 0.7}
    assert fitted.member_weights_ is None
    fitted.set_params(merge=Uniform()).fit(X, y)
    assert fitted.merge_report_ == {}
    assert fitted.member_weights_ == {"seed-0": 0.5, "seed-1": 0.5}


@pytest.mark.parametrize("merge", [Greedy(), Greedy(n_passes=3, order="given"), TaskArithmetic(None)], ids=repr)
def test_the_reported_score_is_that_of_the_soup(merge):
    fitted = soup(FineTunes(n_members=4, init=3), merge=merge).fit(X, y)
    held, report = fitted.held_out_, fitted.merge_report_
    reported = report["score"] if "score" in report else max(report["scale_scores"].values())
    assert reported == pytest.approx(fitted.score(X[held], y[held]))


# ---- what is known of members ------------------------------------------------------------------------------------


@pytest.mark.parametrize("params", [{"merge": Greedy()}, {"merge": Uniform(), "select": TopK(2)}], ids=str)
def test_members_have_scores_and_predictions_where_they_are_judged(params):
    fitted = soup(FineTunes(n_members=3, init=2), **params).fit(X, y)
    held = fitted.held_out_
    assert len(fitted.pool_) == 3
    for member in fitted.pool_:
        net = nets.restored(fitted.net_, member.state, fitted.classes_)
        np.testing.assert_allclose(member.predictions, net.predict_proba(X[held]), atol=1e-6)
        assert member.score == np.mean(member.predictions.argmax(1) == y[held])


def test_members_have_neither_where_nobody_judges_them(pool):
    fitted = soup(FineTunes(n_members=2, init=2), merge=Uniform()).fit(X, y)
    assert fitted.held_out_ is None
    assert all(np.isnan(m.score) and m.predictions is None for m in fitted.pool_)
    known = pool.replace([m.replace(score=0.5) for m in pool])
    assert [m.score for m in soup(known, merge=Uniform()).fit(X[1::2], y[1::2]).pool_] == [0.5] * 3


def test_predictions_of_values_have_a_column_a_target():
    target = X[:, :2].astype(np.float32)
    net = mlp_regressor(max_epochs=2, module__hidden=(6,))
    fitted = SoupRegressor(net, collect=FineTunes(n_members=2, init=2), random_state=0).fit(X[:, 2:], target)
    assert all(m.predictions.shape == (len(fitted.held_out_), 2) for m in fitted.pool_)


def test_predictions_are_saved_with_the_pool(tmp_path):
    fitted = soup(FineTunes(n_members=2, init=2)).fit(X, y)
    fitted.pool_.save(tmp_path / "pool")
    loaded = ModelPool.load(tmp_path / "pool")
    for kept, found in zip(fitted.pool_, loaded, strict=True):
        assert found.score == kept.score
        assert np.array_equal(found.predictions, kept.predictions)
    again = soup(loaded).fuse(loaded, X, y, held_out=fitted.held_out_)
    np.testing.assert_allclose(again.predict_proba(X), fitted.predict_proba(X), atol=1e-6)


# ---- modules that return several things --------------------------------------------------------------------------


class Output(OrderedDict):
    """Several things by name, as Hugging Face's models return them."""


@dataclass
class Record:
    """Several things as attributes."""

    hidden: torch.Tensor
    logits: torch.Tensor


class Language(nn.Module):
    """Takes tokens and a mask by name."""

    def __init__(self, n_out=2, output=None):
        super().__init__()
        self.output = output
        self.embed, self.head = nn.Embedding(6, 4), nn.Linear(4, n_out)

    def forward(self, input_ids, attention_mask):
        z = (self.embed(input_ids) * attention_mask[..., None]).sum(1)
        logits = self.head(z)
        return self.output(hidden=z, logits=logits) if self.output else logits


RNG = np.random.RandomState(0)
TOKENS = {"input_ids": RNG.randint(6, size=(90, 5)), "attention_mask": RNG.randint(2, size=(90, 5))}
CODES = TOKENS["input_ids"][:, 0] % 3


@pytest.mark.parametrize("merge", [m for m in MERGERS if not isinstance(m, PFNM | FedMA)], ids=repr)  # no embeddings
def test_outputs_by_name_go_through_every_merger(merge):
    found = []
    for output in (Output, Record, None):
        torch.manual_seed(0)
        net = NeuralNetClassifier(Language(3, output), criterion=nn.CrossEntropyLoss, max_epochs=2, lr=0.3,
                                  train_split=None, verbose=0)  # fmt: skip
        fitted = SoupClassifier(net, collect=Numbered(n_members=3), merge=merge, random_state=0).fit(TOKENS, CODES)
        found.append(fitted.predict_proba(TOKENS))
    assert found[0].shape == (90, 3)
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)
    np.testing.assert_allclose(found[1], found[2], atol=1e-5)
