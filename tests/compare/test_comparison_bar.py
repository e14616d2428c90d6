"""A comparison is one bar, which names the fusion that is running."""

import itertools
import re

import pytest
from sklearn.datasets import load_iris

from skfusion import EnsembleClassifier, SoupClassifier
from skfusion._progress import _bar
from skfusion.collect import Seeds
from skfusion.compare import compare_fusions
from skfusion.nets import mlp_classifier

X, y = load_iris(return_X_y=True)


def fusions(**params):
    given = {"estimator": mlp_classifier(max_epochs=2), "collect": Seeds(2), **params}
    return {"soup": SoupClassifier(**given), "ensemble": EnsembleClassifier(**given)}


@pytest.fixture
def slow(monkeypatch):
    """Each look at the clock takes some seconds, so that each report is a line."""
    monkeypatch.setattr(_bar, "SHARE", 0.0)
    seconds = itertools.count(step=20.0)
    monkeypatch.setattr(_bar.time, "monotonic", lambda: next(seconds))


@pytest.mark.parametrize("verbose_fits", [0, 1])
def test_the_running_fusion_is_named_and_fits_have_no_bar_of_their_own(slow, capsys, verbose_fits):
    compare_fusions(fusions(verbose=verbose_fits), X, y, cv=3, random_state=0, verbose=1)
    out, err = capsys.readouterr()
    assert err == ""
    first, *lines, last = out.splitlines()
    assert first == "compare_fusions: Comparing: 0 of 6 (0%)"
    names = re.findall(r"compare_fusions: fold (\d) of 3, (\w+): (\d) of 6", "\n".join(lines))
    steps = itertools.product("123", ["soup", "ensemble"])
    assert names == [(fold, name, str(k)) for k, (fold, name) in enumerate(steps)]
    assert [" left" in line for line in lines] == [False, False, True, True, True, True]
    assert last.startswith("compare_fusions: done in ")


def test_folds_at_a_time_are_shown_as_they_end(slow, capsys):
    compare_fusions(fusions(), X, y, cv=3, random_state=0, verbose=1, n_jobs=2)
    assert "fold 3 of 3 is done: 5 of 6 (83%)" in capsys.readouterr().out


def test_nothing_is_shown_where_nobody_asks_and_a_callback_is_told_as_before(capsys):
    told = []
    compare_fusions(fusions(), X, y, cv=3, random_state=0, verbose=1, callback=lambda *words: told.append(words))
    assert told == [(name, fold) for fold in range(3) for name in ("soup", "ensemble")]
    compare_fusions(fusions(), X, y, cv=3, random_state=0)
    assert capsys.readouterr() == ("", "")
