"""
SWA and EMA in the valley of one training
=========================================

At a constant learning rate on noisy labels the states of a training jump about in a
valley of the loss. Averages of their weights lie deeper in it: SWA is the mean of the
last states, EMA gives the later ones more weight.
"""

# %%
# The state after each epoch is kept; a fifth of the labels are random. The averages are
# made of these states afterwards.

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.optim import SGD

from skfusion import EnsembleClassifier
from skfusion.average import EMA, Mean
from skfusion.collect import Tail
from skfusion.nets import mlp_classifier
from skfusion.pool import Member

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
rng = np.random.RandomState(0)
y_train = np.where(
    rng.uniform(size=len(y_train)) < 0.2, rng.randint(10, size=len(y_train)), y_train
)

sgd = {"optimizer": SGD, "optimizer__momentum": 0.9, "optimizer__weight_decay": 5e-3}
net = mlp_classifier(batch_size=32, lr=0.05, **sgd)
run = (
    EnsembleClassifier(net, collect=Tail(0.0), random_state=0)
    .fit(X_train, y_train)
    .pool_
)
averages = {"EMA": EMA(0.8, unit="epoch"), "SWA": Mean(1 / 3, unit="epoch")}
made = [Member(name, average.of(run.states)) for name, average in averages.items()]

# %%
# Three states of the run span a plane; the others and the averages are drawn where they
# are nearest to it. The white line is the run.

from skfusion.landscape import Plane
from skfusion.plots import PlaneDisplay

late = run[10:]
three = [late[0], late[10], late[-1]]
shown = run.replace([*three, *made])
display = PlaneDisplay.from_pool(
    shown, X_test, y_test, members=range(len(shown)), n_points=31
).plot()
places = Plane.through(*(member.state for member in three)).coordinates(late.states)
_ = display.ax_.plot(
    *places.T[:2], "-", marker=".", color="white", linewidth=1, alpha=0.8, zorder=3
)

# %%
# What that means for other digits, whose labels are right.
# ``WeightAveragingClassifier`` makes such an average while it trains, without keeping
# the states.

from skfusion.diagnose import leaderboard

table = leaderboard(shown, X_test, y_test, "neg_log_loss", estimator=net)
print(table.round(3).to_string())
