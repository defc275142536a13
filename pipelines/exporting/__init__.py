"""A cleaned set in the form that it came in: what ``freqsan export`` writes."""
