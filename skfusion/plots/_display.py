"""What all displays share: arrays are computed first and drawn when asked; and the paragraphs of their docstrings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np

from skfusion._docs import doc

_AXES = """\
ax_ : matplotlib Axes
    What was drawn on.
figure_ : matplotlib Figure
    Its figure."""
PARAGRAPHS = {
    "pool": """\
pool : ModelPool
    Has the members.""",
    "rows": """\
X, y : array-like
    Rows that no member was trained on.""",
    "curve_estimator": """\
estimator : fitted CurveClassifier or CurveRegressor
    Has the curve.""",
    "estimator": """\
estimator : estimator of this library or skorch net, optional
    The architecture; the pool's own net when omitted. A pool that comes from a file has none.""",
    "measured": """\
X, y : array-like
    Rows that no member was trained on; a warning says where one was.
what : str, optional
    A column of :func:`skfusion.diagnose.diversity`: ``"disagreement"`` when omitted, or ``"error_correlation"`` where
    values are predicted.
sample_weight : array-like of shape (n_samples,), optional
    Non-negative weights of the rows.""",
    "scoring": """\
scoring : str or callable, optional
    The score: accuracy or R2 when omitted.""",
    "own_scoring": """\
scoring : str or callable, optional
    The score: that of the estimator when omitted.""",
    "pair": """\
pair : pair of str, optional
    The members at the ends; those of the first curve when omitted.""",
    "line": """\
n_points : int, default=25
    Positions to evaluate, both ends included. More find narrower barriers and cost more.""",
    "grid": """\
n_points : int, default=21
    Positions along each axis. More show finer structure and cost more, by the square.""",
    "margin": """\
margin : float, default=0.3
    How far the plane goes beyond the networks, as a share of their extent.""",
    "response": """\
response : {"loss", "score"}, default="loss"
    What is shown.""",
    "not_drawn": """\
Returns
-------
Display
    Not drawn yet.""",
    "axes": _AXES,
    "matrix": """\
matrix : array-like of shape (n_members, n_members)
    Symmetric. What is NaN or infinite is drawn in grey, which is said above.
names : sequence of str
    The members.""",
    "surface": """\
z_name : str, default="loss"
    What ``z`` is, with its unit.
higher_is_better : bool, default=False
    Whether ``z`` is a score.""",
    "image": f"image_ : matplotlib AxesImage\n    The heat map.\n{_AXES}",
    "contours": f"contours_ : matplotlib QuadContourSet or None\n    The filled contours, if any.\n{_AXES}",
    "labels": """\
names : pair of str, default=("first", "second")
    The networks at the ends.
loss_name, score_name : str, default="loss", "score"
    Labels of the axes.""",
    "two_axes": """\
ax_ : matplotlib Axes
    Where the loss is drawn.
score_ax_ : matplotlib Axes or None
    Where the score is drawn.
figure_ : matplotlib Figure
    Their figure.""",
}


class Display(ABC):
    """Arrays that are computed first, by a constructor ``from_...``, and drawn by ``plot``.

    In the docstrings of a display and its methods, ``{key}`` stands for a paragraph of this file. New axes stand one
    above the other, or side by side, on a figure of ``_width`` and ``_height`` inches.
    """

    ax_: Any
    figure_: Any
    _n_panels: int = 1
    _side_by_side: bool = False
    _width: float = 6.4
    _height: float

    def __init_subclass__(cls) -> None:
        for thing in (cls, *(getattr(value, "__func__", value) for value in vars(cls).values())):
            if callable(thing):
                doc(PARAGRAPHS)(thing)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or two of them, optional
            Where to draw; on a new figure when omitted. Displays with two panels, such as one of the loss and one of
            the score, take two.

        Returns
        -------
        Display
            This object, with ``ax_``, ``figure_`` and the other attributes that its class lists.
        """
        axes = list(np.atleast_1d(self._new_axes() if ax is None else ax))
        self.ax_ = axes[0]
        self._draw(axes)
        self.figure_ = self.ax_.figure
        return self

    def _new_axes(self) -> Any:
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError('Plots need matplotlib: pip install "skfusion[plots]".') from error
        shape = (1, self._n_panels) if self._side_by_side else (self._n_panels, 1)
        shared = {"sharey": True} if self._side_by_side else {"sharex": True}
        size = (self._width, self._height)
        return plt.subplots(*shape, figsize=size, squeeze=False, layout="constrained", **shared)[1].ravel()

    def _as_arrays(self, *names: str) -> None:
        """Turn what was given into arrays of float64; what was omitted stays None."""
        for name in names:
            value = getattr(self, name)
            setattr(self, name, None if value is None else np.asarray(value, np.float64))

    @abstractmethod
    def _draw(self, axes: list[Any]) -> None:
        """Draw on axes."""
