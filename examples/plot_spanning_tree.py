"""
The lowest passes between networks
==================================

Elastic bands find paths between networks on which the loss hardly rises, and a spanning
tree of the lowest passes joins them all: the networks lie in one valley, which the
straight lines between them leave.
"""

# %%
# Five networks from five seeds, joined by straight lines. Each pass is the highest loss
# on the way.

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier
from skfusion.collect import Seeds
from skfusion.connect import AutoNEB, Line
from skfusion.diagnose import minima_of
from skfusion.nets import mlp_classifier
from skfusion.plots import SpanningTreeDisplay

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
net = mlp_classifier(max_epochs=50, module__hidden=(32,))
pool = EnsembleClassifier(net, collect=Seeds(5), random_state=0).fit(X, y).pool_

lines = minima_of(pool, X, y, connect=Line(), n_points=31)
SpanningTreeDisplay.from_graph(lines, "cross-entropy (nats)").plot()
print(
    f"worst network {max(lines.losses.values()):.4f}, highest pass {max(map(lines.saddles.get, lines.tree)):.4f} nats"
)

# %%
# The same networks, joined by bands that are pulled down. Where networks are not
# trained to the end, paths may even be lower than they are, as the steps of a band go
# on with the training.

bands = minima_of(pool, X, y, connect=AutoNEB(n_cycles=3, n_epochs=3), n_points=31)
SpanningTreeDisplay.from_graph(bands, "cross-entropy (nats)").plot()
print(
    f"worst network {max(bands.losses.values()):.4f}, highest pass {max(map(bands.saddles.get, bands.tree)):.4f} nats"
)
