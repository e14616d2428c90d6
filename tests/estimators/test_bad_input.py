"""Bad input: the message names the thing and the remedy, and nothing is lost."""

import errno
import json
import multiprocessing
import os

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from skorch import NeuralNetClassifier, NeuralNetRegressor
from torch import nn

import skfusion
from skfusion import (
    EnsembleClassifier,
    EnsembleRegressor,
    ModelPool,
    SnapshotEnsembleClassifier,
    SoupClassifier,
    SoupRegressor,
    StackingFusion,
    WeightAveragingClassifier,
)
from skfusion.collect import Bootstrap, Seeds, Snapshots, Tail
from skfusion.combine import Stack, Vote
from skfusion.merge import Greedy, Uniform
from skfusion.nets import DivergedError, mlp_classifier, mlp_regressor
from skfusion.pool import PoolFormatError
from skfusion.select import TopK

X, y = load_iris(return_X_y=True)
X = X + np.linspace(0, 1e-3, 150)[:, None]  # no two rows are alike


def net(**params):
    return mlp_classifier(**{"max_epochs": 3, "module__hidden": (8,), "lr": 0.02, **params})


@pytest.fixture(scope="module")
def pool():
    return EnsembleClassifier(net(), collect=Seeds(3), random_state=0).fit(X[::2], y[::2]).pool_


def same(a, b):
    return a.names == b.names and all(
        torch.equal(m.state[k], n.state[k]) for m, n in zip(a, b, strict=True) for k in m.state
    )


# ---- no members, K < 1 -------------------------------------------------------------------------------------------


def test_no_members():
    with pytest.raises(ValueError, match="A pool needs at least one member"):
        ModelPool([])
    with pytest.raises(ValueError, match="A pool needs at least one member"):
        ModelPool.from_estimators([])
    with pytest.raises(ValueError, match="A pool needs at least one member"):
        EnsembleClassifier(net(), collect=Seeds(2)).fit(X, y).pool_[5:]


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (SoupClassifier(net(), collect=Seeds(0)), "n_members must be at least 1"),
        (SoupClassifier(net(), collect=Seeds(2.5)), "n_members must be at least 1.*whole number.*2.5"),
        (
            EnsembleClassifier(net(), combine=Stack(), cv="many"),
            "Expected `cv` as an integer.*Got many",
        ),
        (SoupClassifier(net(), collect=Bootstrap(0)), "n_members must be at least 1"),
        (SoupClassifier(net(), collect=Bootstrap(2, max_samples=0)), "max_samples is a share of the rows"),
        (SoupClassifier(net(), collect=Snapshots(0)), "n_cycles must be between 1 and the net's max_epochs=3"),
        (SnapshotEnsembleClassifier(net()), "n_cycles must be between 1 and the net's max_epochs=3.*got 5"),
        (SnapshotEnsembleClassifier(net(), n_cycles=2, last=3), "last must be between 1 and n_cycles=2"),
        (SoupClassifier(net(), collect=Tail(0.9, every=2)), "No checkpoint falls after the burn-in"),
        (SoupClassifier(net(), collect=Tail(every=0)), "set every to at least 1"),
        (WeightAveragingClassifier(net(), burn_in=1.0), "burn_in is a share of the epochs"),
        (SoupClassifier(net(), collect=Seeds(2), select=TopK(0)), "keeps at least one member; got k=0"),
        (SoupClassifier(net(), collect=Seeds(2), merge=Uniform([1, 2, 3])), "3 weights for 2 members"),
        (
            SoupClassifier(net(), collect=Seeds(2), validation_fraction=1.5),
            "validation_fraction must be between 0 and 1",
        ),
        (StackingFusion(net(), n_members=0), "n_members must be at least 1"),
    ],
)
def test_bad_parameters(estimator, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, y)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (SoupClassifier(nn.Linear(4, 3)), "must be a skorch net.*got Linear.*StackingFusion"),
        (SoupClassifier(NeuralNetClassifier), "must be a skorch net.*got the class NeuralNetClassifier"),
        (SoupClassifier(net(), collect=5), "collect must be a Collector, such as .*, or a ModelPool; got 5"),
        (SoupClassifier(net(), collect=Seeds), "collect must be a Collector, such as .*, or a ModelPool; got <class"),
        (SoupClassifier(net(), merge="greedy"), r"merge must be a component, such as Greedy\(\)"),
        (EnsembleClassifier(net(), combine="vote"), r"combine must be a component, such as Average\(\)"),
    ],
    ids=lambda p: type(p).__name__,
)
def test_things_of_another_kind(estimator, message):
    with pytest.raises(TypeError, match=message):
        estimator.fit(X, y)


# ---- unlike architectures ----------------------------------------------------------------------------------------


