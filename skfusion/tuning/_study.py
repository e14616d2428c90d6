"""Studies of Optuna that log nothing and give the same trials in every run, and the storages that they are in."""

from __future__ import annotations

import copy
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import StudyDirection

Maker = Callable[..., BaseSampler]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from logging and from warning of experimental features, and restore the level of its log."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def check_space(space: Any) -> None:
    """Raise where a space is not a function of a trial."""
    if not callable(space):
        raise TypeError(f"space must be a function of a trial that returns a dict of parameters; got {space!r}.")


def sampler_of(sampler: BaseSampler | Maker, seed: int) -> BaseSampler:
    """Return a sampler at the start of its stream: made by a callable from ``seed``, or a copy of an instance."""
    if isinstance(sampler, BaseSampler):
        return copy.deepcopy(sampler)
    if not callable(sampler):
        raise TypeError(f"sampler must be a sampler of Optuna, or make one from seed=...; got {sampler!r}.")
    return sampler(seed=seed)


class Continued(BaseSampler):
    """A sampler that is made anew for each trial, from the seed and the number of the trial, and the trials before it.

    So a continued study gets the trials that it would have got without the break, and processes share a study.
    """

    def __init__(self, make: Maker, seed: int):
        self.make, self.seed = make, seed
        self._number = -1

    def _of(self, trial: Any) -> BaseSampler:
        if trial.number != self._number:
            (seed,) = np.random.SeedSequence([self.seed, trial.number]).generate_state(1)
            with quiet():
                self._number, self._present = trial.number, sampler_of(self.make, int(seed))
        return self._present

    def before_trial(self, study: Any, trial: Any) -> None:
        self._of(trial).before_trial(study, trial)

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        self._of(trial).after_trial(study, trial, state, values)


def open_study(search: Any, marks: dict[str, str | None], seed: int) -> Any:
    """Return a new study, or the stored one that was made of the same ``marks``: hashes by name, None if unsure."""
    # By groups, for settings differ in names.
    make = partial(TPESampler, multivariate=True, group=True) if search.sampler is None else search.sampler
    with quiet():
        sampler = sampler_of(make, seed)
        pruner = NopPruner() if search.pruner is None else copy.deepcopy(search.pruner)
        with opening(search.storage):
            study = optuna.create_study(
                direction="maximize",
                sampler=sampler if isinstance(make, BaseSampler) else Continued(make, seed),
                pruner=pruner,
                storage=reached(search.storage),
                study_name="fusion-search" if search.study_name is None else search.study_name,
                load_if_exists=search.storage is not None,
            )
            study.get_trials(deepcopy=False)
    foreign = f"Study {study.study_name!r} of the storage was made"
    if study.directions != [StudyDirection.MAXIMIZE]:
        raise ValueError(
            f"{foreign} to minimise, or for several values; a score is maximised. Give another study_name."
        )
    if not (known := {k: v for k, v in study.user_attrs.items() if k in marks}) and study.get_trials(deepcopy=False):
        raise ValueError(f"{foreign} by something other than a FusionSearch. Give another study_name.")
    if search.storage is not None and (hidden := [name for name, mark in marks.items() if mark is None]):
        warnings.warn(
            f"It is not certain whether study {study.study_name!r} of the storage is continued with the "
            f"same {' and '.join(hidden)}, as something that cannot be pickled is part of it: see to it yourself.",
            UserWarning,
            stacklevel=2,
        )
    if changed := [name for name, mark in known.items() if None not in (mark, marks[name]) and mark != marks[name]]:
        raise ValueError(
            f"{foreign} with other {' and other '.join(changed)}, so its scores cannot be compared. Give another "
            "study_name, or fit as before."
        )
    for name, mark in marks.items():
        study.set_user_attr(name, mark)
    return study


_PASSWORD = re.compile(r"(://[^:/@]*:)[^@]*@")
_REMEDY = "restore it from a backup, or give another storage"


@contextmanager
def opening(storage: Any) -> Iterator[None]:
    """Turn what a database, a driver or a parser raises into one line that names the storage."""
    path = getattr(getattr(storage, "_backend", None), "_file_path", None)  # a journal's has no public name
    file = None if path is None else Path(path)
    if file is not None and _is_cut(file):
        raise ValueError(
            f"The journal {file} is damaged: its last line is cut off, and what follows would be lost. Remove that "
            f"line, {_REMEDY}."
        )
    try:
        yield
    except Exception as error:  # each database has its own errors
        if storage is None:
            raise
        if file is not None and (line := _broken_line(file)):
            raise ValueError(
                f"The journal {file} is damaged: its line {line} is no JSON. Remove that line, {_REMEDY}."
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0].removesuffix(".")
        raise ValueError(
            f"The storage {_name_of(storage)} cannot be opened: {reason}. If it is damaged, or no storage of Optuna, "
            f"{_REMEDY}, such as sqlite:///study.db."
        ) from error


def reached(storage: Any) -> Any:
    """Return a storage, given by its address too; while another process makes the tables of a database, wait for it."""
    if isinstance(storage, str):
        for pause in (0.1, 0.3, 1.0):
            with suppress(Exception):  # one that lasts is raised below
                return optuna.storages.get_storage(storage)
            time.sleep(pause)
    return optuna.storages.get_storage(storage)


def _name_of(storage: Any) -> str:
    address = storage if isinstance(storage, str) else getattr(storage, "url", None)
    return _PASSWORD.sub(r"\1***@", address) if isinstance(address, str) else type(storage).__name__


def _is_cut(file: Path) -> bool:
    """Return whether a journal ends within a line, and not only while another process writes it."""
    for pause in (0.1, 0.3, 0.0):
        with suppress(OSError):
            text = file.read_bytes()[-1:]
            if text in (b"", b"\n"):
                return False
        time.sleep(pause)
    return file.exists()


def _broken_line(file: Path) -> int:
    """Return the number of the first line of a journal that is no JSON object, from 1, or 0."""
    with suppress(OSError), file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                if not isinstance(json.loads(line), dict):
                    return number
            except (ValueError, RecursionError):
                return number
    return 0
