"""Draw the score against the length of the average, all from one training run.

A network is trained at a constant learning rate on digits of which a fifth have random labels: its last state is noisy.
Snapshots of two running averages are kept. From these the average of any length is made after the training (post-hoc
EMA), and judged on other digits. Crosses are averages that were tracked instead, at one training each.

    python examples/plot_posthoc_ema.py [--out FOLDER] [--quick]

Without --out the figure is shown; with it, it is written to the folder.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier, SoupClassifier
from skfusion.average import PowerEMA
from skfusion.collect import Averages, PowerSnapshots, Seeds
from skfusion.merge import PostHocEMA
from skfusion.nets import mlp_classifier

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--out", type=Path, help="folder for the figure")
parser.add_argument("--quick", action="store_true", help="few epochs")
args = parser.parse_args()
if args.out:
    matplotlib.use("Agg")
    args.out.mkdir(parents=True, exist_ok=True)
from matplotlib import pyplot as plt  # noqa: E402  after the backend is chosen

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
rng = np.random.RandomState(0)
y = np.where(rng.uniform(size=len(y)) < 0.2, rng.randint(10, size=len(y)), y)
net = mlp_classifier(max_epochs=4 if args.quick else 20, batch_size=32, lr=0.01, optimizer__weight_decay=0.0)

soup = SoupClassifier(net, collect=PowerSnapshots(), merge=PostHocEMA(), random_state=0)
soup.fit(X, y)  # the one training


def loss(fusion):
    """Return the log-loss on other digits, whose labels are right."""
    return log_loss(y_test, fusion.predict_proba(X_test))


lengths = np.linspace(0.04, 0.25, 22)
losses = [loss(SoupClassifier(net, merge=PostHocEMA(sigma)).fuse(soup.pool_, X, y)) for sigma in lengths]
tracked = [0.05, 0.1, 0.15, 0.2]
theirs = [
    loss(EnsembleClassifier(net, collect=Averages(1, average=PowerEMA(sigma)), random_state=0).fit(X, y))
    for sigma in tracked
]
last = loss(EnsembleClassifier(net, collect=Seeds(1), random_state=0).fit(X, y))

figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
ax.plot(lengths, losses, "-", marker=".", color="C0", label="made of snapshots, one training for all")
ax.plot(tracked, theirs, "x", color="C3", markersize=9, markeredgewidth=2, label="tracked, one training each")
ax.axhline(last, color="0.6", linestyle="--", label="last state of the run")
ax.set_xlabel("length of the average, as a share of the run (sigma)")
ax.set_ylabel("log-loss on other digits, nats")
ax.set_ylim(0, 1.1 * last)
ax.legend(frameon=False, loc="lower left")
best = int(np.argmin(losses))
print(f"last state: {last:.3f}; best length {lengths[best]:.2f}: {losses[best]:.3f}")
print("made / tracked:", [f"{loss:.3f}" for loss in np.interp(tracked, lengths, losses)], [f"{v:.3f}" for v in theirs])
if args.out:
    figure.savefig(args.out / "posthoc_ema.svg")
else:
    plt.show()
