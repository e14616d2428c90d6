"""Fine-tune a network for shifted data, merge the fine-tunes, and draw what is won there and lost at home.

A network for upright digits is fine-tuned on digits that are turned by 20 degrees. The better a fine-tune reads those,
the worse it reads upright ones. Between the start and the mean of all fine-tunes (WiSE-FT) lie networks that read
either kind better than a fine-tune that reads the other kind as well as they do.

    python examples/plot_fine_tunes.py [--out FOLDER] [--quick]

Without --out the figure is shown; with it, it is written to the folder.
"""

import argparse
import warnings
from pathlib import Path

import matplotlib
from scipy.ndimage import rotate
from scipy.stats import loguniform
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier, SoupClassifier
from skfusion.collect import FineTunes, Seeds
from skfusion.merge import TIES, Fisher, Interpolate, RegMean, Uniform
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
turned = rotate(X.reshape(-1, 8, 8), 20, axes=(1, 2), reshape=False, order=1).reshape(X.shape)
home, home_test, away, away_test, y_home, y_test = train_test_split(X, turned, y, stratify=y, random_state=0)

net = mlp_classifier(max_epochs=5 if args.quick else 30)
start = EnsembleClassifier(net, collect=Seeds(1), random_state=0).fit(home, y_home).estimators_[0]
tunes = FineTunes(
    {"lr": loguniform(1e-4, 1e-2), "max_epochs": [2, 4] if args.quick else [5, 10, 20]},
    n_members=8,
    init=FrozenEstimator(start),
)
soup = SoupClassifier(net, collect=tunes, merge=Uniform(), random_state=0).fit(away, y_home)
pool = soup.pool_


def place(fusion):
    """Return the accuracy on turned and on upright digits, in per cent."""
    return 100 * fusion.score(away_test, y_test), 100 * fusion.score(home_test, y_test)


figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
warnings.filterwarnings("ignore", "The merged network scores")  # near the start, which has not seen turned digits
path = [
    place(SoupClassifier(net, collect=pool, merge=Interpolate(t=t / 10), random_state=0).fit(away, y_home))
    for t in range(11)
]
singles = [place(EnsembleClassifier(net).fuse(pool[k : k + 1], away, y_home)) for k in range(len(pool))]
ax.plot(*zip(*path, strict=True), "-", color="0.6", marker=".", label="WiSE-FT, from the start to the mean")
ax.plot(*zip(*singles, strict=True), "o", color="0.75", label="single fine-tunes")
for marker, color, merge in (
    ("s", "C0", Uniform()),
    ("D", "C1", Fisher(n_examples=256)),
    ("^", "C2", RegMean()),
    ("v", "C4", TIES()),
):
    x, height = place(SoupClassifier(net, collect=pool, merge=merge, random_state=0).fit(away, y_home))
    ax.plot(x, height, marker, color=color, markersize=8, label=type(merge).__name__)
    print(f"{type(merge).__name__}: {x:.1f} % of turned digits, {height:.1f} % of upright ones")
ax.set_xlabel("accuracy on turned digits, %")
ax.set_ylabel("accuracy on upright digits, %")
ax.legend(frameon=False)
if args.out:
    figure.savefig(args.out / "fine_tunes.svg")
else:
    plt.show()
