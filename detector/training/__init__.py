"""How a detector learns: clean histories, manipulations, and the loop."""
