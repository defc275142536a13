"""A reviewer's decisions on a finished run, and how they move samples between its splits."""
