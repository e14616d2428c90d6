"""When a fallback is told, and when nothing is: choices, memory, and mistakes of the user."""

import numpy as np
import pytest
import torch
from looped import CLASSES, Net, X, check_falls_back, classifier, collect, module_that, same_pools
from torch import nn

from skfusion import nets
from skfusion.collect import Bootstrap, Seeds
from skfusion.nets import mlp_classifier
from skfusion.testing import _problems as problems

R = nn.ReLU


# ---- once, or never ----------------------------------------------------------------------------------------------


def test_each_reason_is_reported_once_whatever_the_number_of_chunks():
    class Coin(Net):  # which is seen only as it trains
        def forward(self, X):
            return super().forward(X) + 0.1 * torch.rand(3)

    net = classifier(module=Coin)
    check_falls_back(net, "Coin draws random numbers", max_bytes=8_000)
    check_falls_back(net, "Coin draws random numbers", Bootstrap, max_bytes=8_000)


def test_nothing_is_told_of_a_single_member():
    net = classifier(R, optimizer=torch.optim.RMSprop)
    assert same_pools(collect(Seeds(1, vectorize=True), net), collect(Seeds(1, vectorize=False), net))


def test_small_convolutions_are_vectorized_by_default_and_large_ones_where_asked(monkeypatch):
    class Image(nn.Module):
        def __init__(self, channels=2):
            super().__init__()
            self.body = nn.Sequential(nn.Conv1d(1, channels, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * channels, 3))

        def forward(self, X):
            return self.body(X[:, None])

    calls = count_vectorized(monkeypatch)
    collect(Seeds(4), classifier(module=Image))
    assert calls == [4]
    large = classifier(module=Image, module__channels=10_000, max_epochs=1)  # whose batch of 16 rows keeps 2.5 MB
    collect(Seeds(4), large)
    assert calls == [4]
    collect(Seeds(4, vectorize=True), large)
    assert calls == [4, 4]


def test_small_perceptrons_are_vectorized_by_default(monkeypatch):
    calls = count_vectorized(monkeypatch)
    collect(Seeds(3), mlp_classifier(max_epochs=1))  # too few to repay it
    assert calls == []
    collect(Seeds(5), mlp_classifier(max_epochs=1))
    collect(Bootstrap(4), mlp_classifier(max_epochs=1))
    assert calls == [5, 4]


def count_vectorized(monkeypatch):
    calls, fit_many = [], nets.fit_many

    def counted(net, rows, runs, watches):
        calls.append(len(runs))
        return fit_many(net, rows, runs, watches)

    monkeypatch.setattr(nets, "fit_many", counted)
    return calls


def test_too_little_memory_is_told_with_both_numbers():
    with pytest.warns(UserWarning, match=r"two members need [\d,]{5,} bytes, and max_bytes is 1,234") as caught:
        found = collect(Seeds(2, vectorize=True, max_bytes=1234), classifier(R))
    assert len(caught) == 1
    assert same_pools(found, collect(Seeds(2, vectorize=False), classifier(R)))


@pytest.mark.parametrize("vectorize", ["yes", None, 2])
@pytest.mark.parametrize("collector", [Seeds, Bootstrap])
def test_wrong_choices_are_refused(collector, vectorize):
    with pytest.raises(ValueError, match=f"vectorize must be 'auto', True or False; got {vectorize!r}"):
        collect(collector(2, vectorize=vectorize), classifier(R))


@pytest.mark.parametrize("size", [0, -1, float("nan"), float("inf"), "1GB"])
def test_wrong_sizes_are_refused(size):
    with pytest.raises(ValueError, match=f"max_bytes is a number of bytes, at least 1; got {size!r}"):
        collect(Seeds(2, max_bytes=size), classifier(R))


def test_numpys_false_and_floats_are_taken(monkeypatch):
    calls = count_vectorized(monkeypatch)
    collect(Seeds(2, vectorize=np.bool_(False)), classifier(R))
    assert not calls
    collect(Seeds(2, vectorize=np.bool_(True), max_bytes=1e9), classifier(R), n_jobs=1)
    assert calls == [2]


# ---- mistakes of the user ----------------------------------------------------------------------------------------


class TooWide(Net):
    """Fails on batches of training."""

    def forward(self, X):
        return super().forward(X if len(X) < 3 else X[:, :5])


MISTAKES = {
    "shape": classifier(module=TooWide),
    "single rows": problems.net(batch_size=1),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_as_in_the_loop(name):
    errors = []
    for vectorize in (False, True):
        with pytest.raises((ValueError, RuntimeError)) as caught:
            collect(Seeds(2, vectorize=vectorize), MISTAKES[name])
        errors.append((type(caught.value), str(caught.value)))
    assert errors[0] == errors[1]


def test_an_epoch_without_a_batch_is_told_as_in_the_loop():
    net = classifier(R, batch_size=99, iterator_train__drop_last=True)
    with pytest.warns(UserWarning, match="an epoch has no batch"), pytest.raises(ValueError, match="must be at most"):
        collect(Seeds(2, vectorize=True), net)


def test_an_interrupt_of_the_user_is_not_swallowed(untouched_rng):
    def interrupted(self, z):
        if self.training and torch.is_grad_enabled():
            raise KeyboardInterrupt
        return z

    with pytest.raises(KeyboardInterrupt):
        collect(Seeds(2, vectorize=True), classifier(module=module_that(interrupted)))


def test_rows_without_a_number_are_looped_and_vectorized_alike():
    x = np.where(np.arange(53)[:, None] == 7, np.nan, X)
    for vectorize in (True, False):
        with pytest.raises(ValueError, match=r"'seed-0' diverged.*in epoch 1.*'seed-1' diverged.*in epoch 1"):
            Seeds(2, vectorize=vectorize).collect(classifier(R), x, CLASSES.y, random_state=0)
