"""Populations: members that train in lock-step from one start, and act on each other's weights on the way.

``_lock_step`` has what they share. A file here is a :class:`.LockStepCollector` with its
:class:`skfusion.nets.Population`, which is what happens between two steps: a few lines on tensors with a member axis.
It may import what :mod:`skfusion.collect` may, which also exports it. To add one, copy ``_papa_all``.
"""
