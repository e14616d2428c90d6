"""
Federated rounds
================

Clients train on rows of their own, and a server averages their networks after each
round (FedAvg). No row leaves a client. The less alike the clients' rows are, the more
rounds it takes.
"""

# %%
# Five clients, to whom digits are dealt out: evenly, or so that each client has much of
# some digits and little of others.

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)


def dealt(concentration):
    """Return the client of each row; the smaller the concentration, the less alike they are."""
    rng = np.random.default_rng(0)
    client = np.empty(len(y), int)
    for digit in range(10):
        rows = np.flatnonzero(y == digit)
        shares = rng.dirichlet([concentration] * 5)
        client[rows] = rng.choice(5, size=len(rows), p=shares)
    return client


clients = {
    "alike (concentration 100)": dealt(100),
    "not alike (concentration 0.2)": dealt(0.2),
}

# %%
# Each is trained for twelve rounds of one epoch; held-out rows of the clients score the
# network after each round.

from skfusion import FederatedClassifier
from skfusion.nets import mlp_classifier

net = mlp_classifier(module__hidden=(64,), batch_size=32)
curves, scores = {}, {}
for name, groups in clients.items():
    federated = FederatedClassifier(
        net, n_rounds=12, local_epochs=1, validation_fraction=0.2, random_state=0
    )
    federated.fit(X, y, groups=groups)
    curves[name] = [row["score"] for row in federated.history_]
    scores[name] = federated.score(X_test, y_test)

# %%
# The clients' digits, and the score after each round.

from matplotlib import pyplot as plt

figure, axes = plt.subplot_mosaic(
    [["alike", "rounds"], ["not", "rounds"]],
    figsize=(7.4, 3.8),
    width_ratios=(1, 1.6),
    layout="constrained",
)
for ax, (name, groups), colour in zip(
    (axes["alike"], axes["not"]), clients.items(), ("#0072B2", "#D55E00"), strict=True
):
    counts = np.array([np.bincount(y[groups == k], minlength=10) for k in range(5)])
    ax.imshow(counts, cmap="Greys", aspect="auto")
    ax.set_title(name, loc="left", fontsize="small", color=colour)
    ax.set(ylabel="client", xticks=range(10), yticks=range(5))
    axes["rounds"].plot(range(1, 13), curves[name], "o-", color=colour, label=name)
    print(f"{name}: accuracy {scores[name]:.3f} on test rows")
axes["not"].set_xlabel("digit")
axes["rounds"].set(xlabel="round", ylabel="accuracy on held-out rows")
axes["rounds"].spines[["top", "right"]].set_visible(False)
_ = axes["rounds"].legend(frameon=False)
