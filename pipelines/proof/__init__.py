"""The parts of ``prove``: which images, what the victims see, and what comes of it."""
