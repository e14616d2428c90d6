"""Model soups: averages of members, and searches for their weights on held-out data.

:mod:`skfusion.merge` says what a merger is, what it may import, and exports those of this folder. ``_uniform`` and
``_interpolate`` need no data, ``_greedy`` tries members one by one, ``_learned`` learns weights by gradients
(``_mixture``). To add one whose result is a sum of members, copy ``_model_stock``.
"""
