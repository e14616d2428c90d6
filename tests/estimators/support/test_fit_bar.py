"""What ``verbose=1`` shows of a fit: its members, their epochs and the fusion, in a few lines."""

import itertools
import re

import pytest
from sklearn.callback import ProgressBar
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from skfusion import EnsembleClassifier, SoupClassifier, WeightAveragingClassifier
from skfusion._progress import _bar
from skfusion.collect import Seeds
from skfusion.merge import Greedy, Uniform
from skfusion.nets import mlp_classifier

X, y = load_iris(return_X_y=True)


def ensemble(**params):
    net = mlp_classifier(max_epochs=4, module__hidden=(4,))
    return EnsembleClassifier(net, **{"collect": Seeds(3, vectorize=False), "random_state": 0, "verbose": 1, **params})


@pytest.fixture
def slow(monkeypatch):
    """Each look at the clock takes some seconds, so that each report is a line."""
    monkeypatch.setattr(_bar, "SHARE", 0.0)
    seconds = itertools.count(step=20.0)
    monkeypatch.setattr(_bar.time, "monotonic", lambda: next(seconds))


def test_quick_fits_have_one_line(capsys, monkeypatch):
    monkeypatch.setattr(_bar, "FIRST", 1000.0)
    ensemble().fit(X, y)
    out, err = capsys.readouterr()
    assert re.fullmatch(r"EnsembleClassifier: done in 0:0\d:\d\d\n", out)
    assert err == ""


def test_without_verbose_nothing_is_shown(slow, capsys):
    ensemble(verbose=0).fit(X, y)
    assert capsys.readouterr() == ("", "")


def test_each_member_and_epoch_is_named_and_then_the_fusion(slow, capsys):
    ensemble().fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "EnsembleClassifier: collecting: 0 of 3 members (0%)"
    names = re.findall(r"(seed-\d), epoch (\d) of 4", "\n".join(lines))
    assert [*dict.fromkeys(names)] == [(f"seed-{k}", str(epoch)) for k in range(3) for epoch in range(1, 5)]
    assert any(re.search(r"seed-2, epoch 2 of 4: 2 of 3 members \(75%\), 0:\d\d:\d\d left", line) for line in lines)
    assert lines[-2] == "EnsembleClassifier: fusing: 3 of 3 members (100%)"
    assert lines[-1].startswith("EnsembleClassifier: done in ")


def test_members_that_are_trained_together_are_shown_together(slow, capsys):
    ensemble(collect=Seeds(3, vectorize=True)).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert any("3 members at once, epoch 3 of 4" in line for line in lines)
    shares = [int(share) for share in re.findall(r"\((\d+)%\)", "\n".join(lines))]
    assert shares == sorted(shares)


def test_runs_in_other_processes_are_shown_as_they_end(slow, capsys):
    ensemble(collect=Seeds(2, vectorize=False), n_jobs=2).fit(X, y)
    out = capsys.readouterr().out
    assert "2 of 2 members (100%)" in out


def test_recipes_show_their_one_run(slow, capsys):
    WeightAveragingClassifier(mlp_classifier(max_epochs=4), random_state=0, verbose=1).fit(X, y)
    out = capsys.readouterr().out
    assert "epoch 4 of 4: 0 of 1 members" in out


def test_a_fit_that_fails_is_not_done(capsys):
    with pytest.raises(TypeError, match="combine must be a component"):
        ensemble(combine=3).fit(X, y)
    assert "done in" not in capsys.readouterr().out
    ensemble().fit(X, y)  # and the next one is shown
    assert "done in" in capsys.readouterr().out


def test_the_bar_of_scikit_learn_takes_its_place(capsys):
    estimator = ensemble().set_callbacks(ProgressBar())
    estimator.fit(X, y)
    out = capsys.readouterr().out
    assert "EnsembleClassifier - fit" in out
    assert "done in" not in out


def test_fits_of_a_search_by_scikit_learn_are_shown_by_that(capsys):
    soup = SoupClassifier(mlp_classifier(max_epochs=2), collect=Seeds(2), random_state=0, verbose=1)
    GridSearchCV(soup, {"merge": [Greedy(), Uniform()]}, cv=2).fit(X, y)
    assert capsys.readouterr() == ("", "")


def test_the_estimator_is_left_as_it_was():
    estimator = ensemble().fit(X, y)
    assert not getattr(estimator, "_skl_callbacks", [])
    assert _bar.Bar._shown is None
