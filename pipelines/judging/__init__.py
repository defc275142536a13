"""From images to scores, and from scores to verdicts."""
