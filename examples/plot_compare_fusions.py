"""
Where fusion pays, and where it does not
========================================

A fusion is worth its price where single networks are unsure, as where labels are
wrong. :func:`~skfusion.compare_fusions` says by cross-validation, with intervals,
what it brings. Here it compares four fusions with one network, on digits of which
a fifth of the labels is wrong, and on the same digits as they are. The first was
chosen among eleven candidates by a rule, see :doc:`the results </results/demo>`.
"""

# %%
# A fifth of the labels, drawn at random, is replaced by other ones. The rows
# that are tested on have wrong labels, too, so no model can expect an accuracy
# above 0.8.

import numpy as np
from sklearn.datasets import load_digits

X, y = load_digits(return_X_y=True)
rng = np.random.RandomState(0)
others = (y + rng.randint(1, 10, len(y))) % 10
noisy = np.where(rng.random_sample(len(y)) < 0.2, others, y)

# %%
# A soup is one network with averaged weights. It needs members that lie in one
# valley of the loss: here fine-tunes of one start, or the last epochs of one
# training (stochastic weight averaging). Snapshots and ensembles average
# predictions, and need five networks for each. Of one training are the snapshots
# and the average.

from skfusion import (
    EnsembleClassifier,
    SnapshotEnsembleClassifier,
    SoupClassifier,
    WeightAveragingClassifier,
    compare_fusions,
)
from skfusion.collect import FineTunes, Seeds
from skfusion.merge import Uniform
from skfusion.nets import mlp_classifier

net = mlp_classifier()
tunes = FineTunes(n_members=5, init=10)
fusions = {
    "single": EnsembleClassifier(net, collect=Seeds(1)),
    "SWA": WeightAveragingClassifier(net),
    "soup of fine-tunes": SoupClassifier(net, collect=tunes, merge=Uniform()),
    "snapshots": SnapshotEnsembleClassifier(net, n_cycles=5),
    "ensemble": EnsembleClassifier(net, collect=Seeds(5)),
}
settings = {"reference": "single", "random_state": 0}
table = compare_fusions(fusions, X, noisy, cv=10, **settings)
columns = ["accuracy_mean", "log_loss", "collect_seconds", "n_members"]
print(table[columns].round(3))

# %%
# The differences to the single network are paired, fold by fold, and so are
# known better than the accuracies. Each has its 95 % interval. A network that is
# tuned well learns fewer wrong labels, and leaves less to gain: the results show
# that, too.

from skfusion.plots import LeaderboardDisplay


def draw(table, title):
    """Draw the gains over the single network, in points."""
    gains = 100 * table.filter(like="difference").drop(index="single")
    columns = [gains[name] for name in gains]
    name = "points of accuracy gained over one network"
    display = LeaderboardDisplay(gains.index, *columns, name).plot()
    display.ax_.axvline(0, color="grey", linestyle="--")
    display.ax_.set_xlim(left=min(-0.3, display.ax_.get_xlim()[0]))
    display.ax_.set_title(title, loc="left")
    return display


gains = draw(table, "A fifth of the labels is wrong")

# %%
# On the digits as they are, one network is right in nearly all rows, and no
# interval is above zero: there the single network is the one to use.
clean = compare_fusions(fusions, X, y, cv=3, **settings)
print(clean[columns].round(3))
gains_of_clean = draw(clean, "The labels as they are")

# %%
# What must not be averaged are the weights of networks of different seeds.
# Between these the loss rises.

from skfusion.plots import BarrierDisplay

train, test = np.arange(0, 1200), np.arange(1200, len(y))
pool = fusions["ensemble"].set_params(random_state=0).fit(X[train], y[train]).pool_
barrier = BarrierDisplay.from_pool(pool[:2], X[test], y[test]).plot()
print(f"barrier: {barrier.barrier:.2f} nats")
