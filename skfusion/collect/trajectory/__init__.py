"""Members from one training run: checkpoints for SWA (``_tail``), snapshots, FGE, averages, and draws (``_swag``).

``_averages`` keeps one average a run, ``_power_snapshots`` many snapshots of a few in one run.

A file here is a subclass of :class:`skfusion.collect.Collector` whose runs have a schedule of the learning rate or a
recorder that keeps more than the last state; ``burn_in_of`` of ``average/_mean.py`` says what ``burn_in`` means.
It may import what :mod:`skfusion.collect` may, which also exports it. To add one, copy ``_tail``.
"""
