"""Match the units of two networks that were trained apart, and draw the loss between them before and after.

As they were trained, the mean of their weights is no good network: their hidden units stand in different orders. Once
the units are matched, the loss hardly rises on the line between them, and the mean is as good as they are.

    python examples/plot_rebasin.py [--out FOLDER] [--quick]

Without --out the figure is shown; with it, it is written to the folder.
"""

import argparse
from pathlib import Path

import matplotlib
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import ReBasinMerger
from skfusion.nets import mlp_classifier
from skfusion.plots import BarrierDisplay

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--out", type=Path, help="folder for the figure")
parser.add_argument("--quick", action="store_true", help="few epochs")
args = parser.parse_args()
if args.out:
    matplotlib.use("Agg")
    args.out.mkdir(parents=True, exist_ok=True)
from matplotlib import pyplot as plt  # noqa: E402  after the backend is chosen

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
net = mlp_classifier(max_epochs=4 if args.quick else 30, module__hidden=(128, 128))
merger = ReBasinMerger(net, random_state=0).fit(X_train, y_train)
print(f"accuracy of the merged network: {merger.score(X_test, y_test):.3f}")

trained = merger.pool_
matched = trained.replace([m.replace(state=merger.alignments_[m.name].apply(m.state)) for m in trained])
figure, axes = plt.subplots(2, 2, figsize=(8, 5), sharex=True, sharey="row", layout="constrained")
figure.get_layout_engine().set(wspace=0.06)
for column, (title, pool) in enumerate({"as trained": trained, "units matched": matched}.items()):
    display = BarrierDisplay.from_pool(pool, X_test, y_test, label=title).plot(axes[:, column])
    display.ax_.set_title(f"{title}: barrier {display.barrier:.3f} nats", fontsize="medium", loc="left")
    display.score_ax_.set_xlabel("position between the two networks")
    print(f"{title}: barrier {display.barrier:.3f} nats")
for ax in axes[:, 1]:
    ax.set_ylabel("")
if args.out:
    figure.savefig(args.out / "rebasin.svg")
else:
    plt.show()
