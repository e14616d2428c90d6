"""Where data come from: scikit-learn's own sets by name, and files, whose format is found out."""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets

from skfusion.cli._near import did_you_mean

NOISE = 0.2
"""The share of labels of ``noisy_digits`` that are wrong."""


def noisy_digits(return_X_y: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's digits, with a fifth of the labels, drawn at random, replaced by other ones."""
    X, y = datasets.load_digits(return_X_y=return_X_y)
    return X, with_wrong_labels(y, NOISE, 0)


def with_wrong_labels(y: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return labels from 0 to C - 1, each of which is with a probability one of the others."""
    rng = np.random.RandomState(seed)
    n_classes = y.max() + 1
    moved = (y + rng.randint(1, n_classes, len(y))) % n_classes
    return np.where(rng.random_sample(len(y)) < share, moved, y)


BUILT_IN = {
    "breast_cancer": (datasets.load_breast_cancer, "classification"),
    "diabetes": (datasets.load_diabetes, "regression"),
    "digits": (datasets.load_digits, "classification"),
    "noisy_digits": (noisy_digits, "classification"),
    "iris": (datasets.load_iris, "classification"),
    "wine": (datasets.load_wine, "classification"),
}
ABOUT = {
    "noisy_digits": "A fifth of the labels, drawn at random, is wrong, also in the rows that a fold is tested on: no "
    "model can expect an accuracy above 0.8."
}
"""What is to be known of a built-in set."""
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


class DataError(ValueError):
    """The data cannot be used as it is; the message says what to do."""


def file_at(source: str, option: str, *endings: str) -> Path:
    """Return the path of a file with one of these endings, which an option of the command names."""
    path = Path(source)
    if path.suffix.lower() not in endings:
        kinds = f"{', '.join(endings[:-1])} or {endings[-1]}"
        near = did_you_mean(source, BUILT_IN)
        raise DataError(f"Unknown {option} {source!r}; there are {', '.join(BUILT_IN)}, or a {kinds} file.{near}")
    if not path.is_file():
        raise DataError(f"There is no file {source!r}. {option} takes a file or one of {', '.join(BUILT_IN)}.")
    return path


def read_csv(path: Path, notes: list[str]) -> pd.DataFrame:
    """Return the table in a file; notes say where columns have no commas between them, or numbers have commas."""
    separator = separator_of(path)
    if separator == ",":
        return pd.read_csv(path, low_memory=False)  # a column has one type throughout
    notes.append(f"{path.name} is read with {SEPARATORS[separator]} between its columns.")
    frame = pd.read_csv(path, sep=separator, low_memory=False)
    if any(_has_decimal_commas(frame[column]) for column in frame):
        notes.append(f"Commas in the numbers of {path.name} are read as decimal points.")
        return pd.read_csv(path, sep=separator, decimal=",", low_memory=False)
    return frame


def separator_of(path: Path) -> str:
    """Return what separates columns: a comma, or what gives more, equally many in the first two lines."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = [line for line in islice(file, 2) if line.strip()]
    if len(lines) < 2:
        return ","
    n_columns = {sep: [len(row) for row in csv.reader(lines, delimiter=sep)] for sep in (",", *SEPARATORS)}
    n_in_both = {sep: n[0] for sep, n in n_columns.items() if sep == "," or (len(n) == 2 and n[0] == n[1])}
    return max(n_in_both, key=n_in_both.__getitem__)


def _has_decimal_commas(column: pd.Series) -> bool:
    known = column.dropna()
    texts = known[known.map(lambda value: isinstance(value, str))]
    return len(texts) == len(known) > 0 and bool(texts.str.fullmatch(r"\s*[+-]?\d*(,\d+)?([eE][+-]?\d+)?\s*").all())


READERS = {".csv": read_csv, ".parquet": lambda path, notes: pd.read_parquet(path)}


def read_table(path: Path, notes: list[str]) -> pd.DataFrame:
    """Return the table in a file of one of :data:`READERS`; what was guessed about its format is noted."""
    try:
        return READERS[path.suffix.lower()](path, notes).rename(columns=str)
    except (ValueError, OSError, ImportError) as error:  # pandas' and pyarrow's errors about contents are ValueErrors
        raise DataError(f"{str(path)!r} cannot be read: {error}") from error
