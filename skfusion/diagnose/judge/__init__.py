"""What follows from the measurements: verdicts, a recommendation, notes, and code that carries it out.

The files here read only ``_facts``, which are numbers of ``measure/``, and compute nothing from members or rows.
``_advice`` has the verdicts, ``_notes`` the remarks, ``_recipes`` the code. To add a verdict, write a rule in
``_advice``; to add a remark, one in ``_notes``.
"""
