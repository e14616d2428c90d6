"""What is measured of a pool: members by architecture, the lines between them, their representations, as tables.

``_families`` sorts members by architecture, ``_lines`` has the loss between them, ``_cka`` their representations,
``_paired`` whether scores differ by more than chance, and ``_tables`` all of it in frames. The files import
:mod:`skfusion.evaluate` and what is below. To add a measurement, write a function here and its column in ``_tables``.
"""
