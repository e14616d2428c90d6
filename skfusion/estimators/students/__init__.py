"""One network that learns from more than the labels of its rows."""
