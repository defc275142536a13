"""Triggers put on part of a set, to evaluate by."""
