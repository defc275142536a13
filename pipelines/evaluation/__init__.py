"""How well freqsan finds triggers: sets x attacks x rates x encodings x draws, cell by cell."""
