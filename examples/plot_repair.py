"""
Repair a merged network
=======================

When two networks are merged, the activations of the merged one vary less than theirs,
and from layer to layer less. REPAIR sets mean and variance of each unit back to what
they are in the networks that were merged.
"""

# %%
# Pairs of networks are trained that are two to six hidden layers deep. The units of
# each pair are matched, and the weights are averaged, without a repair and with one.

import warnings

from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier, SoupClassifier
from skfusion.align import WeightMatching
from skfusion.collect import Seeds
from skfusion.merge import Uniform
from skfusion.nets import mlp_classifier
from skfusion.repair import Repair

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
warnings.filterwarnings("ignore", "The merged network scores")  # it is what is shown
depths = range(2, 7)
accuracies = {"worse of the two": [], "merged": [], "merged and repaired": []}
for depth in depths:
    net = mlp_classifier(module__hidden=(32,) * depth, optimizer__weight_decay=0.01)
    pool = (
        EnsembleClassifier(net, collect=Seeds(2), random_state=0)
        .fit(X_train, y_train)
        .pool_
    )
    merged = SoupClassifier(net, align=WeightMatching(), merge=Uniform()).fuse(
        pool, X_train, y_train
    )
    repaired = clone(merged).set_params(repair=Repair()).fuse(pool, X_train, y_train)
    singles = [
        EnsembleClassifier(net).fuse(pool[k : k + 1], X_train, y_train)
        for k in range(2)
    ]
    accuracies["worse of the two"].append(
        min(single.score(X_test, y_test) for single in singles)
    )
    accuracies["merged"].append(merged.score(X_test, y_test))
    accuracies["merged and repaired"].append(repaired.score(X_test, y_test))

# %%
# How deep a network can be merged, with and without the repair.

from matplotlib import pyplot as plt

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for (name, values), marker, colour in zip(
    accuracies.items(), "so^", ("0.6", "#0072B2", "#009E73"), strict=True
):
    ax.plot(depths, values, marker=marker, color=colour, label=name)
    print(
        f"{name}: accuracy {values[0]:.3f} at {depths[0]} layers, {values[-1]:.3f} at {depths[-1]}"
    )
ax.set(xlabel="hidden layers", ylabel="accuracy on test rows", xticks=depths)
ax.spines[["top", "right"]].set_visible(False)
_ = ax.legend(frameon=False)
