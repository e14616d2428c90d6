"""Optimisers of a server, which go on from one round of a federation to the next.

What clients have learned in a round, less what they began with, is the negative of a gradient of the server. One file
has the base, and each other one a method: a subclass of :class:`ServerOptimizer` with ``update``.
"""
