"""States of one run: snapshots, fast geometric ensembling, SWA's checkpoints, moving averages."""
