"""Members that are kept in a folder: a killed training continues, and nothing is taken for something else."""

import os
import pickle
import signal
import socket
import subprocess
import sys
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.model_selection import KFold, cross_validate

from skfusion import EnsembleClassifier, nets
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
from skfusion.collect._by_path import Carrier, RowsByPath, StateByPath
from skfusion.collect._run_folder import keys_of
from skfusion.nets import DivergedError, mlp_classifier
from skfusion.pool import DirectoryStore, Member, ModelPool, PoolFormatError
from skfusion.testing import _problems as problems
from skfusion.testing import instances
from skfusion.tuning import StudyProposals

ROWS = problems.rows()


def collected(collector, net=None, rows=ROWS, seed=0, n_jobs=None, progress=None):
    net = problems.sized_net() if net is None else net
    return collector(net, rows, np.random.RandomState(seed), n_jobs=n_jobs, progress=progress)


def assert_same(pool, other, atol=0.0):
    assert pool.names == other.names
    for one, two in zip(pool, other, strict=True):
        assert one.meta.keys() == two.meta.keys()
        assert [*one.state] == [*two.state]
        for key, tensor in one.state.items():
            torch.testing.assert_close(tensor, two.state[key], rtol=0, atol=atol, msg=f"{one.name}: {key}")
        assert one.rows.tolist() == two.rows.tolist()
        assert type(one.net.module) is type(two.net.module)
    assert (pool.base is None) == (other.base is None)


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


def test_folds_share_a_folder(tmp_path, trained):
    X, y = load_iris(return_X_y=True)
    folds = KFold(3, shuffle=True, random_state=0)

    def scores(collect, n_jobs=None):
        net = mlp_classifier(max_epochs=3, module__hidden=(4,))
        ensemble = EnsembleClassifier(net, collect=collect, random_state=0)
        return cross_validate(ensemble, X, y, cv=folds, n_jobs=n_jobs)["test_score"].tolist()

    expected = scores(Seeds(2))
    assert scores(Kept(Seeds(2), tmp_path / "pool"), n_jobs=2) == expected
    assert len(DirectoryStore(tmp_path / "pool").names()) == 6
    trained.clear()
    assert scores(Kept(Seeds(2), tmp_path / "pool")) == expected
    assert not trained


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


# ------------------------------------------------------------------------------------------- several processes


def test_workers_give_the_same_members_and_leave_no_data(tmp_path):
    for collector in (Seeds(3, vectorize=False), Bootstrap(4), FineTunes(n_members=2, init=1, vectorize=False)):
        one = collected(Kept(collector, tmp_path / "one"))
        two = collected(Kept(collector, tmp_path / "two"), n_jobs=2)
        assert_same(two, one, atol=1e-6)
        assert not [*(tmp_path / "two" / ".runs").glob("data-*")]


def test_what_travels_to_workers_is_small_and_comes_back_as_names(tmp_path, monkeypatch):
    rng = np.random.RandomState(0)
    rows = Rows(rng.rand(25_000, 200).astype(np.float32), rng.randint(3, size=25_000), task="classification")
    vars(rows).update({name: rng.randint(2**60, size=25_000).astype(np.uint64) for name in ("keys", "input_keys")})
    net = nets.sized(mlp_classifier(max_epochs=1, batch_size=5000, module__hidden=(2,)), rows, 3)
    sizes, back = [], []

    def in_order(jobs, n_jobs):
        for job in jobs:
            task = cloudpickle.dumps(job)
            function, args, options = pickle.loads(task)
            result = function(*args, **options)
            sizes.append(len(task))
            back.append(len(cloudpickle.dumps(result)))
            yield result

    monkeypatch.setattr(nets, "in_order", in_order)
    for collector in (Seeds(2, vectorize=False), Averages(2)):  # whose recorder holds the rows too
        pool = collected(Kept(collector, tmp_path / "pool"), net=net, rows=rows, n_jobs=2)
        assert len(pool) == 2
    assert rows.X.nbytes == 20_000_000
    assert len(sizes) == 4
    assert max(sizes) < 100_000
    assert max(back) < 1000


