"""The scan of a whole set: triggers that images of a class share, found without any model."""
