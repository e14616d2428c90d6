"""
Averages of any length after one training
=========================================

Snapshots of two running averages are kept while a network trains. From these the
average of any length is made afterwards (post-hoc EMA of Karras et al.), and the best
length is found without another training.
"""

# %%
# A fifth of the labels are random and the learning rate stays constant, so the last
# state of the run is noisy.

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier, SoupClassifier
from skfusion.average import PowerEMA
from skfusion.collect import Averages, PowerSnapshots, Seeds
from skfusion.merge import PostHocEMA
from skfusion.nets import mlp_classifier

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
rng = np.random.RandomState(0)
y = np.where(rng.uniform(size=len(y)) < 0.2, rng.randint(10, size=len(y)), y)
net = mlp_classifier(max_epochs=20, batch_size=32, lr=0.01, optimizer__weight_decay=0.0)

soup = SoupClassifier(net, collect=PowerSnapshots(), merge=PostHocEMA(), random_state=0)
soup.fit(X, y)  # the one training


def loss(fusion):
    """Return the log-loss on other digits, whose labels are right."""
    return log_loss(y_test, fusion.predict_proba(X_test))


lengths = np.linspace(0.04, 0.25, 22)
losses = [
    loss(SoupClassifier(net, merge=PostHocEMA(sigma)).fuse(soup.pool_, X, y))
    for sigma in lengths
]
last = loss(EnsembleClassifier(net, collect=Seeds(1), random_state=0).fit(X, y))

# %%
# To check them, averages of four lengths are tracked while a network trains, which
# takes a training each.

tracked = [0.05, 0.1, 0.15, 0.2]
theirs = [
    loss(
        EnsembleClassifier(
            net, collect=Averages(1, average=PowerEMA(sigma)), random_state=0
        ).fit(X, y)
    )
    for sigma in tracked
]

# %%
# The longer the average, the less noise it has, until it reaches back to states that
# were worse.

from matplotlib import pyplot as plt

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
ax.plot(
    lengths,
    losses,
    "-",
    marker=".",
    color="C0",
    label="made of snapshots, one training for all",
)
ax.plot(
    tracked,
    theirs,
    "x",
    color="C3",
    markersize=9,
    markeredgewidth=2,
    label="tracked, one training each",
)
ax.axhline(last, color="0.5", linestyle="--", label="last state of the run")
ax.set(
    xlabel="length of the average, as a share of the run (sigma)",
    ylabel="log-loss on other digits, nats",
)
ax.set(ylim=(0, 1.1 * last))
ax.legend(frameon=False, loc="lower left")

best = int(np.argmin(losses))
print(f"last state {last:.3f}; best length {lengths[best]:.2f}: {losses[best]:.3f}")
gap = np.abs(np.interp(tracked, lengths, losses) - theirs).max()
print(
    f"largest difference between an average made of snapshots and one that was tracked: {gap:.3f}"
)
