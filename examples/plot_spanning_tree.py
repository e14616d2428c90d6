"""Join six networks by elastic bands, and draw the lowest passes between them.

A band finds a path on which the loss hardly rises, and the spanning tree of the lowest passes joins all: the networks
lie in one valley, which the straight lines between them leave. Where networks are not trained to the end, paths are
even lower than they are, as the steps of a band go on with the training.

    python examples/plot_spanning_tree.py [--out FOLDER] [--quick]

Without --out the figures are shown; with it, they are written to the folder.
"""

import argparse
from pathlib import Path

import matplotlib
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier
from skfusion.collect import Seeds
from skfusion.connect import AutoNEB, Line
from skfusion.diagnose import minima_of
from skfusion.nets import mlp_classifier
from skfusion.plots import SpanningTreeDisplay

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--out", type=Path, help="folder for the figures")
parser.add_argument("--quick", action="store_true", help="few epochs and networks")
args = parser.parse_args()
if args.out:
    matplotlib.use("Agg")
    args.out.mkdir(parents=True, exist_ok=True)
from matplotlib import pyplot as plt  # noqa: E402  after the backend is chosen

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
net = mlp_classifier(max_epochs=3 if args.quick else 80, module__hidden=(32,))
pool = EnsembleClassifier(net, collect=Seeds(3 if args.quick else 6), random_state=0).fit(X, y).pool_
connect = AutoNEB(n_cycles=2, n_epochs=1, n_points=3) if args.quick else AutoNEB(n_cycles=4, n_epochs=5)
n_points = 13 if args.quick else 61

for name, found in (("lines", Line()), ("bands", connect)):
    graph = minima_of(pool, X, y, connect=found, n_points=n_points)
    display = SpanningTreeDisplay.from_graph(graph, "cross-entropy (nats)").plot()
    worst, highest = max(graph.losses.values()), max(graph.saddles[edge] for edge in graph.tree)
    print(f"{name}: worst network {worst:.4f}, highest pass {highest:.4f} nats, {len(graph.paths)} paths tried")
    if args.out:
        display.figure_.savefig(args.out / f"spanning_tree_{name}.svg")
if not args.out:
    plt.show()
