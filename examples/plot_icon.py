"""Draw a picture in the loss: a plane of 20 x 20 networks, which are stored in three vectors.

Each cell of the picture is a network of its own. All of them lie on one plane through the weights, so that an origin
and two axes hold them all. These are trained until networks on dark cells know the digits, and those on bright cells do
not.

    python examples/plot_icon.py [--out FOLDER] [--quick]

Without --out the figure is shown; with it, it is written to the folder.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from skfusion.connect import MultiPoint
from skfusion.objective import Batch, ModuleObjective
from skfusion.plots import PlaneDisplay

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

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--out", type=Path, help="folder for the figure")
parser.add_argument("--quick", action="store_true", help="few epochs")
args = parser.parse_args()
if args.out:
    matplotlib.use("Agg")
    args.out.mkdir(parents=True, exist_ok=True)
from matplotlib import pyplot as plt  # noqa: E402  after the backend is chosen

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = (torch.from_numpy(part) for part in train_test_split(X / 16, y, random_state=0))
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
    *(lambda state, k=k: loss_of(torch.func.functional_call(net, state, X_test))[k] for k in range(2)),
    held_out=lambda: [Batch(X_test, y_test)],
    criterion=lambda output, batch: nn.functional.cross_entropy(output, batch.y),
    of_output=loss_of,
)
mask = np.array([[1 if cell == "#" else -1 for cell in row] for row in ICON.split()])
start = {name: value.clone() for name, value in net.state_dict().items()}
paint = MultiPoint(mask, n_epochs=2 if args.quick else 300, n_cells=4 if args.quick else 24, lr=3e-3)
plane = paint([start], data)

icon = PlaneDisplay.from_cells(plane, data, z_name="cross-entropy on test rows (nats)").plot()
good, bad = icon.z[mask == 1], icon.z[mask == -1]
numbers = [sum(v.numel() for v in state.values()) for state in plane.controls]
print(f"{mask.size} networks of {numbers[0]:,} numbers in {sum(numbers):,}")
print(f"loss on good cells {np.median(good):.2f}, on bad ones {np.median(bad):.2f}: medians")
print(f"cells on the right side of {(np.median(good) + np.median(bad)) / 2:.2f}: ", end="")
print(f"{np.mean((icon.z < (np.median(good) + np.median(bad)) / 2) == (mask == 1)):.1%}")
icon.ax_.set_title(f"{mask.size} networks in three vectors", fontsize="medium", loc="left")

if args.out:
    icon.figure_.savefig(args.out / "icon.svg")
    icon.figure_.savefig(args.out / "icon.png")
else:
    plt.show()
