"""Losses, scores and the reading of a net's output."""
