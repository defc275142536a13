"""The result of a run in Python: what is in its OUTPUT, looked up when asked for."""
