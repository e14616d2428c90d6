"""
Average a network of your own, with BatchNorm
=============================================

Averaged weights meet activations that no member has seen, so the statistics that
BatchNorm kept in training need not fit them. skfusion estimates them again from the
training data; here that is switched off, to show when it matters.
"""

# %%
# A convolutional network as one writes it for skorch. ``n_out`` is set to the number of
# classes.

from torch import nn


class ConvNet(nn.Module):
    def __init__(self, n_out, width=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * width, n_out),
        )

    def forward(self, X):  # X shape: (n_samples, 1, 8, 8)
        return self.layers(X / 16)


# %%
# A repairer is a small class. These two leave the statistics as they were averaged, or
# as the last checkpoint had them.

from skfusion.repair import Recalibrate, Repairer


class MeanStatistics(Repairer):
    def __call__(self, state, members, objective):
        return state


class LastStatistics(Repairer):
    def __call__(self, state, members, objective):
        return {
            key: members[-1][key] if "running" in key else value
            for key, value in state.items()
        }


# %%
# One training for each learning rate; its checkpoints are averaged in three ways,
# without another training.

import pandas as pd
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier
from torch import optim

from skfusion import SoupClassifier
from skfusion.collect import Tail
from skfusion.merge import Uniform

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X.reshape(-1, 1, 8, 8), y, stratify=y, random_state=0
)
net = NeuralNetClassifier(
    ConvNet,
    criterion=nn.CrossEntropyLoss,
    optimizer=optim.SGD,
    optimizer__momentum=0.9,
    max_epochs=12,
    batch_size=32,
    iterator_train__shuffle=True,
    train_split=None,
)
repairs = {
    "last checkpoint's": LastStatistics(),
    "averaged": MeanStatistics(),
    "estimated again": Recalibrate(),
}
losses = {}
for lr in (0.2, 0.5, 1.0):
    soup = SoupClassifier(
        net, collect=Tail(burn_in=0.5, lr=lr), merge=Uniform(), random_state=0
    ).fit(X_train, y_train)
    alone = clone(soup).fuse(soup.pool_[-1:], X_train, y_train)
    row = {"last checkpoint alone": log_loss(y_test, alone.predict_proba(X_test))}
    for name, repair in repairs.items():
        fused = clone(soup).set_params(repair=repair).fuse(soup.pool_, X_train, y_train)
        row[f"average, statistics {name}"] = log_loss(
            y_test, fused.predict_proba(X_test)
        )
    losses[f"{lr}"] = row
losses = pd.DataFrame(losses).T
print(losses.round(3).to_string())

# %%
# The larger the learning rate, the further apart are the checkpoints, and the less do
# old statistics fit their average.

from matplotlib import pyplot as plt

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
losses.plot.bar(ax=ax, rot=0, color=["0.7", "#E69F00", "#56B4E9", "#009E73"], width=0.8)
ax.set(
    xlabel="learning rate of the second half",
    ylabel="log-loss on test rows, nats",
    yscale="log",
)
ax.spines[["top", "right"]].set_visible(False)
_ = ax.legend(frameon=False, fontsize="small")
