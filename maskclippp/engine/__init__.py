"""A run: command line, training loop, optimizer, checkpoints, evaluation, tracking."""
