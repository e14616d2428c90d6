"""What follows from the measurements: verdicts (``_advice``), a recommendation, notes, and code that carries it out."""
