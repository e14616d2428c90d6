"""
A cascade: ask the next member only where it is needed
======================================================

Most rows are easy: the first member of an ensemble is sure of them, and the others
change nothing. A cascade asks members one by one, for each row until their mean is sure
enough.
"""

# %%
# Noise is added to the digits, so that an ensemble has something to gain. Eight
# networks are trained; some rows are kept to set the cascade, and others to judge it.

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier
from skfusion.collect import Seeds
from skfusion.nets import mlp_classifier

X, y = load_digits(return_X_y=True)
X = X + np.random.default_rng(0).normal(scale=3, size=X.shape)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.5, stratify=y, random_state=0
)
net = mlp_classifier(module__hidden=(16,))
X_train, X_val, y_train, y_val = train_test_split(
    X_train, y_train, test_size=0.3, stratify=y_train, random_state=0
)
ensemble = EnsembleClassifier(net, collect=Seeds(8), random_state=0).fit(
    X_train, y_train
)

# %%
# Cascades of these members with several budgets: how many members a row asks in the
# mean, against log-loss and accuracy.

from matplotlib import pyplot as plt
from sklearn.metrics import accuracy_score, log_loss

from skfusion.combine import Cascade

members = ensemble.predict_members(X_test)
budgets = (0.13, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
n_asked, losses, accuracies = [], [], []
for budget in budgets:
    one = EnsembleClassifier(
        collect=ensemble.pool_, combine=Cascade(budget=budget)
    ).fit(X_val, y_val)
    predicted = one.predict_proba(X_test)
    n_asked.append(one.combine_.asked(members).mean())
    losses.append(log_loss(y_test, predicted))
    accuracies.append(accuracy_score(y_test, predicted.argmax(axis=1)))

figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.4), layout="constrained")
for ax, values, name in (
    (axes[0], losses, "log-loss, nats"),
    (axes[1], accuracies, "accuracy"),
):
    ax.plot(n_asked, values, "o-", color="#0072B2")
    ax.set(ylabel=f"{name} on test rows", xlim=(0, 8.3))
    ax.spines[["top", "right"]].set_visible(False)
figure.supxlabel("members that a row asks, in the mean", fontsize="medium")
for k in (0, 3, -1):
    print(
        f"{n_asked[k]:.2f} members: log-loss {losses[k]:.3f}, accuracy {accuracies[k]:.3f}"
    )
