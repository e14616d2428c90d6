"""Merging by statistics of the data: Fisher information and inner products of activations."""
