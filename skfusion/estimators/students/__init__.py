"""Students: one network that learns from more than the targets of its rows, such as what a teacher predicts.

``_one_network.py`` trains a network on rows and a second loss, and predicts with it; each other file is a method. This
room may import what `skfusion.estimators` may. To add a method, derive it from ``OneNetwork``, give it a loss of
`skfusion.nets.losses`, and list its names in ``skfusion/estimators/__init__.py``.
"""
