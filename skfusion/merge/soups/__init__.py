"""Averages of members, and searches for their weights on held-out data.

:mod:`skfusion.merge` says what a merger is, and exports those of this folder.
"""
