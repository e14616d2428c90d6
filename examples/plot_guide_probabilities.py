"""
How sure is a network, and is it right
======================================

A reliability diagram of one network, of an ensemble, and of the ensemble with a temperature from held-out rows: how
often each is right, over how sure it says it is.
"""

# %%
# Made data of three classes, a tenth of whose labels are wrong, and few rows: networks learn these by heart.

import numpy as np
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier
from skfusion.collect import Seeds
from skfusion.combine import Calibrated
from skfusion.compare import expected_calibration_error
from skfusion.nets import mlp_classifier

X, y = make_classification(
    6000,
    n_features=12,
    n_informative=8,
    n_classes=3,
    n_clusters_per_class=3,
    flip_y=0.1,
    random_state=0,
)
X, X_test, y, y_test = train_test_split(X, y, train_size=1000, random_state=0)
net = mlp_classifier(max_epochs=40, module__hidden=(128, 128))
fusions = {
    "one network": EnsembleClassifier(net, collect=Seeds(1), random_state=0),
    "five networks": EnsembleClassifier(net, collect=Seeds(5), random_state=0),
    "five networks and a temperature": EnsembleClassifier(
        net, collect=Seeds(5), combine=Calibrated(of="ensemble"), random_state=0
    ),
}
predicted = {
    name: fusion.fit(X, y).predict_proba(X_test) for name, fusion in fusions.items()
}
for name, proba in predicted.items():
    error, right = (
        expected_calibration_error(y_test, proba),
        (proba.argmax(1) == y_test).mean(),
    )
    print(f"{name}: calibration error {error:.3f}, accuracy {right:.3f}")

# %%
# Rows are sorted into ten groups of equal size by the largest probability. Below the diagonal a network is too sure.

from matplotlib import pyplot as plt

figure, ax = plt.subplots(figsize=(5.5, 5), layout="constrained")
ax.plot(
    [0.4, 1],
    [0.4, 1],
    color="0.6",
    linestyle="--",
    linewidth=1,
    label="as right as it says",
)
for name, proba in predicted.items():
    sure, right = proba.max(1), proba.argmax(1) == y_test
    groups = np.array_split(np.argsort(sure), 10)
    ax.plot(
        [sure[g].mean() for g in groups],
        [right[g].mean() for g in groups],
        "o-",
        label=name,
    )
ax.set(
    xlabel="how sure it is: mean of the largest probability",
    ylabel="share of rows that are right",
)
_ = ax.legend(frameon=False)
