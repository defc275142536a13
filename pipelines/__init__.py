"""The only place where attacks, detector and sanitizer meet: Beam jobs and the command line.

People import from :mod:`freqsan`.
"""
