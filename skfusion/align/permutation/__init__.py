"""Alignments that are permutations of units: git re-basin and activation matching.

``_weight_matching`` (one pair) and ``_merge_many`` compare weights, ``_activation_matching`` compares activations on
data, and ``_rebasin`` is one call without an estimator; the other files are parts of these. :mod:`skfusion.align` says
what this folder may import, and how to add to it.
"""
