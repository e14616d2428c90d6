"""
A curve of low loss between two networks
========================================

Two networks are joined by a Bezier curve along which the loss stays low, while it rises
on the straight line. Each point of the curve is a network, and the mean of their
predictions is an ensemble.
"""

# %%
# The two ends are trained from two seeds. Then the bend of the curve is trained, so
# that random points of it fit the training data.

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import CurveClassifier
from skfusion.collect import Seeds
from skfusion.connect import Bezier
from skfusion.nets import mlp_classifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
joined = CurveClassifier(
    mlp_classifier(), collect=Seeds(2), connect=Bezier(n_epochs=60), random_state=0
)
_ = joined.fit(X_train, y_train)

# %%
# Loss and accuracy along both paths, on rows that no network was trained on.

from skfusion.plots import CurveDisplay

display = CurveDisplay.from_estimator(joined, X_test, y_test, n_points=31).plot()
for path, barrier in display.barriers.items():
    print(f"barrier on the {path}: {barrier:.3f} nats")
ends = " and ".join(f"{score:.3f}" for score in display.curve_score[[0, -1]])
print(
    f"accuracy of the two networks {ends}, of the ensemble along the curve {display.ensemble_score:.3f}"
)
