"""Stacked training: many runs of one small network as one batched product, each run as the plain loop trains it."""
