"""Alignments that are permutations of units: git re-basin and activation matching.

``_weight_matching`` (one pair) and ``_merge_many`` compare weights, ``_activation_matching`` compares activations on
data, and ``_rebasin`` is one call without an estimator; the other files are parts of these. What this folder may import
is said in :mod:`skfusion.align`. To add a way to find permutations, write one file with a subclass of ``Aligner`` that
returns a ``PermutationAlignment``, and export it in ``skfusion/align/__init__.py``.
"""
