"""
Checkpoints on disk, merged by several methods
==============================================

Two fine-tunes of one network, each good at a task of its own, are written to files and merged without the network that
they belong to. One point for each file: how good it is at either task.
"""

# %%
# The start has learned scikit-learn's digits as they are. One fine-tune learns them moved up, the other one moved to
# the right.
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn.functional import cross_entropy

from skfusion.checkpoints import merge_checkpoints, read_checkpoint
from skfusion.merge import DARE, TIES, Breadcrumbs, ModelStock, TaskArithmetic, Uniform

images, labels = load_digits(return_X_y=True)
images, labels = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
train, test = train_test_split(range(len(images)), stratify=labels, random_state=0)
up, right = (
    images.reshape(-1, 8, 8).roll(by, axis).flatten(1) for by, axis in ((-1, 1), (1, 2))
)


def trained(network, x, epochs):
    """Train a network on the training rows, and return it."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    for _ in range(epochs):
        for rows in torch.tensor(train)[torch.randperm(len(train))].split(32):
            optimizer.zero_grad()
            cross_entropy(network(x[rows]), labels[rows]).backward()
            optimizer.step()
    return network


def fresh(state=None):
    """Return the network, with the weights of a state."""
    network = nn.Sequential(
        nn.Linear(64, 256),
        nn.ReLU(),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Linear(256, 10),
    )
    if state is not None:
        network.load_state_dict(state)
    return network


folder = Path(tempfile.mkdtemp())
with torch.random.fork_rng():
    torch.manual_seed(0)
    start = trained(fresh(), images, epochs=15).state_dict()
    save_file(start, folder / "start.safetensors")
    for name, task in {"up": up, "right": right}.items():
        save_file(
            trained(fresh(start), task, epochs=5).state_dict(),
            folder / f"{name}.safetensors",
        )

# %%
# Each merge reads files and writes a file. Methods that work on changes are told where these began.
tunes = [folder / "up.safetensors", folder / "right.safetensors"]
methods = {
    **{f"{scale:g}": TaskArithmetic(scale) for scale in (0.25, 0.75, 1)},
    "0.5: the mean": Uniform(),
    "TIES": TIES(),
    "DARE": DARE(0.5, merge=TaskArithmetic(1)),
    "Breadcrumbs": Breadcrumbs(density=0.5, scale=1),
    "Model Stock": ModelStock(),
}
files = {
    "start": folder / "start.safetensors",
    "tune: up": tunes[0],
    "tune: right": tunes[1],
}
for name, method in methods.items():
    files[name] = folder / f"merged-{len(files)}.safetensors"
    merge_checkpoints(
        tunes, files[name], method, base=files["start"] if method.needs_base else None
    )


def accuracy(file, x):
    """Return the share of the test rows that the network in a file has right."""
    with torch.no_grad():
        return (
            (fresh(read_checkpoint(file))(x[test]).argmax(1) == labels[test])
            .double()
            .mean()
            .item()
        )


found = {
    name: (100 * accuracy(file, up), 100 * accuracy(file, right))
    for name, file in files.items()
}
for name, (first, second) in found.items():
    print(f"{name:28} up {first:.1f} %   right {second:.1f} %")

# %%
# The line is task arithmetic: the start plus the sum of both changes, times a scale. The dashed lines are what each
# fine-tune reaches at its own task; a perfect merge would be where they cross.

from matplotlib import pyplot as plt

figure, ax = plt.subplots(figsize=(6.5, 5), layout="constrained")
scales = ["start", "0.25", "0.5: the mean", "0.75", "1"]
ax.plot(
    *zip(*(found[name] for name in scales), strict=True),
    "o-",
    label="task arithmetic, by its scale",
)
for name, point in found.items():
    if name not in scales:
        ax.plot(
            *point,
            "s" if name.startswith("tune") else "D",
            color="C1" if name.startswith("tune") else "C2",
        )
    left = {  # how far up, where a label on the right would meet another one or the frame
        "start": 0,
        "1": 6,
        "DARE": 0,
        "Breadcrumbs": -8,
        "tune: up": -10,
    }
    place = (
        {"xytext": (-7, left[name]), "ha": "right"}
        if name in left
        else {"xytext": (7, -10 if name.startswith("tune") else 0)}
    )
    ax.annotate(
        name, point, textcoords="offset points", fontsize="small", va="center", **place
    )
ax.axvline(found["tune: up"][0], color="0.5", linestyle="--", linewidth=1)
ax.axhline(found["tune: right"][1], color="0.5", linestyle="--", linewidth=1)
ax.set(
    xlabel="accuracy on digits moved up, %",
    ylabel="accuracy on digits moved right, %",
    xlim=(25, 104),
    ylim=(20, 100),
)
_ = ax.legend(loc="lower left")
