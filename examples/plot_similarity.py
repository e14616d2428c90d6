"""
Barriers between six networks, before and after matching
========================================================

Between networks that were trained apart, the loss has a barrier. It falls for all pairs
at once when their units are put in one common order; where it is low, weights can be
averaged.
"""

# %%
# Six networks from six seeds; the barrier of each pair is the largest excess of the
# loss on the straight line between them.

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import SoupClassifier
from skfusion.align import MergeMany
from skfusion.collect import Seeds
from skfusion.merge import Uniform
from skfusion.nets import mlp_classifier
from skfusion.plots import SimilarityDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
net = mlp_classifier(module__hidden=(96, 96))
soup = SoupClassifier(
    net, collect=Seeds(6), align=MergeMany(), merge=Uniform(), random_state=0
).fit(X_train, y_train)
trained = soup.pool_
before = SimilarityDisplay.from_pool(trained, X_test, y_test).plot()
_ = before.ax_.set_title("as trained", loc="left", pad=26)

# %%
# The same networks after matching: each computes what it did before, with its units in
# another order.

matched = trained.replace(
    [
        member.replace(state=soup.alignments_[member.name].apply(member.state))
        for member in trained
    ]
)
after = SimilarityDisplay.from_pool(matched, X_test, y_test).plot()
_ = after.ax_.set_title("units matched", loc="left", pad=26)

# %%
# What the mean of all six weights makes of it.

import warnings

warnings.filterwarnings("ignore", "The merged network scores")  # it is what is shown
mean_of_trained = SoupClassifier(net, merge=Uniform()).fuse(trained, X_train, y_train)
for name, display, fusion in (
    ("as trained", before, mean_of_trained),
    ("units matched", after, soup),
):
    accuracy = fusion.score(X_test, y_test)
    print(f"{name}: largest barrier {display.matrix.max():.3f} nats")
    print(f"{name}: accuracy of the mean of six {accuracy:.3f}")
