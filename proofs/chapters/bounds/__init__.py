"""Bounds: how far the angle can open, and certificates on a concrete network."""
