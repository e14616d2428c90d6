"""
Ensembles from one training
===========================

Snapshot ensembles let the learning rate fall and rise again, and keep the network at
the end of each cycle; fast geometric ensembles walk a short cycle at the end of a
training. Both cost one training, where a deep ensemble of K networks costs K.
"""

# %%
# Noise is added to the digits, so that there is something to gain. Each training has 60
# epochs.

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skfusion import (
    EnsembleClassifier,
    FastGeometricEnsembleClassifier,
    SnapshotEnsembleClassifier,
)
from skfusion.collect import Seeds
from skfusion.nets import mlp_classifier

X, y = load_digits(return_X_y=True)
X = X + np.random.default_rng(0).normal(scale=5, size=X.shape)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.5, stratify=y, random_state=0
)
net = mlp_classifier(max_epochs=60)
ensembles = {
    "snapshots, one training": SnapshotEnsembleClassifier(
        net, n_cycles=6, random_state=0
    ),
    "fast geometric, one training": FastGeometricEnsembleClassifier(
        net, n_members=6, random_state=0
    ),
    "deep ensemble, one training a member": EnsembleClassifier(
        net, collect=Seeds(6), random_state=0
    ),
}
for ensemble in ensembles.values():
    ensemble.fit(X_train, y_train)

# %%
# The log-loss of the mean prediction of the last members, the more the further to the
# right.

from matplotlib import pyplot as plt

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for (name, ensemble), marker in zip(ensembles.items(), "os^", strict=True):
    predicted = ensemble.predict_members(X_test)[::-1]
    n_members = range(1, len(predicted) + 1)
    losses = [log_loss(y_test, predicted[:k].mean(axis=0)) for k in n_members]
    ax.plot(n_members, losses, marker=marker, label=name)
    print(
        f"{name}: last member {losses[0]:.3f}, all {len(predicted)} members {losses[-1]:.3f} nats"
    )
ax.set(xlabel="members", ylabel="log-loss on test rows, nats")
ax.spines[["top", "right"]].set_visible(False)
_ = ax.legend(frameon=False)
