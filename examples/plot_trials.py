"""
Fuse the trials of a search
===========================

A search of hyperparameters trains many networks and throws all but one away. Kept in a
pool, they can be averaged, selected or stacked without another training.
"""

# %%
# A random search of sixteen settings. Noise is added to the digits, so that there is
# something to gain.

import numpy as np
from scipy.stats import loguniform
from sklearn.datasets import load_digits
from sklearn.model_selection import (
    RandomizedSearchCV,
    ShuffleSplit,
    train_test_split,
)

from skfusion import KeepTrials, ModelPool
from skfusion.nets import mlp_classifier
from skfusion.pool import MemoryStore

X, y = load_digits(return_X_y=True)
X = (X + np.random.default_rng(0).normal(scale=5, size=X.shape)).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.5, stratify=y, random_state=0
)
net = mlp_classifier(
    module__n_in=64,
    module__n_out=10,
    module__scaling={"x_mean": X_train.mean(0), "x_std": X_train.std(0) + 1},
)
space = {
    "lr": loguniform(1e-3, 3e-2),
    "optimizer__weight_decay": loguniform(1e-2, 1),
    "module__hidden": [(32,), (64, 64), (128, 64)],
    "module__dropout": [0.0, 0.2],
}
search = RandomizedSearchCV(
    net,
    space,
    n_iter=16,
    cv=ShuffleSplit(1, test_size=0.3, random_state=0),
    random_state=0,
)
search = KeepTrials(MemoryStore()).wrap(search).fit(X_train, y_train)
pool = ModelPool.from_search(search)

# %%
# The rows that the search has held out judge and weigh the trials; networks of other
# shapes are fused by what they predict.

from skfusion import EnsembleClassifier
from skfusion.combine import EnsembleSelection, Stack
from skfusion.select import TopK

new = pool.unseen(X_train, y_train)
fusions = {
    "mean of all trials": EnsembleClassifier(collect=pool),
    "mean of the best five": EnsembleClassifier(collect=pool, select=TopK(5)),
    "ensemble selection": EnsembleClassifier(collect=pool, combine=EnsembleSelection()),
    "stack": EnsembleClassifier(collect=pool, combine=Stack()),
}
for fusion in fusions.values():
    fusion.fit(X_train[new], y_train[new])

# %%
# Accuracy on test rows, with 95 % intervals by the bootstrap of these rows. The winner
# of the search was trained again on all training rows; the trials have not seen those
# that were held out.

from skfusion.plots import LeaderboardDisplay

draws = np.random.default_rng(0).integers(len(y_test), size=(1000, len(y_test)))
right = {"winner of the search": search.predict(X_test) == y_test}
right |= {name: fusion.predict(X_test) == y_test for name, fusion in fusions.items()}
mean = [values.mean() for values in right.values()]
ends = [
    np.quantile(values[draws].mean(axis=1), (0.025, 0.975)) for values in right.values()
]
display = LeaderboardDisplay([*right], mean, *np.transpose(ends), "accuracy").plot()
for name, values in right.items():
    print(f"{name}: accuracy {values.mean():.3f}")
