"""Vectorized training and prediction: many nets of one architecture at once, and the checks that they may be.

``_plan`` decides how members are trained, ``_fit_many`` trains them in skorch's loop, ``_member`` is one of them,
``_equivalence`` compares with a member by itself, ``_batched_predictor`` predicts. The tensors are the business of
``skfusion._vectorized``, which knows no net. A net or callback that is not supported is refused in ``_supported``, and
trained by skorch's own loop; to support one, take it from the checks there.
"""
