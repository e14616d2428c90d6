"""
A curve around the ridge between two networks
=============================================

Two networks know the digits well, and the mean of their weights does not: on the
straight line between them stands a ridge of the loss. A trained curve goes around it,
and each of its points is a network that knows them.
"""

# %%
# Two networks are trained from two seeds, then the bend of a Bezier curve that joins
# them.

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import CurveClassifier
from skfusion.collect import Seeds
from skfusion.connect import Bezier
from skfusion.nets import mlp_classifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
net = mlp_classifier(module__hidden=(32, 32, 32), optimizer__weight_decay=0.2)
joined = CurveClassifier(
    net, collect=Seeds(2), connect=Bezier(n_epochs=60), random_state=0
).fit(X_train, y_train)

# %%
# The two networks and a third one, in the middle of the curve, span a plane in the
# space of weights, in which the whole curve lies. The loss on it is that of test rows,
# and per cents are accuracies on these.

from skfusion.plots import CurveDisplay, PlaneDisplay

plane = PlaneDisplay.from_estimator(joined, X_test, y_test, n_points=41, margin=0.36)
along = CurveDisplay.from_estimator(joined, X_test, y_test, n_points=21)
a, middle, b = plane.path[[0, len(plane.path) // 2, -1]]
shown = {
    f"A: {along.curve_score[0]:.0%}": a,
    f"B: {along.curve_score[-1]:.0%}": b,
    f"mean of A and B: {along.line_score[10]:.0%}": (a + b) / 2,
    f"on the curve: {along.curve_score[10]:.0%}": middle,
}
labels = {
    "x_name": "distance of weights from A towards B",
    "y_name": "distance from that line",
    "z_name": "loss on test rows",
}
near = plane.y < 1.1 * plane.bends.max()
picture = PlaneDisplay(
    plane.x, plane.y[near], plane.z[near], shown, plane.path, **labels
).plot()
print(
    f"barrier on the line {joined.barrier_['line']:.3f}, on the curve {joined.barrier_['curve']:.3f} nats"
)

# %%
# On the plane through networks from three seeds, each lies in a hollow of its own, with
# ridges between them.

from skfusion import EnsembleClassifier

pool = (
    EnsembleClassifier(net, collect=Seeds(3), random_state=0)
    .fit(X_train, y_train)
    .pool_
)
three = PlaneDisplay.from_pool(pool, X_test, y_test, n_points=41).plot()
print(
    f"loss on the plane of three seeds: {three.z.min():.2f} to {three.z.max():.2f} nats"
)
