"""
A table with text, dates and missing values
===========================================

A made table is prepared by a scikit-learn pipeline, and four ways to predict it are compared on the same folds: a
linear model, gradient boosting, networks for tables, and both together.
"""

# %%
# A table as tables are: a column of text, a date, and numbers of which some are missing. Whether a customer leaves
# depends on all three, and on chance.

import numpy as np
import pandas as pd

rng = np.random.default_rng(0)
n = 600
table = pd.DataFrame(
    {
        "amount": np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(6, 1, n)),
        "age": rng.integers(18, 90, n),
        "town": rng.choice(["Bergen", "Graz", "Lyon", "Porto"], n),
        "since": pd.Timestamp("2020-01-01")
        + pd.to_timedelta(rng.integers(0, 1500, n), "D"),
    }
)
smooth = np.sin(np.log(table["amount"].fillna(400)) * 2) + (table["age"] - 54) / 30
by_town = np.where(table["town"].isin(["Graz", "Porto"]), 1, -1)
late = (table["since"] - pd.Timestamp("2022-01-01")).dt.days / 400
chance = rng.logistic(size=n) / 4
leaves = np.where(smooth * by_town + late + chance > 0, "leaves", "stays")

# %%
# Text becomes codes, which the networks embed; numbers are filled in by the median, with a column that says so; dates
# become days, months and weekdays. Each model has its own pipeline, so that folds learn from their own rows.

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

from skfusion import EnsembleClassifier, StackingFusion, compare_fusions
from skfusion.collect import Seeds
from skfusion.nets import tabm_classifier, tabular_classifier


def parts_of_dates(frame):
    """Return the days, months and weekdays of columns of dates."""
    columns = {}
    for name in frame:
        days = (frame[name] - pd.Timestamp("2020-01-01")).dt.days
        columns |= {
            f"{name}_days": days,
            f"{name}_month": frame[name].dt.month,
            f"{name}_weekday": frame[name].dt.day_of_week,
        }
    return pd.DataFrame(columns)


def prepared(model, text):
    """Return a pipeline of the preparation of all columns and a model."""
    numbers = SimpleImputer(strategy="median", add_indicator=True)
    dates = FunctionTransformer(parts_of_dates)
    columns = [
        ("text", text, ["town"]),
        ("numbers", numbers, ["amount", "age"]),
        ("dates", dates, ["since"]),
    ]
    return make_pipeline(ColumnTransformer(columns), model)


codes = OrdinalEncoder(
    handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1
)
net = tabular_classifier(module__categorical=[0], max_epochs=20)
tabm = tabm_classifier(k=8, module__categorical=[0], max_epochs=20)
boosting = prepared(HistGradientBoostingClassifier(max_iter=40, random_state=0), codes)
models = {
    "linear": make_pipeline(
        prepared(
            StandardScaler(),
            OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        ),
        LogisticRegression(),
    ),
    "gradient boosting": boosting,
    "one network": prepared(EnsembleClassifier(net, collect=Seeds(1)), codes),
    "TabM": prepared(EnsembleClassifier(tabm, collect=Seeds(1)), codes),
    "stack of network and boosting": StackingFusion(
        estimators=[("network", prepared(net, codes)), ("boosting", boosting)],
        cv=2,
        random_state=0,
    ),
}
found = compare_fusions(models, table, leaves, cv=3, random_state=0)
print(
    found[["accuracy_mean", "accuracy_low", "accuracy_high", "log_loss"]]
    .round(3)
    .to_string()
)

# %%
# Points are means over the folds, bars are 95 % intervals.

from skfusion.plots import LeaderboardDisplay

display = LeaderboardDisplay.from_frame(found).plot()
