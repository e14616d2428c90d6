"""Members that are kept in a folder: a killed training continues, and nothing is taken for something else."""

import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from members_of import ROWS, assert_same, collected
from sklearn.datasets import load_iris

from skfusion import nets
from skfusion._rows import Rows
from skfusion.average import EMA
from skfusion.collect import (
    HWA,
    PAPA,
    Averages,
    Boosting,
    Bootstrap,
    Collector,
    FineTunes,
    Hyper,
    Kept,
    Seeds,
    Snapshots,
    TabMMembers,
    _train_runs,
)
from skfusion.collect._run_folder import keys_of
from skfusion.nets import DivergedError
from skfusion.pool import DirectoryStore, Member, ModelPool, PoolFormatError
from skfusion.testing import _problems as problems
from skfusion.testing import instances
from skfusion.tuning import StudyProposals


@pytest.fixture
def trained(monkeypatch):
    """The names of runs that are trained in this process."""
    names, train = [], _train_runs._train_chunk

    def watched(net, rows, runs, *rest):
        names.extend(run.name for run in runs)
        return train(net, rows, runs, *rest)

    monkeypatch.setattr(_train_runs, "_train_chunk", watched)
    return names


def keepable():
    """Yield the collectors of the package whose members can be kept, each of some parameters."""
    for collector in instances(Collector):
        owner = next(cls for cls in type(collector).__mro__ if "__call__" in vars(cls))
        if vars(owner).get("uses_run_folder") and not isinstance(collector, Kept):
            yield collector


@pytest.mark.parametrize("collector", [*keepable()], ids=repr)
def test_members_are_those_of_the_collector_and_are_trained_once(collector, tmp_path, trained):
    plain = collected(collector)
    trained.clear()
    assert_same(collected(Kept(collector, tmp_path / "pool")), plain)
    assert trained
    trained.clear()
    assert_same(collected(Kept(collector, tmp_path / "pool")), plain)
    assert not trained