def test_rows_by_path_are_the_rows(tmp_path):
    X = {"a": np.arange(20_000.0).reshape(5000, 4), "b": np.arange(5000)}
    groups = np.array([f"g{i % 7}" for i in range(5000)], dtype=object)
    rows = Rows(X, np.arange(5000) % 3, np.linspace(1, 2, 5000), groups, task="classification")
    by_path = RowsByPath.of(rows, Carrier(tmp_path / "data"))
    assert not (tmp_path / "data").exists()  # until they travel
    again = pickle.loads(pickle.dumps(by_path))
    assert type(again) is Rows
    assert len(pickle.dumps(by_path)) < 2 * len(pickle.dumps(groups))
    for name in ("a", "b"):
        np.testing.assert_array_equal(again.X[name], X[name])
    for name in ("y", "weight", "groups", "keys", "marks"):
        np.testing.assert_array_equal(getattr(again, name), getattr(rows, name))
    part = by_path.take(np.arange(7))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(part)).X["a"], X["a"][:7])
    assert nets.fingerprint(again) == nets.fingerprint(rows) == nets.fingerprint(by_path)
    by_path.stay()
    assert len(pickle.dumps(by_path)) > 150_000


def test_a_start_travels_once_and_as_a_path(tmp_path):
    carrier = Carrier(tmp_path / "data")
    large, small = {"w": torch.arange(10_000.0), "n": torch.tensor(3)}, {"w": torch.ones(3)}
    assert carrier.state(small) is small
    assert carrier.state(None) is None
    assert carrier.state(large) is carrier.state(large)
    pickled = pickle.dumps(carrier.state(large))
    assert isinstance(carrier.state(large), StateByPath)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert torch.equal(again["w"], large["w"])
    assert again["n"] == 3


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path):
    pickled = pickle.dumps(RowsByPath.of(Rows(np.ones((9000, 2)), np.zeros(9000)), Carrier(tmp_path / "data")))
    os.rename(tmp_path / "data", tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=f"{socket.gethostname()} does not see .*file system that all workers"):
        pickle.loads(pickled)


def test_data_of_dead_processes_are_removed_and_of_others_are_not(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    runs = tmp_path / "pool" / ".runs"
    left, live, elsewhere = (
        runs / name
        for name in (
            f"data-{socket.gethostname()}-{dead.stdout.strip()}-00",
            f"data-{socket.gethostname()}-{os.getpid()}-00",
            "data-another-host-1-00",
        )
    )
    for folder in (left, live, elsewhere):
        folder.mkdir(parents=True)
    collected(Kept(Seeds(2), tmp_path / "pool"), n_jobs=2)
    assert not left.exists()
    assert live.exists()
    assert elsewhere.exists()


def test_an_error_in_a_worker_names_the_member(tmp_path):
    hyper = Hyper({"lr": [0.01, -1.0]}, n_members=2, vectorize=False)
    for collector in (hyper, Kept(hyper, tmp_path / "pool")):
        with pytest.raises(ValueError, match="Invalid learning rate") as error:
            collected(collector, n_jobs=2)
        assert "in a worker, in the training of 'hyper-" in error.value.__notes__[0]
    assert "of 2 runs are kept in" in error.value.__notes__[1]


def test_a_task_that_is_started_again_trains_nothing(tmp_path, monkeypatch):
    """As where a scheduler has lost the worker after it had kept its members."""
    tasks = []

    def in_order(jobs, n_jobs):
        tasks.extend(jobs)
        for function, args, options in tasks:
            yield function(*args, **options)

    monkeypatch.setattr(nets, "in_order", in_order)
    collected(Kept(Seeds(2, vectorize=False), tmp_path / "pool"), n_jobs=2)
    calls = []
    function, args, options = tasks[0]
    names, reason = function(args[0], lambda *given: calls.append(given), *args[2:], **options)
    assert not calls
    assert [*names] == ["seed-0"]
    assert reason is None


def test_a_relative_path_is_that_of_the_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    collected(Kept(Seeds(2), Path("pool")), n_jobs=2)
    assert len(DirectoryStore(tmp_path / "pool").names()) == 2
