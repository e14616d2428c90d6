"""Draw the loss on the plane through three networks, and on the one in which a trained curve joins two of them.

Each network lies in a hollow of its own, with a ridge between them: that is why the mean of their weights is no good
network. On another plane through two of the three, a curve goes around the ridge.

    python examples/plot_loss_plane.py [--out FOLDER] [--quick]

Without --out the figures are shown; with it, they are written to the folder.
"""

import argparse
from pathlib import Path

import matplotlib
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import CurveClassifier, EnsembleClassifier
from skfusion.collect import Seeds
from skfusion.connect import Bezier
from skfusion.nets import mlp_classifier
from skfusion.plots import PlaneDisplay

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--out", type=Path, help="folder for the figures")
parser.add_argument("--quick", action="store_true", help="few epochs, coarse planes")
args = parser.parse_args()
if args.out:
    matplotlib.use("Agg")
    args.out.mkdir(parents=True, exist_ok=True)
from matplotlib import pyplot as plt  # noqa: E402  after the backend is chosen

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
net = mlp_classifier(max_epochs=4 if args.quick else 30, module__hidden=(64, 64))
n_points = 7 if args.quick else 41
pool = EnsembleClassifier(net, collect=Seeds(3), random_state=0).fit(X_train, y_train).pool_

three = PlaneDisplay.from_pool(pool, X_test, y_test, n_points=n_points).plot()
three.ax_.set_title("three networks, each in a hollow of its own", fontsize="medium", loc="left")
print(f"loss on the plane of three networks: {three.z.min():.3f} to {three.z.max():.3f} {three.z_name}")

joined = CurveClassifier(net, collect=pool[:2], connect=Bezier(n_epochs=4 if args.quick else 60)).fit(X_train, y_train)
curve = PlaneDisplay.from_estimator(joined, X_test, y_test, n_points=n_points).plot()
print(f"barrier on the line {joined.barrier_['line']:.3f}, on the curve {joined.barrier_['curve']:.3f} {curve.z_name}")

if args.out:
    three.figure_.savefig(args.out / "loss_plane.svg")
    curve.figure_.savefig(args.out / "loss_plane_curve.svg")
else:
    plt.show()
