"""
From a search to an ensemble
============================

A search trains many networks and keeps one. Here all are kept, and an ensemble is selected among them on the rows
that the search held out.
"""

# %%
# A random search over learning rate, weight decay and width, on made data of five classes with some wrong labels. The
# folder keeps each trial.

import tempfile

from scipy.stats import loguniform
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import RandomizedSearchCV, ShuffleSplit, train_test_split

from skfusion import EnsembleClassifier, KeepTrials, ModelPool
from skfusion.combine import EnsembleSelection
from skfusion.nets import mlp_classifier

X, y = make_classification(
    4000,
    n_features=16,
    n_informative=10,
    n_classes=5,
    n_clusters_per_class=4,
    flip_y=0.05,
    random_state=0,
)
X = X.astype("float32")
X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
net = mlp_classifier(module__n_in=16, module__n_out=5, max_epochs=12)
space = {
    "lr": loguniform(1e-3, 3e-2),
    "optimizer__weight_decay": loguniform(1e-4, 1e-1),
    "module__hidden": [(32,), (64,), (64, 64)],
}
split = ShuffleSplit(1, test_size=0.3, random_state=0)
search = RandomizedSearchCV(
    net, space, n_iter=16, cv=split, scoring="neg_log_loss", random_state=0
)
search = KeepTrials(tempfile.mkdtemp()).wrap(search).fit(X, y)
pool = ModelPool.from_search(search)

# %%
# Rows that no trial was trained on choose the members and their weights. The test rows judge all.

new = pool.unseen(X, y)
alone = [
    log_loss(
        y_test,
        EnsembleClassifier(collect=pool[[name]])
        .fit(X[new], y[new])
        .predict_proba(X_test),
    )
    for name in pool.names
]
best = alone[pool.names.index(max(pool, key=lambda m: m.score).name)]
selected = EnsembleClassifier(collect=pool, combine=EnsembleSelection()).fit(
    X[new], y[new]
)
found = {
    "best trial by the search": best,
    "the same, trained on all rows": log_loss(y_test, search.predict_proba(X_test)),
    f"selected: {len(selected.members_)} of {len(pool)} trials": log_loss(
        y_test, selected.predict_proba(X_test)
    ),
}
for name, loss in found.items():
    print(f"{name}: log-loss {loss:.3f}")

# %%
# Grey points are single trials, in the order of their loss on the test rows.

from matplotlib import pyplot as plt

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.plot(range(1, len(alone) + 1), sorted(alone), "o", color="0.6", label="a trial")
for (name, loss), color in zip(
    found.items(), ("#D55E00", "#E69F00", "#0072B2"), strict=True
):
    ax.axhline(loss, color=color, label=name)
ax.set(xlabel="trial, best first", ylabel="log-loss on test rows, nats")
_ = ax.legend(frameon=False)
