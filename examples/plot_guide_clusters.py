"""
Members that are kept are not trained again
===========================================

Four calls of ``fit``, of an ensemble whose members a folder keeps and of one without: what is there is read, what is
missing is trained. Processes on other machines may share the folder.
"""

# %%
# Eight networks of scikit-learn's digits; one call more of the same; four more members; and a call by a new estimator.

import tempfile
from time import perf_counter

from sklearn.datasets import load_digits

from skfusion import EnsembleClassifier
from skfusion.collect import Kept, Seeds
from skfusion.nets import mlp_classifier

X, y = load_digits(return_X_y=True)
net = mlp_classifier(max_epochs=20)
calls = {
    "8 members": 8,
    "the same again": 8,
    "12 members": 12,
    "12, a new estimator": 12,
}
folder = tempfile.mkdtemp()
EnsembleClassifier(net, collect=Seeds(8), random_state=0).fit(X, y)  # what is done once
seconds = {"in a folder": [], "without": []}
for n in calls.values():
    for name, collect in {
        "in a folder": Kept(Seeds(n), folder),
        "without": Seeds(n),
    }.items():
        ensemble = EnsembleClassifier(net, collect=collect, random_state=0)
        start = perf_counter()
        ensemble.fit(X, y)
        seconds[name].append(perf_counter() - start)
for name, times in seconds.items():
    print(
        f"{name}: "
        + ", ".join(
            f"{call} {time:.2f} s" for call, time in zip(calls, times, strict=True)
        )
    )

# %%
# Small networks train in moments; what is saved grows with the training, and what is read does not.

from matplotlib import pyplot as plt

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
for shift, (name, times) in zip((-0.18, 0.18), seconds.items(), strict=True):
    ax.barh([place + shift for place in range(len(calls))], times, 0.34, label=name)
ax.set_yticks(range(len(calls)), list(calls))
ax.invert_yaxis()
ax.set(xlabel="seconds of fit")
_ = figure.legend(frameon=False, loc="outside upper center", ncols=2, title="members")
