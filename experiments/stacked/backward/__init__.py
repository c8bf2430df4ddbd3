"""The backward of a stacked activation: the upstream gradient times each run's factor, in place."""
