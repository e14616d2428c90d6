"""What is measured of a pool of networks."""
