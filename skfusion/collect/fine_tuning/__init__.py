"""Members that start from one network: fine-tunes with different settings, in the tangent space, or one a task.

``_init`` makes their common start, which becomes the pool's ``base``. A file here is a subclass of
:class:`skfusion.collect.Collector`, and may import what :mod:`skfusion.collect` may, which also exports it. To add one,
copy ``_tasks``.
"""
