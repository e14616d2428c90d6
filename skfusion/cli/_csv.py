"""Read tables as text, with commas between their columns or, as many spreadsheets write them, semicolons or tabs."""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path

import pandas as pd

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def read_csv(path: Path, notes: list[str]) -> pd.DataFrame:
    """Return the table in a file; notes say where columns have no commas between them, or numbers have commas."""
    separator = separator_of(path)
    if separator == ",":
        return pd.read_csv(path)
    notes.append(f"{path.name} is read with {SEPARATORS[separator]} between its columns.")
    frame = pd.read_csv(path, sep=separator)
    if any(_has_decimal_commas(frame[column]) for column in frame):
        notes.append(f"Commas in the numbers of {path.name} are read as decimal points.")
        return pd.read_csv(path, sep=separator, decimal=",")
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
