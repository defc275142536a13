"""The engine: jobs, passes and the files that they leave."""
