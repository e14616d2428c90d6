"""What is measured of a pool: members by architecture, the lines between them, their representations, as tables."""