def test_unlike_architectures(pool):
    wide = EnsembleClassifier(net(module__hidden=(12,)), collect=Seeds(1), random_state=0).fit(X[::2], y[::2]).pool_
    mixed = pool.replace([*pool, wide[0].replace(name="wide")])
    message = r"Tensor 'layers.0.weight' has shape \(8, 4\) in member 'seed-0' and \(12, 4\) in member 'wide'.*Ensemble"
    for merge in (Uniform(), Greedy()):
        with pytest.raises(ValueError, match=message):
            SoupClassifier(collect=mixed, merge=merge).fit(X[1::2], y[1::2])
    deep = EnsembleClassifier(net(module__norm="layer"), collect=Seeds(1), random_state=0).fit(X[::2], y[::2]).pool_
    with pytest.raises(ValueError, match="of member 'seed-0' is missing in member 'deep'.*EnsembleClassifier"):
        SoupClassifier(collect=pool.replace([*pool, deep[0].replace(name="deep")])).fit(X[1::2], y[1::2])
    assert EnsembleClassifier(collect=mixed).fit(X[1::2], y[1::2]).predict_members(X).shape == (4, 150, 3)
    with pytest.raises(ValueError, match="trained with another architecture"):
        SoupClassifier(net(module__hidden=(5,)), collect=pool).fit(X[1::2], y[1::2])


# ---- NaN and infinity --------------------------------------------------------------------------------------------


def test_members_that_are_not_finite(pool):
    state = {k: v.clone() for k, v in pool[1].state.items()}
    state["layers.0.bias"][0] = torch.nan
    broken = pool.replace([pool[0], pool[1].replace(state=state), pool[2]])
    for kind in (SoupClassifier, EnsembleClassifier):
        with pytest.raises(
            ValueError, match="'layers.0.bias' of member 'seed-1' holds NaN or infinity.*Drop this member"
        ):
            kind(collect=broken).fit(X[1::2], y[1::2])
    assert SoupClassifier(collect=broken[["seed-0", "seed-2"]]).fit(X[1::2], y[1::2]).predict(X).shape == (150,)


