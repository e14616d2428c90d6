"""
Three lines between two networks, and how to read them
======================================================

A barrier is what the loss rises by on the straight line between the weights of two networks. Here are the three cases
that are met most often: two checkpoints of one training, two networks of different seeds, and the same two after the
units of the second were matched to those of the first.
"""

# %%
# Two perceptrons are trained on scikit-learn's digits from different seeds, and a third run gives its checkpoints of
# the last quarter. All lines are evaluated on rows that no network was trained on.
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier, ReBasinMerger
from skfusion.align import WeightMatching
from skfusion.collect import Seeds, Tail
from skfusion.landscape import excess
from skfusion.nets import mlp_classifier
from skfusion.plots import BarrierDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, stratify=y, random_state=0
)
net = mlp_classifier(module__hidden=(128, 128))
seeds = (
    EnsembleClassifier(net, collect=Seeds(2), random_state=0)
    .fit(X_train, y_train)
    .pool_
)
tail = (
    EnsembleClassifier(net, collect=Tail(), random_state=0).fit(X_train, y_train).pool_
)
one_run = tail.replace([m.replace(name=f"epoch {m.meta['epoch']}") for m in tail])

# %%
# Aligners return one alignment for each member, so the matched networks are a pool, too.
merger = ReBasinMerger(members=seeds, align=WeightMatching()).fit(X_train, y_train)
matched = seeds.replace(
    [m.replace(state=merger.alignments_[m.name].apply(m.state)) for m in seeds]
)

# %%
# One column for each line: the loss above, the accuracy below, on the same scales.

from matplotlib import pyplot as plt

lines = {
    "two checkpoints of one run": one_run,
    "two seeds": seeds,
    "two seeds, units matched": matched,
}
figure, axes = plt.subplots(
    2, 3, figsize=(9, 5), sharex="col", sharey="row", layout="constrained"
)
for column, (title, pool) in zip(axes.T, lines.items(), strict=True):
    ends = (0, len(pool) - 1)
    label = "units matched" if pool is matched else "as trained"
    display = BarrierDisplay.from_pool(
        pool, X_test, y_test, members=ends, label=label
    ).plot(column)
    display.ax_.set_title(
        f"{title}:\nbarrier {display.barrier:.3f} nats", fontsize="medium", loc="left"
    )
    display.score_ax_.set_xlabel("position on the line")
    fall = excess(display.t, -display.score)
    print(
        f"{title}: the loss rises by {display.barrier:.3f} nats, the accuracy falls by {100 * fall:.1f} points"
    )
for ax in axes[:, 1:].flat:
    ax.set_ylabel("")
_ = axes[0, 0].set_ylim(
    0, 1.15 * max(line.get_ydata().max() for line in axes[0, 1].lines)
)
