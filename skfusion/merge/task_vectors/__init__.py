"""Task arithmetic: what fine-tunes have changed since their common base, and how these changes are merged.

:mod:`skfusion.merge` says what a merger is, what it may import, and exports those of this folder. A merger here sets
``needs_base``. To add one that sees one tensor at a time, and so merges files of any size, copy ``_task_arithmetic``.
"""
