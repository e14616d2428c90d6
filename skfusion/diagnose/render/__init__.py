"""How a report looks: its tables are described once (``_tables``), and shown in a terminal and on a page.

``_terminal`` draws them by rich, ``_page`` as HTML that loads nothing from elsewhere. The files import ``measure/`` and
``judge/``, and compute nothing. To show another column, describe it in ``_tables``.
"""
