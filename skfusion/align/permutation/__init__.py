"""Alignments that are permutations of units (git re-basin and activation matching)."""
