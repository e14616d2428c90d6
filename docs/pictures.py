"""Write the picture of the front page from its example: a bright and a dark PNG.

    python docs/pictures.py

The files are committed, so that the README shows them without a build. It takes half a minute, and needs
``pip install "skfusion[plots]"``.
"""

import runpy
from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from PIL import Image  # which matplotlib needs

DOCS = Path(__file__).parent
FONT = {"font.size": 12.5, "axes.titlesize": 12.5}  # large enough on a telephone
DARK = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), "#e6e6e6"),
    **dict.fromkeys(("figure.facecolor", "savefig.facecolor", "axes.facecolor"), "#131416"),
}
"""Bright letters on the ground of the documentation's dark theme."""


def main() -> None:
    """Draw the example in both styles."""
    for name, style in {"plane": FONT, "plane-dark": {**FONT, **DARK}}.items():
        with plt.rc_context(style):
            figure = runpy.run_path(str(DOCS.parent / "examples" / "plot_loss_plane.py"))["picture"].figure_
            written = BytesIO()
            figure.savefig(written, dpi=1200 / figure.get_figwidth())
            Image.open(written).convert("RGB").quantize(128).save(DOCS / "_static" / f"{name}.png", optimize=True)
        plt.close("all")


if __name__ == "__main__":
    main()
