"""Classifiers that are attacked, to see whether an attack works.

torch lives here; ``settings`` alone does without it.
"""
