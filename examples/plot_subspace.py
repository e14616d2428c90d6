"""
A triangle of networks
======================

Two networks are joined by connectors that are trained so that all points of the
triangles between them are good networks. Any of these can be a member of an ensemble.
"""

# %%
# Two networks from two seeds, and two connectors between them, which make two triangles
# with a common edge.

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier, SubspaceClassifier
from skfusion.collect import Seeds
from skfusion.connect import Simplicial
from skfusion.nets import mlp_classifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
net = mlp_classifier(module__hidden=(32,))
simplex = SubspaceClassifier(
    net,
    collect=Seeds(2),
    connect=Simplicial(n_connectors=2, n_epochs=15, lr=0.1),
    random_state=0,
)
_ = simplex.fit(X_train, y_train)

# %%
# The loss on the plane of the first triangle, that of one network and both connectors.

from skfusion.plots import SubspaceDisplay

SubspaceDisplay.from_estimator(simplex, X_test, y_test, margin=0.35, n_points=21).plot()
single = EnsembleClassifier(net).fuse(simplex.pool_[:1], X_train, y_train)
print(f"accuracy of the first network {single.score(X_test, y_test):.3f}")
print(f"accuracy of ten points together {simplex.score(X_test, y_test):.3f}")
