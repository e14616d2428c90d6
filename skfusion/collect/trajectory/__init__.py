"""Members from one trajectory, that is, one training run: snapshots, FGE, checkpoints for SWA, means over steps.

What ``burn_in`` means is said in :func:`skfusion.collect._recorders.burn_in_of`.
"""
