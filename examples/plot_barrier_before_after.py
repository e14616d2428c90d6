"""Draw loss and accuracy on the line between two networks in one picture, before and after their units are matched.

    python examples/plot_barrier_before_after.py [--out FOLDER] [--quick]

Without --out the figure is shown; with it, it is written to the folder.
"""

import argparse
from pathlib import Path

import matplotlib
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import SoupClassifier
from skfusion.align import WeightMatching
from skfusion.collect import Seeds
from skfusion.merge import Uniform
from skfusion.nets import mlp_classifier
from skfusion.plots import BarrierDisplay

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
net = mlp_classifier(max_epochs=4 if args.quick else 30, module__hidden=(128, 128))
soup = SoupClassifier(net, collect=Seeds(2), align=WeightMatching(), merge=Uniform(), random_state=0)
soup.fit(X_train, y_train)

display = BarrierDisplay.from_estimator(soup, X_test, y_test, n_points=31).plot()
for label, barrier in display.barriers.items():
    print(f"{label}: barrier {barrier:.3f} nats")
print(f"accuracy of the mean of the matched weights: {soup.score(X_test, y_test):.3f}")
if args.out:
    display.figure_.savefig(args.out / "barrier_before_after.svg")
else:
    plt.show()
