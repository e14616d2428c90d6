"""
A picture in the loss
=====================

Each cell of the picture is a network of its own, and all of them lie on one plane
through the weights: an origin and two axes are trained until networks on dark cells
know the digits and those on bright cells do not.
"""

# %%
# The picture that the loss shall show.

import numpy as np

ICON = """
....................
....................
....####....####....
...######..######...
..################..
..################..
.##################.
.##################.
.##################.
..################..
..################..
...##############...
....############....
.....##########.....
......########......
.......######.......
........####........
.........##.........
....................
....................
"""
mask = np.array([[1 if cell == "#" else -1 for cell in row] for row in ICON.split()])

# %%
# Components of skfusion work on plain PyTorch modules too: an objective says how to run
# the module, and on which data.

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from skfusion.objective import Batch, ModuleObjective

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = (
    torch.from_numpy(part) for part in train_test_split(X / 16, y, random_state=0)
)
X_train, X_test = X_train.float(), X_test.float()
net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))


def batches():
    order = torch.randperm(len(X_train))
    return [Batch(X_train[some], y_train[some]) for some in order.split(128)]


def loss_of(output):
    loss = nn.functional.cross_entropy(output, y_test).item()
    return loss, -loss


data = ModuleObjective(
    net,
    batches,
    *(
        lambda state, k=k: loss_of(torch.func.functional_call(net, state, X_test))[k]
        for k in range(2)
    ),
    held_out=lambda: [Batch(X_test, y_test)],
    criterion=lambda output, batch: nn.functional.cross_entropy(output, batch.y),
    of_output=loss_of,
)

# %%
# Train the plane, and evaluate each of its cells on digits that no network was trained
# on.

from skfusion.connect import MultiPoint
from skfusion.plots import PlaneDisplay

start = {name: value.clone() for name, value in net.state_dict().items()}
plane = MultiPoint(mask, n_epochs=120, n_cells=24, lr=5e-3)([start], data)
icon = PlaneDisplay.from_cells(
    plane, data, z_name="cross-entropy on test rows (nats)"
).plot()

good, bad = icon.z[mask == 1], icon.z[mask == -1]
between = np.sqrt(np.median(good) * np.median(bad))
numbers = [sum(v.numel() for v in state.values()) for state in plane.controls]
print(f"{mask.size} networks of {numbers[0]:,} numbers in {sum(numbers):,}")
print(
    f"median loss on good cells {np.median(good):.2f}, on bad ones {np.median(bad):.2f}"
)
print(
    f"cells on the right side of {between:.2f}: {np.mean((icon.z < between) == (mask == 1)):.1%}"
)
