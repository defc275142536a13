"""How a detector learns: clean histories, manipulations, and the loop."""

#: Passes of a training, unless told otherwise.
EPOCHS = 30
