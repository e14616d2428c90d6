"""Chains of states that are relaxed into a valley, or grown until all of their links lie in one.

:mod:`skfusion.connect` says what a connector is, what it may import, and exports those of this folder. ``_forces`` has
what acts on a pivot of an elastic band, ``_relax`` the steps of a band, ``_judge`` the loss on rows that stay the same.
"""
