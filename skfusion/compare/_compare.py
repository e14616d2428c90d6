"""Cross-validate fusions on members that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from joblib import delayed, effective_n_jobs
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length

from skfusion._caller import warn_caller
from skfusion._progress import Bar
from skfusion.compare._bar import ComparisonBar
from skfusion.compare._baselines import baselines_of
from skfusion.compare._differences import differences, of_few_folds
from skfusion.compare._fold import Fold, holds_out, labelled_rows, n_rows, trained_on
from skfusion.compare._fusions import is_classification, named, spelt_out
from skfusion.compare._splits import splits_of
from skfusion.compare._table import framed, summary, warn_of_gaps
from skfusion.data import check_targets_known, scorer_named, seeded
from skfusion.evaluate import Scoreboard
from skfusion.nets import in_order


def compare_fusions(
    fusions: Mapping[str, Any] | Iterable[tuple[str, Any]] | str,
    X: Any,
    y: Any,
    *,
    baselines: Any = None,
    reference: str | None = None,
    hold_out: bool | str = "auto",
    cv: Any = 5,
    scoring: Any = None,
    groups: Any = None,
    n_jobs: int | None = None,
    random_state: Any = None,
    callback: Callable[[str, int], Any] | None = None,
    verbose: int = 0,
    error_score: float | str = np.nan,
) -> pd.DataFrame:
    r"""Cross-validate fusions, training each fold's members once.

    Fusions whose collector, net, seed and training rows are equal share the members of each fold: F fusions of K
    networks over k folds train k K networks, not F k K. No row of the table depends on which others stand in it: each
    is what cross-validation of that fusion alone gives.

    Parameters
    ----------
    fusions : dict of estimators, iterable of (name, estimator) pairs, or "portfolio"
        Estimators of this library, or pipelines that end in one. What has no pool to share is fitted as a whole:
        :class:`StackingFusion`, students, forests, and, as a baseline, any scikit-learn estimator. The word "portfolio"
        stands for :class:`PortfolioClassifier` or :class:`PortfolioRegressor`, also as a value of the dict; the task is
        that of the other estimators, and where there are none, regression if y has fractions or more than 20 different
        numbers. Give an instance for one with a time limit: ``{"portfolio": PortfolioClassifier(time_limit=60)}``.
    X : array-like of shape (n_samples, ...), DataFrame, or dict of array-like
        Inputs.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets. Where a fusion learns from rows without labels, -1 marks these, as in its ``fit``: all fusions are then
        tested on the labelled rows of a fold, and the others are trained on labelled rows alone. Elsewhere -1 is a
        label as any other.
    baselines : list of {"dummy", "linear", "boosting"}, True or "all", optional
        What fusions have to beat, in rows below them; True is all three. "dummy" predicts the frequencies of classes or
        the mean; "linear" is logistic regression or ridge on standardised columns; "boosting" is scikit-learn's
        histogram gradient boosting. The last two fill or take missing values, take days for dates, numbers for truth
        values and categories for texts, and see each cell of images as a column. One whose name a fusion has is called
        "boosting (baseline)".
    reference : str, optional
        The row from which differences are taken, best named before the scores are seen; when omitted, the row with the
        best mean of the first score.
    hold_out : "auto" or bool, default="auto"
        Which rows members are trained on. "auto": all, but in fusions that choose or weigh members by held-out rows,
        which hold out some; members are trained twice where there are both kinds. True: all but the held-out rows in
        all fusions, which is faster, and gives members on equal terms, if ``validation_fraction`` is the same; what is
        fitted as a whole gets all rows all the same. False: all, and a fusion that would hold out some is an error.
    cv : int, splitter or iterable, default=5
        A number asks for shuffled folds, stratified for classifiers, that keep groups and equal inputs together; a
        class of fewer rows is in some test parts only, and a warning names it. More cost more.
    scoring : str, callable, list, tuple or dict, optional
        As in ``cross_validate``: one scorer or several, and ``"neg_ece"`` (see :func:`get_scorer`); accuracy or R2 when
        omitted. Higher is better.
    groups : array-like of shape (n_samples,), optional
        Rows of a group are tested, held out or trained on together.
    n_jobs : int, optional
        Folds at a time, by joblib. All but the timings is the same for any number.
    random_state : int or RandomState, optional
        Of the folds, and of every fusion whose ``random_state`` is None: all get the same integer.
    callback : callable, optional
        Called as ``callback(name, fold)`` when a fusion is done with a fold.
    verbose : int, default=0
        1 shows which fusion is running on which fold, and the time that is left, unless there is a callback. It is
        known when each fusion has been through a fold.
    error_score : float or "raise", default=nan
        The score where a fusion, or a scorer, fails in a fold; a warning names both. ``"raise"`` raises the error.
        Another column that fails, as the log-loss of probabilities that are NaN, is NaN, with a warning.

    Returns
    -------
    DataFrame
        One row a fusion, in the given order. For each score s there are ``s_mean``, ``s_std`` (with k - 1 in the
        denominator) and ``s_low``, ``s_high``, the 95 % interval described in the Notes; all are NaN where the score of
        a fold is, as that of an area under a curve is where a class is missing. Of the first score, fold by fold:

        - ``difference``, ``difference_low``, ``difference_high``: the mean difference to the reference, with its 95 %
          interval; both 0 for the reference and its copies. NaN where one of both lacks a fold, and the ends for a
          single fold.
        - ``p_best``: two-sided p of the same test against the row with the best mean, adjusted by Holm's rule for the
          number of other rows; 1 for the best one.
        - ``tied_with_best``: whether that is 0.05 or more, so that the data do not tell the fusion from the best one;
          NA where p is NaN. Of two folds nearly all are tied, which a warning says.

        The other columns are means over the folds (of times medians, so that what is set up in the first fold does not
        count):

        - ``gain_over_best``, ``gain_over_mean``: the first score, less that of the best and of the mean single member
          *on the same test rows*. The best one is known only in hindsight. NaN for baselines.
        - ``log_loss``, with probabilities below 1.2e-7 raised to that; ``brier``, the Brier score, a sum over classes
          but for two, as scikit-learn's; ``ece``, see :func:`expected_calibration_error`, with 15 bins. All know the
          classes that test rows lack. NaN without probabilities.
        - ``collect_seconds``, ``fuse_seconds``: of fitting; fusions that share members each count their whole training.
          The fit of what is fitted as a whole counts as collecting.
        - ``predict_us_per_row``: microseconds a row, predicting the whole test part at once; the median of some calls.
        - ``n_parameters``, ``n_bytes``: numbers and bytes of the networks that a prediction needs; NaN where it needs
          other models.
        - ``n_members``: networks that a prediction runs, or passes of one, with dropout.
        - ``n_collected``: networks in the pool.
        - ``n_merged``: networks that have a share in a soup, where the merger is a sum. 1 says that a greedy soup is
          its best member; its warning is not shown.
        - ``n_held_out``: rows of the training part that members were not trained on, to judge them; NaN for given
          pools. What is fitted as a whole has 0, and may hold out some by itself.

        ``attrs`` has ``folds``, a DataFrame with a row for each fusion and fold whose ``error`` is what went wrong, and
        ``scores``, ``random_state`` (the integer), ``n_rows``, ``n_folds`` and ``cv``; ``reference``, ``best`` and
        ``baselines`` (names of rows), ``hold_out``, and ``trained_on``, which says for each row which rows of the
        training part its members were trained on.

    Raises
    ------
    RuntimeError
        If all fusions fail in all folds, or one does and ``error_score="raise"``, with its name and the fold.
    ValueError
        If there is no such baseline, reference or ``hold_out``.

    Notes
    -----
    The interval is Student's with k - 1 degrees of freedom and Nadeau and Bengio's variance
    :math:`(1 / k + n_\mathrm{test} / n_\mathrm{train})\, s^2`, as the training sets of the folds overlap. It is meant
    for one fusion, may reach beyond the range of the score, and those of one table are not independent of each other:
    to compare two fusions, see the interval of their difference. Its s is that of the differences between the folds;
    where they are the same in all folds, it is a point, and p is 1 or 0.

    The correction assumes that scores of two folds correlate by :math:`n_\mathrm{test} / (n_\mathrm{train} +
    n_\mathrm{test})`. In simulations of two equal methods over 5 folds, the interval of the difference covers 0 in 95 %
    of tables where that holds, in 98.6 % where folds are independent, and in 89 % where they correlate twice as much.
    As the best row is chosen by the same scores, tables of equal fusions name some that are not tied with it more often
    than in 5 %: in 7 % of 5 fusions and 12 % of 10, where the assumption holds.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979,
    https://www.jstor.org/stable/4615733.
    Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003,
    doi:10.1023/A:1024068626366.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import EnsembleClassifier, SoupClassifier
    >>> from skfusion.collect import Seeds
    >>> from skfusion.compare import compare_fusions
    >>> X, y = load_iris(return_X_y=True)
    >>> fusions = {
    ...     "soup": SoupClassifier(collect=Seeds(2)),
    ...     "ensemble": EnsembleClassifier(collect=Seeds(2)),
    ... }
    >>> table = compare_fusions(fusions, X, y, cv=3, random_state=0)
    >>> table["n_members"].to_dict()
    {'soup': 1, 'ensemble': 2}
    >>> table.attrs["trained_on"]["ensemble"]
    'all rows'
    """
    fusions = named(fusions)
    classify = is_classification(fusions, y)
    fusions = spelt_out(fusions, classify)
    check_consistent_length(y, groups)
    if n_rows(X) != n_rows(y):
        raise ValueError(f"X has {n_rows(X)} rows and y has {n_rows(y)}; give a target a row.")
    check_targets_known(y, classify)
    if error_score != "raise" and not isinstance(error_score, Real):
        raise ValueError(f"error_score must be a number, NaN among them, or 'raise'; got {error_score!r}.")
    rng = check_random_state(random_state)
    seed = random_state if isinstance(random_state, int | np.integer) else rng.randint(np.iinfo(np.int32).max)
    labelled = labelled_rows(fusions, y)
    strata = y if labelled is None else np.asarray(y, dtype=object).astype(str)
    splits, described = splits_of(cv, X, np.asarray(strata), groups, classify, int(seed))
    scorers = _scorers(scoring, classify)
    others = baselines_of(baselines, fusions, X, y, classify)
    ready = {name: seeded(clone(estimator), int(seed)) for name, estimator in {**fusions, **others}.items()}
    _check_hold_out(hold_out, ready)
    if reference is not None and reference not in ready:
        raise ValueError(f"reference must be the name of a row, one of {list(ready)}; got {reference!r}.")
    settings = scorers, hold_out is True, error_score, int(seed), labelled
    jobs = [(i, X, y, groups, train, test, *settings) for i, (train, test) in enumerate(splits)]
    with ExitStack() as stack:
        if verbose and callback is None:
            callback = ComparisonBar(stack.enter_context(Bar("compare_fusions")))
        folds = framed(_rows(jobs, ready, n_jobs, callback))
    warn_of_gaps(folds, list(scorers))
    if sentence := of_few_folds(len(splits), len(ready)):
        warn_caller(sentence)
    differing, reference, best = differences(folds, list(ready), next(iter(scorers)), reference)
    table = Scoreboard(summary(folds, list(ready), list(scorers), differing))
    table.attrs = {
        "folds": folds,
        "scores": list(scorers),
        "reference": reference,
        "best": best,
        "baselines": list(others),
        "hold_out": hold_out,
        "trained_on": {name: trained_on(estimator, hold_out is True) for name, estimator in ready.items()},
        "random_state": int(seed),
        "n_rows": n_rows(y),
        "n_folds": len(splits),
        "cv": described,
    }
    return table


def _rows(jobs: Sequence[Any], fusions: dict[str, Any], n_jobs: int | None, callback: Any) -> list[dict[str, Any]]:
    in_turn = effective_n_jobs(n_jobs) == 1
    if isinstance(callback, ComparisonBar):
        callback.start(fusions, len(jobs), in_turn)
    if in_turn:
        return [row for job in jobs for row in Fold(*job).run(fusions, callback)]
    results = []
    for rows in in_order([delayed(_run)(job, fusions) for job in jobs], n_jobs):
        results += rows
        for row in rows if callback is not None else ():
            callback(row["fusion"], row["fold"])
    return results


def _run(job: Any, fusions: dict[str, Any]) -> list[dict[str, Any]]:
    return Fold(*job).run(fusions, None)


def _check_hold_out(hold_out: Any, fusions: dict[str, Any]) -> None:
    if not (isinstance(hold_out, bool) or hold_out == "auto"):
        raise ValueError(f"hold_out must be 'auto', True or False; got {hold_out!r}.")
    if hold_out is False and (judging := [name for name, estimator in fusions.items() if holds_out(estimator)]):
        raise ValueError(
            f"hold_out=False trains all members on all rows, and {judging} choose or weigh theirs by held-out rows: "
            "leave them out, or give hold_out='auto' or True."
        )


def _scorers(scoring: Any, classify: bool) -> dict[str, Any]:
    if scoring is None:
        scoring = "accuracy" if classify else "r2"
    if isinstance(scoring, str):
        scoring = [scoring]
    elif callable(scoring):
        scoring = {"score": scoring}
    if not isinstance(scoring, Mapping):
        scoring = {name: name for name in scoring}
    if not scoring:
        raise ValueError("scoring is empty: give a scorer, or None for accuracy or R2.")
    return {name: scorer_named(s) for name, s in scoring.items()}
