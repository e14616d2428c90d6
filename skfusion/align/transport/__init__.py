"""Alignments that mix units: optimal transport, of which permutations are the corners.

``_transport`` is what such an aligner returns, a pair of matrices for each group. :mod:`skfusion.align` says what this
folder may import, and how to add to it.
"""
