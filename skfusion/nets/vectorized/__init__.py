"""Vectorized training and prediction: many nets of one architecture at once, and the checks that they may be.

``_plan`` decides, ``_fit_many`` trains, ``_batched_predictor`` predicts. A net or callback that vectorized training
does not support is named in ``_equivalence``, and trained by skorch's own loop.
"""
