"""Fitted estimators as modules and as ONNX files, to be served without scikit-learn.

``_serves`` is the mixin with the methods of estimators, ``_fused_module`` the module that they return, ``_combined``
has the combiners in tensors, ``_folding`` merges BatchNorm into the layers before it, and ``_onnx`` writes files. This
room may import ``combine``, ``nets`` and what is below; the drivers import its mixin.
"""
