"""Losses of rows with weights, soft targets or no targets.

A loss that training uses in place of the criterion has ``columns`` and ``install``, as ``Soft`` has.
"""
