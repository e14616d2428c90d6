"""Validation in a stack: the rows it is done on, and what a module does in evaluation only."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from looped import (
    CLASSES,
    Job,
    X,
    check_falls_back,
    check_same,
    check_same_history,
    classifier,
    collect,
    jobs_of,
    module_that,
)
from skorch.callbacks import Callback, EarlyStopping
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split
from torch import nn

from skfusion import nets
from skfusion._rows import Rows
from skfusion.collect import Bootstrap, Seeds

R = nn.ReLU


def apart(n=20, seed=1):
    """Rows that are not like those of training."""
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(n, 6, generator=generator) + 5, torch.randint(3, (n,), generator=generator)


@pytest.mark.parametrize("n", [1, 20, 200], ids=["one", "fewer", "more rows than in training"])
def test_rows_of_a_predefined_split_are_those_of_validation(n):
    net = classifier(R, train_split=predefined_split(Dataset(*apart(n))))
    many = check_same(net, jobs_of())
    with torch.no_grad():
        x, y = apart(n)
        expected = [float(F.cross_entropy(fitted.module_(x), y)) for fitted in many]
    np.testing.assert_allclose([nets.history_of(f)[-1]["valid_loss"] for f in many], expected, rtol=1e-5)


def test_a_predefined_split_stops_members_where_the_loop_does():
    stopping = EarlyStopping(patience=2, load_best=True)
    net = classifier(R, max_epochs=30, lr=0.3, train_split=predefined_split(Dataset(*apart())), callbacks=[stopping])
    one, many = (collect(Seeds(3, vectorize=vectorize), net) for vectorize in (False, True))
    assert max(m.meta["epoch"] for m in one) < 30
    for a, b in zip(one, many, strict=True):
        check_same_history(a.meta["history"], b.meta["history"], 1e-4)


class AnotherEachTime:
    """A split that draws the rows to validate on."""

    keeps_units = True

    def __call__(self, dataset, y=None, **_):
        return dataset, Dataset(*apart(seed=int(torch.randint(1000, ()))))


def test_members_that_validate_on_rows_of_their_own_are_trained_alone():
    check_falls_back(classifier(R, train_split=AnotherEachTime()), "members have different rows")


def test_members_share_the_memory_of_a_predefined_split():
    x, y = apart()
    seen = []

    class Sees(Callback):
        def on_epoch_end(self, net, dataset_valid=None, **_):
            seen.append(dataset_valid.X.data_ptr())

    net = classifier(R, train_split=predefined_split(Dataset(x, y)), callbacks=[Sees()])
    check_same(net, jobs_of(n=4))
    assert len({*seen[-12:]}) == 1  # those of the stack, which are trained last


@pytest.mark.parametrize("collector", [Seeds, Bootstrap])
def test_rows_of_ones_own_and_a_predefined_split(collector):
    net = classifier(R, train_split=predefined_split(Dataset(*apart())))
    one, many = (collect(collector(3, vectorize=vectorize), net) for vectorize in (False, True))
    for a, b in zip(one, many, strict=True):
        check_same_history(a.meta["history"], b.meta["history"], 1e-5)


class Doubled(Dataset):
    """Gives other numbers than it holds."""

    def transform(self, X, y):
        return 2 * X, y


def test_a_dataset_of_ones_own_is_asked_for_its_rows():
    net = classifier(R, train_split=predefined_split(Doubled(*apart())))
    found = check_falls_back(net, "a dataset or a DataLoader of its own")
    x, y = apart()
    plain = collect(Seeds(3, vectorize=False), classifier(R, train_split=predefined_split(Dataset(2 * x, y))))
    for a, b in zip(found, plain, strict=True):
        assert a.meta["history"][0]["valid_loss"] == pytest.approx(b.meta["history"][0]["valid_loss"], rel=1e-6)


def test_predefined_arrays_are_read_by_skorch():
    x, y = (t.numpy() for t in apart())
    check_falls_back(classifier(R, train_split=predefined_split(Dataset(x, y))), "DataLoader of its own")


# ---- what happens in evaluation only, or not at once -------------------------------------------------------------


def in_evaluation(change):
    return module_that(lambda self, z: z if self.training else change(self, z))


def counts(self, z):
    self.calls = getattr(self, "calls", 0) + 1
    return z + 0.001 * self.calls


EVALUATION = {
    "dropout": in_evaluation(lambda self, z: F.dropout(z, 0.3)),
    "item()": in_evaluation(lambda self, z: z / max(z.abs().max().item(), 1)),
    "Odd draws random numbers": in_evaluation(lambda self, z: z + 0.1 * torch.randn(z.shape)),
    "attribute 'calls'": in_evaluation(counts),
}


@pytest.mark.parametrize("name", EVALUATION)
def test_what_cannot_be_evaluated_together_is_trained_alone(name, untouched_rng):
    check_falls_back(classifier(module=EVALUATION[name], train_split=ValidSplit(3)), name)


def test_dropout_that_is_always_on_is_stacked_where_nothing_is_evaluated():
    check_same(classifier(module=module_that(lambda self, z: F.dropout(z, 0.3))), jobs_of())


class Late(Callback):
    """Switches something on in the second epoch."""

    def on_epoch_begin(self, net, **_):
        net.module_.late = len(net.history) >= 2


def from_the_second_epoch(change):
    return module_that(lambda self, z: change(z) if self.late else z, late=False)


LATE = {
    "alpha_dropout": (lambda z: F.alpha_dropout(z, 0.2, True), "Odd cannot be computed for many members"),
    "shared noise": (lambda z: z + torch.randn(3), "Odd draws random numbers"),
    "a mistake": (lambda z: z.no_such_thing, "no_such_thing"),
}


@pytest.mark.parametrize("name", ["alpha_dropout", "shared noise"])
def test_what_fails_late_is_trained_alone_from_the_start(name, untouched_rng):
    change, message = LATE[name]
    check_falls_back(classifier(module=from_the_second_epoch(change), callbacks=[Late()]), message)


def test_a_late_mistake_is_told_as_in_the_loop():
    net = classifier(module=from_the_second_epoch(LATE["a mistake"][0]), callbacks=[Late()])
    for vectorize in (False, True):
        with pytest.raises(AttributeError, match="no_such_thing"):
            collect(Seeds(3, vectorize=vectorize), net)


def test_rows_of_unlike_members_have_places_of_their_own():
    rows = [CLASSES.take(np.random.RandomState(k).permutation(53)[:45]) for k in range(3)]
    jobs = [Job(part, k) for k, part in enumerate(rows)]
    check_same(classifier(R, train_split=ValidSplit(3)), jobs)
    assert all(np.array_equal(part.X, CLASSES.X[part.position]) for part in rows)


@pytest.mark.parametrize("what", ["all", "weights", "classes"])
def test_rows_that_are_equal_but_for_something_are_not_taken_for_equal(what):
    weight = np.random.RandomState(0).uniform(0.5, 1.5, size=(2, 53))
    first = Rows(X, CLASSES.y, weight[0])
    codes = (CLASSES.y + 1) % 3 if what == "classes" else CLASSES.y.copy()
    other = Rows(X.copy(), codes, weight[int(what == "weights")].copy())
    check_same(classifier(R, train_split=ValidSplit(3)), [Job(first, 1), Job(other, 2), Job(first, 3)])
