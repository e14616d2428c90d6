"""Mergers that match the units of members, which may have different widths: see :mod:`skfusion.merge`."""
