"""Classifiers that are attacked, to see whether an attack works. torch lives here, but not in settings."""
