"""Mergers that match units, of members whose hidden layers may have different widths.

``_networks`` reads states as networks of some widths, and sums them once it is known how the units of each become those
of the result; ``_barycenter`` and ``_zipit`` say how, by weights and by activations (``_correlations``,
``_zip``). ``_heads`` keeps the outputs of all members. :mod:`skfusion.merge` says what a merger may import; to add one,
copy ``_barycenter``, and set ``takes_widths`` where members may have different widths.
"""
