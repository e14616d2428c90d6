"""
How many networks can be averaged, and which
============================================

The mean of the weights of K networks is a good network where all lie in one valley of the loss. Checkpoints of one
run do; networks of different seeds do not, and the more of them, the worse. Averages of *predictions* need no valley.
"""

# %%
# On two splits of scikit-learn's digits: eight networks of different seeds, and eight checkpoints of one run. A soup
# that is far below its members warns, which is the point of this picture.
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier, SoupClassifier
from skfusion.align import MergeMany
from skfusion.collect import Seeds, Tail
from skfusion.merge import Uniform
from skfusion.nets import mlp_classifier

warnings.filterwarnings("ignore", "The merged network scores")
X, y = load_digits(return_X_y=True)
net = mlp_classifier()
sizes = (1, 2, 4, 8)
scores = {}
for split in range(2):
    X_train, X_test, y_train, y_test = train_test_split(
        X / 16, y, stratify=y, random_state=split
    )
    seeds = (
        EnsembleClassifier(net, collect=Seeds(8), random_state=split)
        .fit(X_train, y_train)
        .pool_
    )
    run = (
        EnsembleClassifier(net, collect=Tail(), random_state=split)
        .fit(X_train, y_train)
        .pool_
    )
    for k in sizes:
        fusions = {
            "predictions of K seeds, averaged": EnsembleClassifier(collect=seeds[:k]),
            "weights of K checkpoints of one run": SoupClassifier(
                collect=run[-k:], merge=Uniform()
            ),
            "weights of K seeds, units matched": SoupClassifier(
                collect=seeds[:k], align=MergeMany(), merge=Uniform(), random_state=0
            ),
            "weights of K seeds": SoupClassifier(collect=seeds[:k], merge=Uniform()),
        }
        for name, fusion in fusions.items():
            fitted = fusion.fit(X_train, y_train)
            scores.setdefault(name, {}).setdefault(k, []).append(
                100 * fitted.score(X_test, y_test)
            )

# %%
# Lines are means over the splits, bands are from the lower to the higher of the two.

from matplotlib import pyplot as plt

figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for name, by_size in scores.items():
    values = np.array([by_size[k] for k in sizes])
    for ax in axes:
        (line,) = ax.plot(sizes, values.mean(1), "o-", label=name)
        ax.fill_between(
            sizes,
            values.min(1),
            values.max(1),
            alpha=0.15,
            color=line.get_color(),
            linewidth=0,
        )
    print(
        f"{name:38}",
        *(f"K={k}: {v.mean():.1f} %" for k, v in zip(sizes, values, strict=True)),
    )
axes[0].set(
    xlabel="networks averaged, K", ylabel="accuracy on test rows, %", ylim=(0, 103)
)
axes[1].set(xlabel="networks averaged, K", ylim=(90, 100), title="the same, from 90 %")
_ = figure.legend(
    *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2
)
