"""Compare fusions by cross-validation, and draw what came out.

The fusions that share a collector share its networks: the five below train two sets of networks a fold, not five.

    python examples/plot_compare_fusions.py [--out FOLDER] [--quick]

Without --out the figures are shown; with it they are written to the folder.
"""

import argparse
from pathlib import Path

import matplotlib
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier, SoupClassifier, compare_fusions
from skfusion.collect import Seeds, Tail
from skfusion.merge import Greedy, Uniform
from skfusion.nets import mlp_classifier
from skfusion.plots import BarrierDisplay, LeaderboardDisplay

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--out", type=Path, help="folder for the figures")
parser.add_argument("--quick", action="store_true", help="two members, few epochs")
args = parser.parse_args()
if args.out:
    matplotlib.use("Agg")
    args.out.mkdir(parents=True, exist_ok=True)

X, y = load_digits(return_X_y=True)
n_members, n_epochs, n_folds = (2, 4, 3) if args.quick else (5, 30, 5)
net = mlp_classifier(max_epochs=n_epochs)

table = compare_fusions(
    {
        "single": EnsembleClassifier(net, collect=Seeds(1)),
        "uniform soup": SoupClassifier(net, collect=Seeds(n_members), merge=Uniform()),
        "greedy soup": SoupClassifier(net, collect=Seeds(n_members), merge=Greedy()),
        "SWA": SoupClassifier(net, collect=Tail(), merge=Uniform()),
        "ensemble": EnsembleClassifier(net, collect=Seeds(n_members)),
    },
    X,
    y,
    cv=n_folds,
    random_state=0,
)
print(
    table[["accuracy_mean", "accuracy_low", "accuracy_high", "log_loss", "n_members"]]
    .round(3)
    .to_string()
)

# Why the uniform soup of independent networks fails: between their weights the loss has a barrier.
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
pool = (
    EnsembleClassifier(net, collect=Seeds(2), random_state=0)
    .fit(X_train, y_train)
    .pool_
)
barrier = BarrierDisplay.from_pool(pool, X_test, y_test).plot()
print(f"barrier between two independent networks: {barrier.barrier:.2f} nats")

leaderboard = LeaderboardDisplay.from_frame(table).plot()
if args.out:
    leaderboard.figure_.savefig(args.out / "leaderboard.svg")
    barrier.figure_.savefig(args.out / "barrier.svg")
else:
    from matplotlib import pyplot as plt

    plt.show()
