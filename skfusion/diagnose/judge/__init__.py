"""What follows from the measurements: verdicts, advice, and how to carry it out."""
