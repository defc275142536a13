"""What a sample, a feature and a verdict are.

numpy, scipy and pyarrow only: neither torch nor Beam is imported here.
"""
