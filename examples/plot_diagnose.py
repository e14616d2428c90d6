"""
Can these networks be merged?
=============================

A diagnosis of a pool measures barriers, agreement and diversity of its members, and
says what to do with them. Here, five checkpoints of one training are compared with five
networks from five seeds.
"""

# %%
# Both pools are trained on the same rows.

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier
from skfusion.collect import Seeds, Tail
from skfusion.diagnose import diagnose
from skfusion.nets import mlp_classifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
net = mlp_classifier()
collectors = {"one training": Tail(last=5), "five seeds": Seeds(5)}
reports = {}
for name, collect in collectors.items():
    pool = EnsembleClassifier(net, collect=collect, random_state=0)
    pool = pool.fit(X_train, y_train).pool_
    reports[name] = diagnose(pool, X_test, y_test, n_points=7)

# %%
# What the reports advise.

for name, report in reports.items():
    print(f"{name}:", *report.recommendation, "", sep="\n")

# %%
# The barriers that this is founded on: none between the checkpoints, and one between
# each two seeds.

from matplotlib import pyplot as plt

from skfusion.plots import SimilarityDisplay

figure, axes = plt.subplots(2, 1, figsize=(6.4, 8.6), layout="constrained")
for ax, (name, report) in zip(axes, reports.items(), strict=True):
    SimilarityDisplay.from_pairs(report.pairs, "barrier_line").plot(ax)
    ax.set_title(name, loc="left", fontsize="medium")
