"""Estimators that reuse models of others: they find, combine or train them further, or train anew.

`_model_reuse` has the estimators, `_options` judges the ways to reuse what was found on labelled rows, and
`_train_anew` is what they fall back to.
"""
