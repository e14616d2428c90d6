"""Merging by statistics of the data: Fisher information and inner products of activations.

:mod:`skfusion.merge` says what a merger is, and exports those of this folder.
"""
