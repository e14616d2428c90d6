"""What notebooks show, for the page about notebooks: written at each build, from objects that are made in a moment."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import SoupClassifier
from skfusion.align import WeightMatching
from skfusion.collect import Seeds
from skfusion.connect import Bezier
from skfusion.connect import Path as Curve
from skfusion.evaluate import Scoreboard
from skfusion.merge import Greedy


def soup() -> Any:
    """Return a pipeline that ends in a fusion, as the page makes it."""
    given = {"criterion": nn.CrossEntropyLoss, "max_epochs": 5, "verbose": 0}
    net = NeuralNetClassifier(nn.Linear, module__in_features=64, module__out_features=10, **given)
    return make_pipeline(
        StandardScaler(), SoupClassifier(net, collect=Seeds(8), align=WeightMatching(), merge=Greedy())
    )


def table() -> Scoreboard:
    """Return a comparison whose scores are made up."""
    means = np.array([0.912, 0.957, 0.934, np.nan])
    half = np.array([0.021, 0.011, 0.016, np.nan])
    board = Scoreboard(
        {
            "accuracy_mean": means,
            "accuracy_low": means - half,
            "accuracy_high": means + half,
            "difference": means - means[1],
            "difference_low": means - means[1] - half / 2,
            "difference_high": means - means[1] + half / 2,
            "tied_with_best": [False, True, False, None],
            "n_members": [1, 5, 1, None],
        },
        index=["soup", "ensemble", "averaged weights", "diverged"],
    )
    board.loc["ensemble", ["difference", "difference_low", "difference_high"]] = 0.0
    board.index.name = "fusion"
    board.attrs = {"reference": "ensemble"}
    return board


def curve() -> Curve:
    """Return a curve whose states are made up, as are the losses of its training."""
    rng = np.random.default_rng(0)
    losses = 0.2 + np.exp(-np.arange(50) / 12) + 0.05 * rng.random(50)
    return Curve([{"weight": torch.full((10, 64), float(k))} for k in range(3)], Bezier(), losses.tolist())


def write(app: Any, config: Any) -> None:
    """Write each of these as a page includes it."""
    folder = Path(app.srcdir) / "_generated" / "shown"
    folder.mkdir(parents=True, exist_ok=True)
    for made in (soup, table, curve):
        (folder / f"{made.__name__}.html").write_text(made()._repr_html_(), encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Write the files before Sphinx looks for sources."""
    app.connect("config-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
