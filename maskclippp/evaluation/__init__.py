"""Results to metrics: streaming evaluators that any number of processes can share."""
