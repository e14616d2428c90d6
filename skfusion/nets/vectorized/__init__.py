"""Many nets trained or run as one tensor program, under skorch's loop."""
