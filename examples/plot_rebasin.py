"""
Match the units of two networks
===============================

The hidden units of two networks that were trained apart stand in different orders, so
the mean of their weights is no good network. Once the units are matched ("git
re-basin"), the loss hardly rises on the line between them.
"""

# %%
# Two networks are trained from two seeds; weight matching finds an order of units of
# the second one that fits the first.

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import ReBasinMerger
from skfusion.nets import mlp_classifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
net = mlp_classifier(module__hidden=(128, 128))
merger = ReBasinMerger(net, random_state=0).fit(X_train, y_train)

# %%
# Loss and accuracy on the straight line between the two networks, as they were trained
# and after their units were matched. In the middle stands the mean of their weights.

from skfusion.plots import BarrierDisplay

display = BarrierDisplay.from_estimator(merger, X_test, y_test, n_points=31).plot()
for label, barrier in display.barriers.items():
    print(f"barrier {label}: {barrier:.3f} nats")
ends = " and ".join(f"{display.score[k]:.3f}" for k in (0, -1))
print(
    f"accuracy of the two networks {ends}, of the merged one {merger.score(X_test, y_test):.3f}"
)
