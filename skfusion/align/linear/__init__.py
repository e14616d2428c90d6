"""Alignments by linear maps of units, of which permutations are a few: rotations, invertible pairs, signs.

They hold between canonical states, so the reference is moved to its canonical form, too.
"""
