"""Members fitted on each fold and on all rows, one member after the other, until a time limit is reached."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from skfusion._caller import warn_caller
from skfusion._rows import Rows
from skfusion.data import Fold
from skfusion.estimators.support._any_estimator import fit_and_predict


@dataclass(frozen=True, eq=False)
class Fit:
    """One fit: the estimator where it was on all rows, the predictions of a fold, or why there is neither."""

    fitted: Any = None
    predicted: np.ndarray | None = None
    error: Exception | None = None
    late: bool = False
    seconds: float = 0.0


@dataclass(eq=False)
class CrossFitted:
    """Members that were fitted on all rows, and their out-of-fold predictions, one array a member, in fold order."""

    names: list[str] = field(default_factory=list)
    fitted: list[Any] = field(default_factory=list)
    predicted: list[np.ndarray] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    errors: list[Exception] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, name: str, fits: Sequence[Fit]) -> None:
        """Keep a member all of whose fits are done, or why it is left out."""
        failed = next((i for i, fit in enumerate(fits) if fit.error is not None), None)
        if failed is not None:
            error = fits[failed].error
            where = "on all rows" if failed == len(fits) - 1 else f"in fold {failed}"
            self.left_out[name] = f"{type(error).__name__} {where}: {error}"
            self.errors.append(error)  # type: ignore[arg-type]
        elif any(fit.late for fit in fits):
            self.left_out[name] = "time_limit"
            self.late.append(name)
        else:
            self.names.append(name)
            self.fitted.append(fits[-1].fitted)
            self.predicted.append(np.concatenate([fit.predicted for fit in fits[:-1]]))
            self.seconds = self.seconds or sum(fit.seconds for fit in fits)

    def warn(self, time_limit: float | None) -> None:
        """Warn of the members that are left out; where no member is left, raise an error that says why of each."""
        if not self.names:
            raise _all_failed(self.left_out, self.errors) from self.errors[0]
        if failed := {name: why for name, why in self.left_out.items() if name not in self.late}:
            listed = "; ".join(f"{name!r}: {why}" for name, why in failed.items())
            warn_caller(f"Members failed and are left out. {listed}")
        if self.late:
            n = len(self.names)
            short = f" It is shorter than the fits of {self.names[0]!r}, which took {self.seconds:.3g} s." * (n == 1)
            warn_caller(
                f"time_limit={time_limit:g} s was over when {n} of {n + len(self.left_out)} members were finished; "
                f"these are left out: {self.late}.{short}"
            )


def _all_failed(why: dict[str, str], errors: Sequence[Exception]) -> Exception:
    """Return the error of members that all failed, with each cause once, and who had it."""
    members: dict[str, list[str]] = {}
    for name, cause in why.items():
        members.setdefault(cause, []).append(name)
    listed = "; ".join(f"{', '.join(map(repr, names))}: {cause}" for cause, names in members.items())
    kind = ValueError if any(not isinstance(e, TypeError) or isinstance(e, ValueError) for e in errors) else TypeError
    return kind(f"All {len(why)} members failed. {listed}" if len(why) > 1 else f"The only member failed. {listed}")


def check_time_limit(time_limit: Any) -> None:
    """Raise where a time limit is no number of seconds."""
    if time_limit is not None and (isinstance(time_limit, bool) or not isinstance(time_limit, Real)):
        raise TypeError(f"time_limit must be a number of seconds, or None for no limit; got {time_limit!r}.")
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"time_limit must be more than 0 seconds, or None for no limit; got {time_limit!r}.")


def cross_fitted(
    members: Sequence[tuple[str, Any, int]],
    rows: Rows,
    splits: Sequence[Fold],
    n_outputs: int,
    n_jobs: int | None,
    deadline: float = math.inf,
) -> CrossFitted:
    """Fit members, given with their names and seeds, member by member; no fit begins after ``deadline``.

    The first member that does not fail is fitted even so, as something must predict.
    """
    parts = [(rows.take(train), rows.take(test)) for train, test in splits] + [(rows, None)]

    def run(some: Sequence[tuple[str, Any, int]], deadlines: Sequence[float]) -> list[Fit]:
        return Parallel(n_jobs=n_jobs)(
            delayed(_fit)(member, name, train, test, n_outputs, seed, until)
            for (name, member, seed), until in zip(some, deadlines, strict=True)
            for train, test in parts
        )

    result = CrossFitted()
    fits = run(members, [math.inf] + [deadline] * (len(members) - 1))
    for i, (name, _, _) in enumerate(members):
        result.add(name, fits[i * len(parts) : (i + 1) * len(parts)])
    for late in [*result.late] if not result.names else ():
        result.late.remove(late)
        del result.left_out[late]
        result.add(late, run([next(member for member in members if member[0] == late)], [math.inf]))
        if result.names:
            break
    return result


def _fit(member: Any, name: str, train: Rows, test: Rows | None, n_outputs: int, seed: int, deadline: float) -> Fit:
    start = time.time()  # which processes share
    if start > deadline:
        return Fit(late=True)
    try:
        fitted, predicted = fit_and_predict(member, name, train, test, n_outputs, seed)
        if predicted is not None and not np.isfinite(predicted).all():
            raise ValueError(f"Member {name!r} predicts NaN or infinity.")
    except Exception as error:
        return Fit(error=_portable(error))
    seconds = time.time() - start
    return Fit(fitted, seconds=seconds) if test is None else Fit(predicted=predicted, seconds=seconds)


def _portable(error: Exception) -> Exception:
    """Return an error that another process can read, which one with a constructor of its own may not be."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
