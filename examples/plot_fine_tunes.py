"""
Merge fine-tunes, and keep what the start knew
==============================================

A network for upright digits is fine-tuned on turned ones: the better a fine-tune reads
those, the worse it reads upright ones. Between the start and the mean of all fine-tunes
(WiSE-FT) lie networks that read both kinds well.
"""

# %%
# One network learns upright digits; eight fine-tunes of it, with other learning rates,
# learn digits turned by 20 degrees.

from scipy.ndimage import rotate
from scipy.stats import loguniform
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier, SoupClassifier
from skfusion.collect import FineTunes, Seeds
from skfusion.nets import mlp_classifier

X, y = load_digits(return_X_y=True)
turned = rotate(X.reshape(-1, 8, 8), 20, axes=(1, 2), reshape=False, order=1).reshape(
    X.shape
)
home, home_test, away, away_test, y_home, y_test = train_test_split(
    X, turned, y, stratify=y, random_state=0
)

net = mlp_classifier()
start = (
    EnsembleClassifier(net, collect=Seeds(1), random_state=0)
    .fit(home, y_home)
    .estimators_[0]
)
space = {"lr": loguniform(1e-4, 1e-2), "max_epochs": [5, 10, 20]}
tunes = FineTunes(space, n_members=8, init=FrozenEstimator(start))
pool = EnsembleClassifier(net, collect=tunes, random_state=0).fit(away, y_home).pool_

# %%
# Each merge is a network: TIES, Fisher averaging, RegMean, the plain mean, and the line
# from the start to that mean.

import warnings

from skfusion.merge import TIES, Fisher, Interpolate, RegMean, Uniform


def place(fusion):
    """Return the accuracy on turned and on upright digits, in per cent."""
    return 100 * fusion.score(away_test, y_test), 100 * fusion.score(home_test, y_test)


def merged(merge):
    """Return the place of the fine-tunes, merged."""
    with warnings.catch_warnings():  # near the start, which has not seen turned digits, the merge warns of a low score
        warnings.filterwarnings("ignore", "The merged network scores")
        return place(
            SoupClassifier(net, collect=pool, merge=merge, random_state=0).fit(
                away, y_home
            )
        )


path = [merged(Interpolate(t=t / 10)) for t in range(11)]
merges = [Uniform(), Fisher(n_examples=256), RegMean(), TIES()]
places = {type(merge).__name__: merged(merge) for merge in merges}
singles = [
    place(EnsembleClassifier(net).fuse(pool[k : k + 1], away, y_home))
    for k in range(len(pool))
]

# %%
# Further up and further right is better.

from matplotlib import pyplot as plt

figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
ax.plot(
    *zip(*path, strict=True),
    "-",
    color="0.5",
    marker=".",
    label="WiSE-FT, from the start to the mean",
)
ax.plot(*zip(*singles, strict=True), "o", color="0.7", label="single fine-tunes")
for (name, at), marker, color in zip(
    places.items(), "sD^v", ("C0", "C1", "C2", "C4"), strict=True
):
    ax.plot(*at, marker, color=color, markersize=8, linestyle="none", label=name)
    print(f"{name}: {at[0]:.1f} % of turned digits, {at[1]:.1f} % of upright ones")
ax.set(xlabel="accuracy on turned digits, %", ylabel="accuracy on upright digits, %")
_ = ax.legend(frameon=False, loc="lower left")
