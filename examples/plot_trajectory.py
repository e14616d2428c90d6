"""Draw the loss on the plane through three checkpoints of one run, with the run, its EMA and its SWA on it.

A network is trained at a constant learning rate on digits of which a fifth have random labels, so its states jump about
in a valley of the loss. Averages of them lie deeper in it, also for other digits. They are made of the checkpoints
afterwards here; `WeightAveragingClassifier(net, average=EMA(0.99))` makes such a one while it trains.

    python examples/plot_trajectory.py [--out FOLDER] [--quick]

Without --out the figure is shown; with it, it is written to the folder.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from torch.optim import SGD

from skfusion import EnsembleClassifier
from skfusion.average import EMA, Mean
from skfusion.collect import Tail
from skfusion.landscape import Plane
from skfusion.nets import mlp_classifier
from skfusion.plots import PlaneDisplay
from skfusion.pool import Member

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--out", type=Path, help="folder for the figure")
parser.add_argument("--quick", action="store_true", help="few epochs, a coarse plane")
args = parser.parse_args()
if args.out:
    matplotlib.use("Agg")
    args.out.mkdir(parents=True, exist_ok=True)
from matplotlib import pyplot as plt  # noqa: E402  after the backend is chosen

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
rng = np.random.RandomState(0)
y_train = np.where(rng.uniform(size=len(y_train)) < 0.2, rng.randint(10, size=len(y_train)), y_train)

epochs = 9 if args.quick else 30
sgd = {"optimizer": SGD, "optimizer__momentum": 0.9, "optimizer__weight_decay": 5e-3}
net = mlp_classifier(max_epochs=epochs, batch_size=32, lr=0.05, **sgd)
run = EnsembleClassifier(net, collect=Tail(0.0), random_state=0).fit(X_train, y_train).pool_  # the state of each epoch

late = run[len(run) // 3 :]
three = [late[0], late[len(late) // 2], late[-1]]
averages = {"EMA": EMA(0.8, unit="epoch"), "SWA": Mean(1 / 3, unit="epoch")}
made = [Member(name, average.of(run.states)) for name, average in averages.items()]
shown = run.replace([*three, *made])

display = PlaneDisplay.from_pool(
    shown, X_test, y_test, members=range(len(shown)), n_points=7 if args.quick else 41
).plot()
places = Plane.through(*(member.state for member in three)).coordinates(late.states)
display.ax_.plot(*places.T[:2], "-", marker=".", color="white", linewidth=1, alpha=0.8, zorder=3)
display.ax_.set_title("one run, seen from the plane through three of its states", fontsize="medium", loc="left", pad=26)

for member in shown:
    alone = EnsembleClassifier(net).fuse(shown.replace([member]), X_train, y_train)
    print(f"{member.name}: log-loss {log_loss(y_test, alone.predict_proba(X_test)):.3f} on other digits")

if args.out:
    display.figure_.savefig(args.out / "trajectory.svg")
else:
    plt.show()
