"""Colours, and axes to draw on."""

from __future__ import annotations

from typing import Any

BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""
STROKES = ((VERMILION, "--", "s"), (BLUE, "-", "o"), (GREEN, "-.", "^"), (ORANGE, ":", "D"), ("#CC79A7", "-", "v"))
"""Colour, line and marker of each of several lines, so that they also differ without colour."""


def new_axes(n: int, width: float, height: float, columns: int = 1) -> Any:
    """Return ``n`` axes of a new figure, one above the other or, with ``columns=n``, side by side.

    Parameters
    ----------
    n : int
        Axes.
    width, height : float
        Of the figure, in inches.
    columns : int, default=1
        How many stand side by side.

    Returns
    -------
    ndarray of Axes, shape (n,)
        Those above each other share their x-axis, and those side by side their y-axis.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError('Plots need matplotlib: pip install "skfusion[plots]".') from error
    shared = {"sharex": True} if columns == 1 else {"sharey": True}
    size = (width, height)
    _, axes = plt.subplots(n // columns, columns, figsize=size, squeeze=False, layout="constrained", **shared)
    return axes.ravel()


def tidy(ax: Any, grid: str) -> None:
    """Leave the two axis lines that carry a scale, and a faint grid along ``grid``."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color="#DDDDDD", linewidth=0.8)
    ax.set_axisbelow(True)


def widen(ax: Any, span: float) -> None:
    """Let the y-axis span at least that much, so that a difference of nothing does not fill it."""
    low, high = ax.get_ylim()
    extra = max(0.0, span - (high - low)) / 2
    ax.set_ylim(low - extra, high + extra)


def colour_bar(ax: Any, drawn: Any, name: str, **options: Any) -> Any:
    """Explain colours beside the axes, as high as they are."""
    return ax.figure.colorbar(drawn, cax=ax.inset_axes((1.03, 0.0, 0.045, 1.0)), label=name, **options)


def legend_above(ax: Any, columns: int, handles: Any = None) -> None:
    """Explain lines and markers above the axes, where nothing is covered."""
    given = {} if handles is None else {"handles": handles}
    ax.legend(
        **given,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        ncols=columns,
        frameon=False,
        fontsize="small",
        labelcolor=GREY,
        handlelength=2.6,
    )


def write(ax: Any, text: str, at: Any, shift: tuple[float, float], dark: bool = True) -> None:
    """Write a text beside a point, readable on any ground.

    Parameters
    ----------
    ax : matplotlib Axes
        Where.
    text : str
        What.
    at : pair of float
        The point.
    shift : pair of float
        From the point to the text, in typographic points.
    dark : bool, default=True
        Whether the ground is dark.
    """
    from matplotlib.patheffects import withStroke

    ink, halo = ("white", "black") if dark else ("black", "white")
    ax.annotate(
        text,
        at,
        xytext=shift,
        textcoords="offset points",
        ha="left" if shift[0] > 0 else "right",
        va="center",
        fontsize="small",
        color=ink,
        path_effects=[withStroke(linewidth=2.2, foreground=halo)],
        annotation_clip=False,
        zorder=6,
    )
