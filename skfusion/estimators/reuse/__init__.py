"""Estimators that reuse models of others: they find, combine or train them further, or train anew.

`_model_reuse` has the estimators and `_driver` the course of their fit, `_options` judges the ways to reuse what was
found on labelled rows, and `_train_anew` is what they fall back to.
"""
