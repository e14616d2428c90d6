"""A storage that is damaged is named, with the remedy, and is left as it was found."""

import re
import sqlite3

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from skfusion import SoupClassifier
from skfusion.collect import Seeds
from skfusion.merge import Uniform
from skfusion.nets import mlp_classifier
from skfusion.tuning import FusionSearch, _study

X = np.random.RandomState(0).randn(40, 2).astype(np.float32)
y = (X[:, 0] > 0).astype(int)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(_study.time, "sleep", lambda seconds: None)


def space(trial):
    return {"validation_fraction": trial.suggest_float("share", 0.2, 0.4)}


def search(storage):
    soup = SoupClassifier(mlp_classifier(max_epochs=1, module__hidden=(2,)), collect=Seeds(1), merge=Uniform())
    return FusionSearch(soup, space, n_trials=1, cv=2, random_state=0, refit=False, storage=storage)


def message_of(storage):
    with pytest.raises(ValueError, match="restore it from a backup, or give another storage") as caught:
        search(storage).fit(X, y)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def journal(path):
    return JournalStorage(JournalFileBackend(str(path)))


@pytest.fixture
def lines(tmp_path):
    """Lines of a journal with a trial in it."""
    search(journal(tmp_path / "whole.log")).fit(X, y)
    return (tmp_path / "whole.log").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + b"x" * 5000])
def test_a_file_that_is_no_database(tmp_path, content):
    path = tmp_path / "study.db"
    path.write_bytes(content * 100)
    message = message_of(f"sqlite:///{path}")
    assert message.startswith(f"The storage sqlite:///{path} cannot be opened: ")
    assert "database" in message
    assert path.read_bytes() == content * 100


def test_a_database_of_something_else(tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("create table studies (x int)")
    other.close()
    assert f"The storage sqlite:///{tmp_path / 'other.db'} cannot" in message_of(f"sqlite:///{tmp_path / 'other.db'}")


@pytest.mark.parametrize("address", ["study.log", "nosuch://x", "sqlite:////none/of/these/study.db"])
def test_addresses_that_lead_nowhere(address):
    assert f"The storage {address} cannot be opened: " in message_of(address)


def test_passwords_are_not_shown():
    message = message_of("nosuch://me:secret@host/db")
    assert "nosuch://me:***@host/db" in message
    assert "secret" not in message


def test_a_journal_that_was_cut_off_is_not_written_on(tmp_path, lines):
    path = tmp_path / "cut.log"
    path.write_bytes(b"".join(lines)[:-10])
    message = message_of(journal(path))
    assert message.startswith(f"The journal {path} is damaged: its last line is cut off")
    assert path.read_bytes() == b"".join(lines)[:-10]
    path.write_bytes(b"".join(lines[:-1]))  # the remedy
    assert len(optuna.load_study(study_name="fusion-search", storage=journal(path)).trials) == 1


@pytest.mark.parametrize("broken", [b'{"op_code":\n', b"[1]\n", b"[" * 100_000 + b"\n", b"\xff\n"])
def test_a_journal_with_a_broken_line(tmp_path, lines, broken):
    path = tmp_path / "broken.log"
    path.write_bytes(b"".join(lines))
    opened = journal(path)  # Optuna itself refuses what is broken by now
    path.write_bytes(b"".join([*lines, broken]))
    assert re.search(rf"The journal {path} is damaged: its line {len(lines) + 1} is no JSON", message_of(opened))
