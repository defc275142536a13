"""One job a file: what a command does, as a function of the same name."""
