"""
One network from two tasks
==========================

One member learns the digits up to four, the other one the rest, from a common start.
What each has moved its weights by is its task vector, and sums of task vectors are
networks that know something of both.
"""

# %%
# The start is a network that was trained for three epochs on all digits.

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier, SoupClassifier
from skfusion.collect import Tasks
from skfusion.nets import mlp_classifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
X_train, X_val, y_train, y_val = train_test_split(
    X_train, y_train, stratify=y_train, random_state=0
)
halves = Tasks(lambda X, y: np.where(y < 5, "digits 0 to 4", "digits 5 to 9"), init=3)
net = mlp_classifier(max_epochs=15)
members = EnsembleClassifier(net, collect=halves, random_state=0).fit(X_train, y_train)

# %%
# Each merge makes one network of the two. Those with a scale are tried with several, on
# rows that no member has seen.

from skfusion.merge import DARE, TIES, Fisher, RegMean, TaskArithmetic, Uniform

merges = {
    "mean": Uniform(),
    "task arithmetic": TaskArithmetic(scale=None),
    "TIES": TIES(scale=None),
    "DARE": DARE(0.5, TaskArithmetic(scale=None)),
    "Fisher": Fisher(),
    "RegMean": RegMean(),
}
first = y_test < 5


def halves_of(fusion):
    """Return the accuracy on the digits of the first task, and on those of the second."""
    right = fusion.predict(X_test) == y_test
    return right[first].mean(), right[~first].mean()


rows = {
    member.name: halves_of(
        EnsembleClassifier(net).fuse(members.pool_.replace([member]), X_train, y_train)
    )
    for member in members.pool_
}
for name, merge in merges.items():
    soup = SoupClassifier(net, collect=members.pool_, merge=merge, random_state=0).fit(
        X_val, y_val
    )
    rows[name] = halves_of(soup)

# %%
# Accuracy on the digits of either task, from the best mean of both to the worst.

import pandas as pd
from matplotlib import pyplot as plt

table = pd.DataFrame(rows, index=["digits 0 to 4", "digits 5 to 9"]).T
table = table.loc[table.mean(axis=1).sort_values().index]
print(table[::-1].round(3).to_string())
figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
ax.hlines(range(len(table)), *table.to_numpy().T, color="0.75", zorder=1)
for column, colour, marker in zip(table, ("#0072B2", "#D55E00"), "os", strict=True):
    ax.scatter(
        table[column],
        range(len(table)),
        color=colour,
        marker=marker,
        label=column,
        zorder=2,
    )
ax.set_yticks(range(len(table)), table.index)
ax.set(xlabel="accuracy on test rows", xlim=(-0.03, 1.03))
ax.spines[["top", "right"]].set_visible(False)
_ = ax.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
