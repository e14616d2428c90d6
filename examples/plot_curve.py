"""Join two networks by a Bezier curve of low loss, and compare it with the straight line between them.

Each point of the curve is a network. The mean of their predictions is an ensemble for which only the curve was trained.

    python examples/plot_curve.py [--out FOLDER] [--quick]

Without --out the figure is shown; with it, it is written to the folder.
"""

import argparse
from pathlib import Path

import matplotlib
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import CurveClassifier
from skfusion.collect import Seeds
from skfusion.connect import Bezier
from skfusion.nets import mlp_classifier
from skfusion.plots import CurveDisplay

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--out", type=Path, help="folder for the figure")
parser.add_argument("--quick", action="store_true", help="few epochs")
args = parser.parse_args()
if args.out:
    matplotlib.use("Agg")
    args.out.mkdir(parents=True, exist_ok=True)
from matplotlib import pyplot as plt  # noqa: E402  after the backend is chosen

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
net = mlp_classifier(max_epochs=4 if args.quick else 30, module__hidden=(64, 64))
connect = Bezier(n_epochs=4 if args.quick else 60)
estimator = CurveClassifier(net, collect=Seeds(2), connect=connect, random_state=0).fit(X_train, y_train)

display = CurveDisplay.from_estimator(estimator, X_test, y_test, n_points=31).plot()
for path, barrier in display.barriers.items():
    print(f"{path}: barrier {barrier:.3f} nats")
ends = " and ".join(f"{score:.3f}" for score in display.curve_score[[0, -1]])
print(f"accuracy of the two networks: {ends}; of the ensemble along the curve: {display.ensemble_score:.3f}")
if args.out:
    display.figure_.savefig(args.out / "curve.svg")
else:
    plt.show()
