"""Merging by statistics of the data: Fisher information, and inner products of activations (RegMean).

``_fisher`` and ``_regmean`` are the methods; ``_squares`` has the gradients of single rows, and ``_matrices`` what
linear layers are given. :mod:`skfusion.merge` says what a merger is, what it may import, and exports those of this
folder. A new one asks for its rows by ``objective.of_member(k)``.
"""
