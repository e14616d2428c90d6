"""
Find a model for a new task
===========================

Providers have published models with a few points that describe what they were trained
on, and no rows. A user with few labels of a new task searches that pool, and rows go to
the models that know them.
"""

# %%
# Three providers know some of the digits each. A specification is made of a model's
# inputs.

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skfusion.reuse import ReusePool

X, y = load_digits(return_X_y=True)
X, X_new, y, y_new = train_test_split(X / 16, y, test_size=0.5, random_state=0)
models = {
    "linear, 0 to 3": (LogisticRegression(max_iter=500), y < 4),
    "trees, 4 to 6": (ExtraTreesClassifier(100, random_state=0), (y >= 4) & (y < 7)),
    "neighbours, 7 to 9": (KNeighborsClassifier(), y >= 7),
}
pool = ReusePool()
for name, (model, rows) in models.items():
    pool = pool.add(model.fit(X[rows], y[rows]), X[rows], name=name)

# %%
# A new task has digits of two of them. The pool is searched for a mixture of models
# whose inputs are like its rows.

mine = np.isin(y_new, (1, 2, 5))
X_mine, y_mine = X_new[mine], y_new[mine]
found = pool.search(X_mine)
print(found.to_frame().round(3).to_string())

# %%
# With few labels, models that are reused are compared with one that is trained anew.

from sklearn.metrics import accuracy_score

from skfusion import ModelReuseClassifier

numbers = (6, 9, 15, 30, 60)
reused, anew = [], []
for n in numbers:
    X_few, X_rest, y_few, y_rest = train_test_split(
        X_mine, y_mine, train_size=n, stratify=y_mine, random_state=0
    )
    reuse = ModelReuseClassifier(pool, random_state=0).fit(
        X_few, y_few, X_unlabelled=X_rest
    )
    reused.append(reuse.score(X_rest, y_rest))
    anew.append(
        accuracy_score(
            y_rest, LogisticRegression(max_iter=500).fit(X_few, y_few).predict(X_rest)
        )
    )
    print(
        f"{n} labels: {reuse.chosen_}, accuracy {reused[-1]:.3f}; trained anew {anew[-1]:.3f}"
    )

from matplotlib import pyplot as plt

figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
ax.plot(numbers, reused, "o-", color="#009E73", label="models of others, reused")
ax.plot(numbers, anew, "s--", color="#D55E00", label="trained anew")
ax.set(xlabel="rows with labels", ylabel="accuracy on the other rows", xscale="log")
ax.set_xticks(numbers, numbers)
ax.minorticks_off()
ax.spines[["top", "right"]].set_visible(False)
_ = ax.legend(frameon=False, loc="lower right")
