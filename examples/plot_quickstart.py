"""
Quick start
===========

From a table to one network out of many, to an ensemble, and to a fair comparison of the
two. All that is printed or drawn on this page was made by its code.

Install from a checkout with ``pip install '.[plots]'``; on Linux without a GPU, set
``PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu`` first for the small build
of torch.
"""

# %%
# One network out of many
# -----------------------
# Stochastic weight averaging trains one network, and takes the mean of its last states.

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from skfusion import WeightAveragingClassifier

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

swa = WeightAveragingClassifier(random_state=0).fit(X_train, y_train)
print(f"accuracy on rows that it has not seen: {swa.score(X_test, y_test):.3f}")

# %%
# An estimator keeps its members. Here they are the checkpoints that were averaged:

pool = swa.pool_
pool

# %%
# No network was given, so the estimator took
# :doc:`the one for tables </guide/nets>` and sized it to the data.
# ``WeightAveragingClassifier`` is a *recipe*: a well-known sentence under its own name.
# It stands for this one, of which the picture shows the parts:

from skfusion import SoupClassifier
from skfusion.collect import Tail
from skfusion.merge import Uniform
from skfusion.repair import Recalibrate

swa = SoupClassifier(
    collect=Tail(burn_in=0.75),
    merge=Uniform(),
    repair=Recalibrate(),
    random_state=0,
).fit(X_train, y_train)
swa

# %%
# Many networks
# -------------
# An ensemble keeps its members, and takes the mean of their predictions.

from skfusion import EnsembleClassifier
from skfusion.collect import Seeds

ensemble = EnsembleClassifier(collect=Seeds(4), n_jobs=1, random_state=0)
ensemble.fit(X_train, y_train)
print(f"accuracy: {ensemble.score(X_test, y_test):.3f}")
print(
    "members, rows and classes of their predictions:",
    ensemble.predict_members(X_test).shape,
)

# %%
# ``n_jobs=2`` would train two members at a time, and give the same members.
#
# Your own network
# ----------------
# Wrap a module by `skorch <https://skorch.readthedocs.io>`_. Arguments named ``n_in`` and
# ``n_out`` are set to the sizes of the data.

from skorch import NeuralNetClassifier
from torch import nn, optim


class Net(nn.Module):
    """Two layers with BatchNorm."""

    def __init__(self, n_in, n_out, width=64):
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(n_in),
            nn.Linear(n_in, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, n_out),
        )

    def forward(self, X):
        """Return the logits of a batch of rows."""
        return self.layers(X)


net = NeuralNetClassifier(
    Net,
    criterion=nn.CrossEntropyLoss,
    optimizer=optim.Adam,
    lr=0.005,
    max_epochs=15,
    iterator_train__shuffle=True,
    train_split=None,
)
soup = SoupClassifier(net, collect=Tail(), merge=Uniform(), random_state=0)
soup.fit(X_train, y_train)
print(f"accuracy: {soup.score(X_test, y_test):.3f}")
print("a fitted skorch net with the fused weights:", type(soup.estimator_).__name__)

# %%
# In scikit-learn
# ---------------
# The parts of a sentence are parameters like all others, so a search may vary them.

from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

search = GridSearchCV(
    make_pipeline(
        StandardScaler(),
        SoupClassifier(net, collect=Tail(), merge=Uniform(), random_state=0),
    ),
    {
        "soupclassifier__collect__burn_in": [0.5, 0.75],
        "soupclassifier__estimator__lr": [0.005, 0.02],
    },
    cv=2,
)
print(search.fit(X_train, y_train).best_params_)

# %%
# Which fusion is best?
# ---------------------
# :func:`~skfusion.compare_fusions` trains and judges both on the same folds, and gives each
# figure its interval.

from skfusion import compare_fusions

fusions = {"SWA": swa, "ensemble": ensemble}
results = compare_fusions(fusions, X, y, cv=3, random_state=0)
columns = ["accuracy_mean", "accuracy_low", "accuracy_high", "log_loss", "n_members"]
table = results[columns].round(3)
table

# %%
# The same is drawn as a picture. Where to go next: see
# :doc:`how it works </guide/concepts>`, :doc:`which fusion when </guide/choosing>`, or
# :doc:`what to do with networks that you have already </guide/pools>`.

from skfusion.plots import LeaderboardDisplay

display = LeaderboardDisplay.from_frame(results).plot()
