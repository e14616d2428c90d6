"""Alignments that are permutations of units: git re-basin and activation matching.

``_weight_matching`` (one pair), ``_merge_many`` and ``_cycle_consistent`` (many) and ``_graph_matching`` compare
weights, ``_activation_matching`` compares activations on data, ``_straight_through`` and ``_annealing`` ask for the
loss, and ``_rebasin`` is one call without an estimator; the other files are parts of these. :mod:`skfusion.align` says
what this folder may import, and how to add to it.
"""