class Sometimes(nn.Module):
    """Diverges in its third step where its first random number is large."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.bad = bool(self.layer.bias[0] > 0)
        self.steps = 0

    def forward(self, X):
        self.steps += self.training
        return self.layer(X) * (torch.nan if self.bad and self.steps > 3 else 1.0)


@pytest.mark.parametrize("estimator", [SoupClassifier, EnsembleClassifier])
def test_loss_that_is_not_finite(estimator):
    some = NeuralNetClassifier(
        Sometimes, criterion=nn.CrossEntropyLoss, max_epochs=3, batch_size=64, train_split=None, verbose=0
    )
    with pytest.raises(
        DivergedError, match=r"Member 'seed-\d' diverged: the training loss became nan in epoch 2"
    ) as error:
        estimator(some, collect=Seeds(6, vectorize=False), random_state=0).fit(X, y)
    kept = error.value.pool
    assert 0 < len(kept) < 6
    assert error.value.epoch == 2
    assert "smaller learning rate" in str(error.value)
    assert "fuse(error.pool" in str(error.value)
    with pytest.warns(skfusion.pool.LeakageWarning) if estimator is SoupClassifier else np.errstate():
        assert estimator(some).fuse(kept, X, y).predict(X).shape == (150,)


def test_data_that_is_not_finite():
    bad = X.copy()
    bad[3, 1] = np.nan
    for estimator in (SoupClassifier(net()), SnapshotEnsembleClassifier(net())):
        with pytest.raises(ValueError, match="Input X contains NaN"):
            estimator.fit(bad, y)
    with pytest.raises(ValueError, match="squares are too large for float64"):
        SoupRegressor().fit(X, np.full(150, 1e300))


# ---- labels and classes ------------------------------------------------------------------------------------------


def test_labels_unseen_in_fitting(pool):
    known = pool.replace(classes=np.array([0, 1, 2]))
    with pytest.raises(
        ValueError, match=r"labels that are not among the classes \[0, 1, 2\]: \[7\].*members of a pool"
    ):
        SoupClassifier(collect=known).fit(X[1::2], np.where(y[1::2] == 2, 7, y[1::2]))
    fitted = EnsembleClassifier(net(), collect=Seeds(2), random_state=0).fit(X[y < 2], y[y < 2])
    assert fitted.score(X, y) < 1  # an unseen label is a wrong prediction, not an error


def test_a_class_missing_from_the_data_of_a_pool(pool):
    few = y[1::2] < 2
    fitted = SoupClassifier(collect=pool).fit(X[1::2][few], y[1::2][few])
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert fitted.predict_proba(X).shape == (150, 3)


def test_one_class():
    fitted = EnsembleClassifier(net(), collect=Seeds(2), combine=Stack(), cv=2, random_state=0).fit(X[:40], y[:40])
    assert set(fitted.predict(X)) == {0}


def test_width_that_does_not_fit():
    module = nn.Sequential(nn.Linear(4, 2))
    two = NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss, max_epochs=1, train_split=None, verbose=0)
    with pytest.raises(ValueError, match=r"output of shape \(2, 2\).*y has 3 classes.*give the module class an n_out"):
        SoupClassifier(two).fit(X, y)
    with pytest.raises(ValueError, match="2 numbers a sample in y, but the net was given n_out=1; leave it out"):
        SoupRegressor(mlp_regressor(module__n_out=1)).fit(X, X[:, :2])
    three = NeuralNetClassifier(nn.Linear(3, 3), criterion=nn.CrossEntropyLoss, train_split=None, verbose=0)
    with pytest.raises(ValueError, match=r"cannot run on inputs whose samples have shape \(4,\)"):
        SoupClassifier(three).fit(X, y)
    with pytest.raises(ValueError, match="cannot run on inputs whose samples have shape .*unexpected keyword"):
        SoupClassifier(three).fit({"a": X}, y)


def test_nets_of_another_task():
    with pytest.raises(ValueError, match="is a regressor and cannot classify; use a classifier"):
        SoupClassifier(mlp_regressor()).fit(X, y)
    with pytest.raises(ValueError, match="is a classifier and cannot predict values; use a regressor"):
        EnsembleRegressor(net()).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="Vote needs classes"):
        EnsembleRegressor(combine=Vote()).fit(X, X[:, 0])


# ---- pools on disk -----------------------------------------------------------------------------------------------


def contents(directory):
    return {p.name: p.read_bytes() for p in directory.iterdir() if p.is_file()}


def test_truncated_directory(pool, tmp_path):
    pool.save(tmp_path / "p")
    largest = max((tmp_path / "p").iterdir(), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-10])
    with pytest.raises(PoolFormatError, match=largest.name):
        ModelPool.load(tmp_path / "p", lazy=False)


def test_foreign_directory(pool, tmp_path):
    (tmp_path / "thesis.txt").write_text("my work")
    for action in (lambda: pool.save(tmp_path), lambda: ModelPool.load(tmp_path)):
        with pytest.raises(PoolFormatError, match="is not a pool"):
            action()
    assert contents(tmp_path) == {"thesis.txt": b"my work"}


def test_newer_format(pool, tmp_path):
    pool.save(tmp_path / "p")
    index = tmp_path / "p" / "pool.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "format": 99}))
    before = contents(tmp_path / "p")
    for action in (lambda: pool.save(tmp_path / "p"), lambda: ModelPool.load(tmp_path / "p")):
        with pytest.raises(PoolFormatError, match="format 99.*Upgrade"):
            action()
    assert contents(tmp_path / "p") == before


def test_full_disk(pool, tmp_path, monkeypatch):
    pool[:2].save(tmp_path / "p")
    writes = iter(range(100))

    def fsync(handle):
        if next(writes) >= 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        pool.replace([m.replace(state={k: v + 1 for k, v in m.state.items()}) for m in pool]).save(tmp_path / "p")
    monkeypatch.undo()
    assert same(ModelPool.load(tmp_path / "p"), pool[:2])


def write(path, seed):
    state = {"w": torch.full((1000,), float(seed))}
    for _ in range(10):
        ModelPool([skfusion.pool.Member(f"m{seed}-{i}", state) for i in range(3)]).save(path)


def test_two_writers(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write, args=(tmp_path / "p", seed)) for seed in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = ModelPool.load(tmp_path / "p")
    assert len(found) == 3
    assert len({m.state["w"][0].item() for m in found}) == 1


# ---- predict before fit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", skfusion.estimators.__all__)
def test_predict_before_fit(name):
    estimator = getattr(skfusion, name)()
    with pytest.raises(NotFittedError, match="fit"):
        estimator.predict(X)
    if hasattr(estimator, "predict_proba"):
        with pytest.raises(NotFittedError, match="fit"):
            estimator.predict_proba(X)
    for attribute in ("estimator_", "estimators_"):
        assert not hasattr(estimator, attribute)


def test_a_failed_fit_leaves_nothing_half_done():
    estimator = SoupClassifier(net(), collect=Seeds(0))
    with pytest.raises(ValueError, match="n_members"):
        estimator.fit(X, y)
    with pytest.raises(NotFittedError):
        estimator.predict(X)


def test_a_squeezed_output_is_explained():
    class Squeezed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def forward(self, X):
            return self.layer(X).squeeze(1)

    with pytest.raises(ValueError, match=r"return a column, of shape \(n, 1\), and do not squeeze it"):
        SoupRegressor(NeuralNetRegressor(Squeezed, verbose=0)).fit(X, y.astype(float))


def test_logits_under_nll_loss_are_explained():
    module = nn.Linear(4, 3)
    nn.init.constant_(module.bias, -100.0)  # a logit below zero has no logarithm, whatever the weights were drawn to be
    with pytest.raises(DivergedError, match="for logits give criterion=CrossEntropyLoss"):
        SoupClassifier(NeuralNetClassifier(module, verbose=0, max_epochs=2), collect=Seeds(1)).fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"collect": [1]}, r"ModelPool\.from_estimators"), ({"merge": Uniform}, r"Write Uniform\(\)")],
)
def test_what_is_no_component_is_explained(parameters, message):
    with pytest.raises(TypeError, match=message):
        SoupClassifier(**parameters).fit(X, y)
