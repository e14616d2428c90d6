"""
What a network does not know: bands in one dimension
====================================================

Where there are no data, one network is as sure of itself as elsewhere. The members of
an ensemble part from each other there, and their spread says so; MC dropout asks for
one training only.
"""

# %%
# A noisy curve with a gap in the middle.

import numpy as np

rng = np.random.default_rng(0)
x = np.concatenate([rng.uniform(-4, -1.5, 12), rng.uniform(1.5, 4, 12)])
y = np.sin(1.7 * x) + 0.3 * x + 0.15 * rng.standard_normal(len(x))
grid = np.linspace(-6, 6, 241)

# %%
# Three estimators with members: networks from ten seeds, ten that saw other rows
# besides (bagging), and one network with units that are dropped out at random (MC
# dropout).

from sklearn.base import clone

from skfusion import DropoutEnsembleRegressor, EnsembleRegressor
from skfusion.collect import Bootstrap, Seeds
from skfusion.nets import mlp_regressor

net = mlp_regressor(
    max_epochs=300,
    batch_size=16,
    lr=0.01,
    module__hidden=(64, 64, 64),
    optimizer__weight_decay=0,
)
with_dropout = clone(net).set_params(module__dropout=0.1)
estimators = {
    "deep ensemble, 10 seeds": EnsembleRegressor(
        net, collect=Seeds(10), random_state=0
    ),
    "bagging, 10 draws of rows": EnsembleRegressor(
        net, collect=Bootstrap(10), random_state=0
    ),
    "MC dropout, one training": DropoutEnsembleRegressor(
        with_dropout, n_passes=50, random_state=0
    ),
}
for estimator in estimators.values():
    estimator.fit(x[:, None], y)

# %%
# The mean of the members, and bands of one and two standard deviations around it.

from matplotlib import pyplot as plt

figure, axes = plt.subplots(
    3, 1, figsize=(6.4, 7), sharex=True, sharey=True, layout="constrained"
)
gap, seen = np.abs(grid) < 1, (np.abs(grid) > 1.5) & (np.abs(grid) < 4)
for ax, (name, estimator) in zip(axes, estimators.items(), strict=True):
    mean, std = estimator.predict(grid[:, None]), estimator.predict_std(grid[:, None])
    for width, alpha in ((2, 0.18), (1, 0.3)):
        ax.fill_between(
            grid,
            mean - width * std,
            mean + width * std,
            color="#0072B2",
            alpha=alpha,
            linewidth=0,
        )
    ax.plot(grid, mean, color="#0072B2")
    ax.plot(x, y, ".", color="#D55E00", markersize=5)
    ax.set_title(name, loc="left", fontsize="medium")
    ax.spines[["top", "right"]].set_visible(False)
    print(
        f"{name}: mean spread {std[seen].mean():.3f} beside the data, {std[gap].mean():.3f} in the gap"
    )
_ = axes[0].set(ylim=(-4, 4), xlim=(-6, 6))
