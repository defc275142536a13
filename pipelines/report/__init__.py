"""What a run amounts to: its page, its validation, its plots. All of it works on an OUTPUT."""
