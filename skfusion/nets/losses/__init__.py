"""Losses of rows with weights, soft targets or no targets, and of networks with many outputs a row.

``_weighted`` has the mean of losses by weights of rows, ``_class_weights`` weights in the criterion, ``_soft``
distillation, ``_consistency`` semi-supervised learning, ``_of_members`` networks that are ensembles. The files import
torch, skorch and the other files of :mod:`skfusion.nets`. A loss that training uses in place of the criterion has
``columns`` and ``install``; to add one, copy ``_soft``.
"""
