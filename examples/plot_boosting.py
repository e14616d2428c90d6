"""
Boosting and bagging of weak networks
=====================================

Boosting trains one network after another, each on what the others get wrong, and makes
a strong predictor of weak ones. Bagging trains them apart, each on other rows, and
lowers what they vary by.
"""

# %%
# Up to sixteen networks of four hidden units, and of 64.

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import BaggingFusion, BoostingFusion
from skfusion.nets import mlp_classifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.5, stratify=y, random_state=0
)
numbers = (1, 4, 16)
accuracies = {}
for n_units in (4, 64):
    net = mlp_classifier(max_epochs=15, module__hidden=(n_units,))
    accuracies["boosting", n_units] = [
        BoostingFusion(net, n_members=n, random_state=0)
        .fit(X_train, y_train)
        .score(X_test, y_test)
        for n in numbers
    ]
    members = (
        BaggingFusion(net, n_members=16, random_state=0)
        .fit(X_train, y_train)
        .predict_members(X_test)
    )
    accuracies["bagging", n_units] = [
        (members[:n].mean(axis=0).argmax(axis=1) == y_test).mean() for n in numbers
    ]

# %%
# Both gain much with weak networks. With strong ones, there is little to gain.

from matplotlib import pyplot as plt

figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.6), sharey=True, layout="constrained")
for ax, n_units in zip(axes, (4, 64), strict=True):
    for name, colour, marker in (
        ("boosting", "#D55E00", "o"),
        ("bagging", "#0072B2", "s"),
    ):
        values = accuracies[name, n_units]
        ax.plot(numbers, values, marker=marker, color=colour, label=name)
        print(
            f"{name}, {n_units} units: accuracy {values[0]:.3f} of one, {values[-1]:.3f} of {numbers[-1]}"
        )
    ax.set_title(f"{n_units} hidden units", loc="left", fontsize="medium")
    ax.set(xlabel="networks", xscale="log")
    ax.set_xticks(numbers, numbers, minor=False)
    ax.minorticks_off()
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("accuracy on test rows")
_ = axes[1].legend(frameon=False, loc="lower right")
