"""Mergers of the states of one run: averages of it that were never tracked, and weights that are trained in its span.

``_post_hoc_ema`` makes a moving average of any length from snapshots of two, ``_decay_merge`` imitates a decay of the
learning rate that was never run, and ``_twa`` trains the weights of checkpoints. :mod:`skfusion.merge` says what a
merger may import, and exports those of this folder. What a member is of its run stands in its ``meta``, which
:meth:`skfusion.merge.Merger.for_members` hands to a merger that asks for it. To add one, copy ``_decay_merge``.
"""
