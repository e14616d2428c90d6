"""What fine-tunes have changed since their common base, and how these changes are merged.

:mod:`skfusion.merge` says what a merger is, and exports those of this folder.
"""
