"""Mergers that match the units of several networks by a Beta-Bernoulli process, and may return a wider network.

``_beta_bernoulli`` matches vectors and knows no network, ``_layout`` reads which axis of which tensor has the units of
a group, ``_clients`` has the states of clients and their means. A method is a :class:`~skfusion.merge.Merger` that says
in which order groups are matched, and by which numbers of a unit.
"""
