"""Deterministic positive factors: what they do to the angle between two gradients."""