KILLED = [(Seeds(4, vectorize=False), 2), (Seeds(5), 2), (Boosting(4), 2)]
PROGRAM = """
import os, signal, sys
import numpy as np
from skfusion.collect import Boosting, Kept, Seeds
from skfusion.pool import DirectoryStore
from skfusion.testing import _problems as problems

put, seen = DirectoryStore.put, []

def dying(self, member):
    seen.append(member.name)
    if len(seen) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    put(self, member)

DirectoryStore.put = dying
for i, collector in enumerate([COLLECTORS]):
    if not (child := os.fork()):
        Kept(collector, f"{sys.argv[1]}/{i}")(problems.sized_net(), problems.rows(), np.random.RandomState(0))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_training_that_was_killed_continues(tmp_path, trained):
    """Processes are killed when they write their third member."""
    program = PROGRAM.replace("COLLECTORS", ", ".join(repr(collector) for collector, _ in KILLED))
    ended = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True)
    assert ended.stdout.split() == [str(-signal.SIGKILL)] * len(KILLED), ended.stderr
    for i, (collector, n_kept) in enumerate(KILLED):
        whole = collected(Kept(collector, tmp_path / "whole"))
        assert len(DirectoryStore(tmp_path / str(i)).names()) == n_kept
        trained.clear()
        continued = collected(Kept(collector, tmp_path / str(i)))
        assert trained == [m.name for m in whole[n_kept:]]
        assert_same(continued, whole, atol=1e-5)


def test_a_member_that_is_missing_alone_is_trained_as_the_others_were(tmp_path, trained):
    store = DirectoryStore(tmp_path / "pool")
    whole = collected(Kept(Seeds(5), store))
    store.delete(store.names()[1])
    trained.clear()
    assert_same(collected(Kept(Seeds(5), store)), whole, atol=1e-6)
    assert trained == ["seed-1", "seed-0"]  # the second one is its company, and not kept again
    assert len(store.names()) == 5


def test_more_members_are_trained_beside_those_that_are_there(tmp_path, trained):
    collected(Kept(Seeds(2), tmp_path / "pool"))
    trained.clear()
    assert collected(Kept(Seeds(4), tmp_path / "pool")).names == ["seed-0", "seed-1", "seed-2", "seed-3"]
    assert trained == ["seed-2", "seed-3"]


def test_a_run_that_left_some_of_its_members_is_trained_again(tmp_path, trained):
    store = DirectoryStore(tmp_path / "pool")
    whole = collected(Kept(Snapshots(2), store))
    store.delete(store.names()[0])
    trained.clear()
    assert_same(collected(Kept(Snapshots(2), store)), whole)
    assert trained == ["snapshot"]


@pytest.mark.parametrize(
    "change",
    [
        {"rows": Rows(ROWS.X + 1, ROWS.y, task=ROWS.task)},
        {"rows": Rows(ROWS.X, ROWS.y[::-1].copy(), task=ROWS.task)},
        {"rows": Rows(ROWS.X[::-1].copy(), ROWS.y[::-1].copy(), task=ROWS.task)},
        {"rows": Rows(ROWS.X, ROWS.y, np.linspace(0.5, 1.5, len(ROWS)), task=ROWS.task)},
        {"rows": Rows(ROWS.X, ROWS.y, groups=np.arange(len(ROWS)) // 2, task=ROWS.task)},
        {"net": problems.sized_net(lr=0.5)},
        {"net": problems.sized_net(max_epochs=2)},
        {"net": problems.sized_net(module__hidden=(3,))},
        {"seed": 1},
        {"collector": Bootstrap(2)},
        {"collector": Averages(2, average=EMA(0.5))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_was_trained_of_something_else_is_not_taken(change, tmp_path, trained):
    collected(Kept(Seeds(2), tmp_path / "pool"))
    trained.clear()
    given = {"collector": Seeds(2), **change}
    pool = collected(Kept(given.pop("collector"), tmp_path / "pool"), **given)
    assert len(trained) == len(pool) == 2
    assert len(DirectoryStore(tmp_path / "pool").names()) == 4
    trained.clear()
    collected(Kept(Seeds(2), tmp_path / "pool"))
    assert not trained


def test_what_is_in_the_folder_is_left_alone(tmp_path):
    ModelPool([Member("mine", {"w": torch.ones(2)}, score=0.5)], classes=["a", "b"]).save(tmp_path / "pool")
    pool = collected(Kept(Seeds(2), tmp_path / "pool"))
    assert pool.names == ["seed-0", "seed-1"]
    there = ModelPool.load(tmp_path / "pool")
    assert there.names[0] == "mine"
    assert there["mine"].score == 0.5
    assert there.classes.tolist() == ["a", "b"]


def test_a_run_that_diverged_is_remembered_with_its_reason(tmp_path, trained):
    hyper = Hyper({"lr": [0.01, 1e30]}, n_members=2)
    with pytest.raises(DivergedError, match="diverged: the training loss became") as first:
        collected(Kept(hyper, tmp_path / "pool"))
    trained.clear()
    with pytest.raises(DivergedError, match="diverged: the training loss became") as again:
        collected(Kept(hyper, tmp_path / "pool"))
    assert not trained
    assert str(again.value) == str(first.value)
    assert again.value.epoch == first.value.epoch
    assert_same(again.value.pool, first.value.pool)
    (note,) = (tmp_path / "pool" / ".runs").glob("diverged-*.json")
    note.write_text("{")  # damaged: it is trained again
    with pytest.raises(DivergedError):
        collected(Kept(hyper, tmp_path / "pool"))
    assert len(trained) == 1


def test_all_runs_may_diverge_before_there_is_a_member(tmp_path):
    kept = Kept(Seeds(2), tmp_path / "pool")
    with pytest.raises(DivergedError) as error:
        collected(kept, net=problems.sized_net(lr=1e30))
    assert error.value.pool is None
    assert len(collected(kept)) == 2  # of another net, into the same folder


def test_settings_that_are_proposed_one_by_one_are_those_of_an_uninterrupted_study(tmp_path, trained):
    def space(trial):
        return {"lr": trial.suggest_float("lr", 1e-3, 1e-1, log=True)}

    tunes, store = FineTunes(StudyProposals(space), n_members=3, init=1), DirectoryStore(tmp_path / "pool")
    whole = collected(Kept(tunes, store))
    store.delete(store.names()[-1])
    trained.clear()
    assert_same(collected(Kept(tunes, store)), whole)
    assert trained == ["fine-tune-2"]


@pytest.mark.parametrize("collector", [PAPA(2), HWA(2)], ids=repr)
def test_members_that_are_made_together_are_refused(collector, tmp_path):
    with pytest.raises(ValueError, match=rf"{type(collector).__name__}\(.*cannot be kept run by run.*pool.save"):
        collected(Kept(collector, tmp_path))


def test_a_collector_of_a_user_that_trains_by_itself_is_refused(tmp_path):
    class Mine(Seeds):
        def __call__(self, net, rows, rng, **options):
            return super().__call__(net, rows, rng)

    with pytest.raises(ValueError, match="cannot be kept run by run"):
        collected(Kept(Mine(2), tmp_path))


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (Kept(None, "pool"), "collector must be a Collector, such as Seeds"),
        (Kept(ModelPool([Member("a", {})]), "pool"), "collector must be a Collector"),
        (Kept(Seeds(2), None), "store must be the path of a folder, or a DirectoryStore; got None"),
    ],
)
def test_wrong_parameters_are_named(kept, message):
    with pytest.raises(TypeError, match=message):
        collected(kept)


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PoolFormatError, match="not a pool.*notes.txt"):
        collected(Kept(Seeds(2), tmp_path))


class Hidden:
    """What cannot be pickled, so that it is not known what it is."""

    def __reduce__(self):
        raise TypeError("hidden")


def test_runs_that_hide_what_they_depend_on_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be kept, as it is not certain.*Hidden"):
        keys_of(problems.sized_net(), ROWS, [nets.Run("own", 0, meta={"about": Hidden()})])


def test_a_run_that_was_ended_on_purpose_is_not_taken_for_a_whole_one(tmp_path, trained):
    class First(_train_runs.Progress):
        def begin(self, name, n_epochs):
            return lambda epoch, net: name == "seed-0"

    kept = Kept(Seeds(2, vectorize=False), tmp_path / "pool")
    assert collected(kept, progress=First())["seed-0"].meta["epoch"] == 1
    assert [name.partition("@")[0] for name in DirectoryStore(tmp_path / "pool").names()] == ["seed-1"]
    trained.clear()
    assert collected(kept)[0].meta["epoch"] > 1
    assert trained == ["seed-0"]


def test_members_have_the_nets_that_they_run_in(tmp_path):
    net = TabMMembers(2).default_net("classification").set_params(max_epochs=2)
    X, y = load_iris(return_X_y=True)
    pool = Kept(TabMMembers(2), tmp_path / "pool").collect(net, X.astype(np.float32), y)
    again = Kept(TabMMembers(2), tmp_path / "pool").collect(net, X.astype(np.float32), y)
    assert pool.names == again.names
    for member in [*pool, *again]:
        nets.Runner(member.net, "classification", ROWS).place(member.state)


def test_a_recorder_whose_members_have_a_net_of_their_own_says_so(tmp_path):
    class OwnNet(nets.LastState):
        def members(self, name, net=None):
            return [m.replace(net=net) for m in super().members(name, net)]

    class Mine(Seeds):
        def runs(self, net, rows, rng):
            return [nets.Run("own", 0, recorder=OwnNet)]

    with pytest.raises(TypeError, match="'own' run in a net of their own.*attribute net"):
        collected(Kept(Mine(), tmp_path / "pool"))
