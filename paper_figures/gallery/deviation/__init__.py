"""How far surrogate gradients deviate: angle, magnitude and signs, layer by layer."""
