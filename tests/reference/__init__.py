"""Slow literal restatements of the methods, as oracles."""
